"""Where attempts run: the same results from this process, local processes and a cluster; lost workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tcc
from tcc.compiler import executors, levels
from tcc.diagnostics import Exit, TccError

TARGET = "x86-64-vnni"


def squared(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 2:
        raise TccError(Exit.UNSUPPORTED, [])
    return number


def die_elsewhere(number: int, home: int) -> int:
    """Kills the process that it runs in, unless that is ``home``."""
    if number == 1 and os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor | None]:
    """Two local processes."""
    with executors.executor("local", 2) as made:
        yield made


def taken(pool: Executor | None, work: Any, tasks: list[tuple[Any, ...]], jobs: int = 2) -> tuple[list[int], list[str]]:
    lost: list[str] = []
    return list(executors.in_order(pool, work, tasks, jobs, lost.append)), lost


def test_results_come_in_order(pool: Executor | None) -> None:
    tasks = [(n,) for n in range(7)]
    assert taken(None, squared, tasks) == taken(pool, squared, tasks) == ([n * n for n in range(7)], [])


def test_no_more_than_asked_for_is_begun() -> None:
    begun: list[int] = []

    def note(number: int) -> int:
        begun.append(number)
        return number

    with ThreadPoolExecutor(1) as threads:
        found = executors.in_order(threads, note, [(n,) for n in range(9)], 2, print)
        assert next(found) == 0
        found.close()  # type: ignore[attr-defined]  # a generator, which its type leaves open
    assert len(begun) <= 3


def test_what_the_user_can_act_on_is_raised(pool: Executor | None) -> None:
    with pytest.raises(TccError):
        taken(pool, refuse, [(n,) for n in range(4)])


def test_a_lost_worker_costs_time_and_not_the_answer() -> None:
    with executors.executor("local", 2) as made:
        found, lost = taken(made, die_elsewhere, [(n, os.getpid()) for n in range(4)])
    assert found == [0, 1, 2, 3]
    assert lost


def compiled(digits: Path, output: Path, **options: Any) -> bytes:
    tcc.compile(
        digits / "digits.onnx", "z", TARGET, calibration=digits / "digits_calib.npz", output=output, pareto=2,
        max_loss=0.05, **options,
    )  # fmt: skip
    return output.read_bytes()


def test_processes_and_a_cluster_give_the_same_model(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "PRUNED", ())  # shares of the budget are branches enough
    distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    here = compiled(digits, tmp_path / "here.onnx", jobs=1)
    assert compiled(digits, tmp_path / "local.onnx", jobs=2) == here
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        assert compiled(digits, tmp_path / "cluster.onnx", jobs=2, scheduler=cluster.scheduler_address) == here
        victims: list[int] = []
        killed = threading.Thread(target=kill_a_busy_worker, args=(cluster, victims))
        killed.start()
        assert compiled(digits, tmp_path / "killed.onnx", jobs=2, scheduler=cluster.scheduler_address) == here
        killed.join()
        assert len(victims) == 1


def kill_a_busy_worker(cluster: Any, victims: list[int]) -> None:
    """Kill -9 the process of a worker that is at a task, as soon as there is one."""
    for _ in range(3000):
        busy = {state.address for state in list(cluster.scheduler.workers.values()) if state.processing}
        for nanny in cluster.workers.values():
            if nanny.worker_address in busy and nanny.pid:
                victims.append(nanny.pid)
                os.kill(nanny.pid, signal.SIGKILL)
                return
        time.sleep(0.02)


def test_a_scheduler_that_is_not_there(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    monkeypatch.setattr(executors, "_PATIENCE", "1s")
    with pytest.raises(TccError) as caught:
        compiled(digits, tmp_path / "no.onnx", scheduler="127.0.0.1:9")
    assert caught.value.exit_code == Exit.BACKEND
    assert not list(tmp_path.iterdir())


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(TccError, match="cluster"), executors.executor("127.0.0.1:9", 2):
        pass


def test_a_script_without_a_guard_may_compile(tmp_path: Path) -> None:
    """A spawned process would run the script again."""
    script = tmp_path / "plain.py"
    script.write_text(
        "print('once', flush=True)\n"
        "from tcc.compiler import executors\n"
        "with executors.executor('local', 2) as pool:\n"
        "    print(list(executors.in_order(pool, divmod, [(7, 2), (9, 4)], 2, print)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["once", "[(3, 1), (2, 1)]", ""]
    assert not done.stderr
