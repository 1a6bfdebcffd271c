"""Profiling: kernels as ONNX Runtime runs them, kept where nothing is lost, and what is learned from them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tcc import cli
from tcc.compiler import profiling
from tcc.cost_models import _database
from tcc.cost_models._database import Database, Machine
from tcc.cost_models._kernels import Kernel, Timed
from tcc.cost_models.learned import FEWEST, Learned
from tcc.cost_models.measured import Measured
from tcc.cost_models.roofline import Roofline
from tcc.diagnostics import Exit, TccError
from tcc.ir.types import TensorType
from tcc.targets import parse_target

DIGITS = Path("examples/digits/digits.onnx")
HERE = Machine("a processor", "onnxruntime 1.31", 1)
ROOFLINE = Roofline(parse_target("x86-64-vnni"))


def product(rows: int, depth: int, columns: int) -> Kernel:
    kinds = [TensorType("float32", shape) for shape in ((rows, depth), (depth, columns), (rows, columns))]
    return Kernel("MatMul", "", "{}", (kinds[0], kinds[1]), (kinds[2],), (False, True))


def timed(*seconds: float) -> list[Timed]:
    return [Timed(product(1, 1, n + 1), f"n{n}", s, 3) for n, s in enumerate(seconds)]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "tcc" / "kernels.sqlite"


def test_a_kernel_is_read_back_as_it_was_written() -> None:
    absent = Kernel(
        "Conv", "com.microsoft.nchwc", '{"group":2}', (TensorType("float32", (1, 2)), None), (None,), (False, True)
    )
    for kernel in (absent, product(2, 3, 4)):
        assert Kernel.parse(kernel.text) == kernel


def test_the_kernels_are_those_of_the_optimised_graph() -> None:
    made = profiling.profile_model(DIGITS, None, {}, seconds=0.05, keep=False)
    operators = [item.kernel.operator for item in made.profile.kernels]
    # Convolutions take their activations in: none is left.
    assert "Conv" in operators or "FusedConv" in operators
    assert "Relu" not in operators
    convolutions = [item.kernel for item in made.profile.kernels if "Conv" in item.kernel.operator]
    weights = [kernel.inputs[1] for kernel in convolutions if kernel.constant[1]]
    assert [kind.rank for kind in weights if kind is not None] == [4] * len(convolutions)
    total = sum(item.seconds for item in made.profile.kernels)
    assert 0 < total <= made.profile.seconds * 1.0001
    assert made.kept is None


def test_the_command_keeps_and_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cli.main(["profile", str(DIGITS), "--seconds", "0.05", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    database = Database(tmp_path / "tcc" / "kernels.sqlite")
    (found,) = database.machines()
    assert found == made["machine"]
    assert len(database.entries(profiling.machine(1))) == len({
        json.dumps([k["operator"], k["inputs"], k["outputs"]]) for k in made["kernels"]
    })  # fmt: skip
    assert cli.main(["profile", str(DIGITS), "--seconds", "0.05"]) == 0
    assert "roofline ms" in capsys.readouterr().out


def test_the_least_time_of_all_runs_is_kept(kept: Path) -> None:
    Database(kept).add(HERE, timed(3.0, 1.0))
    Database(kept).add(HERE, timed(2.0, 5.0))
    other = Machine("another", "onnxruntime 1.31", 1)
    Database(kept).add(other, timed(9.0))
    found = Database(kept).entries(HERE)
    assert [(e.seconds, e.runs) for e in found.values()] == [(2.0, 6), (1.0, 6)]
    assert Database(kept).machines() == {HERE.text: 2, other.text: 1}


_WRITER = """
import sys
from pathlib import Path
from tcc.cost_models._database import Database, Machine
from tcc.cost_models._kernels import Kernel, Timed
here = Machine("a processor", "onnxruntime 1.31", 1)
name, path = sys.argv[1], Path(sys.argv[2])
for n in range(20):
    kernel = Kernel(name, "", str(n), (), (), ())
    Database(path).add(here, [Timed(kernel, "n", 1.0, 1)])
    print(n, flush=True)
"""


def writer(name: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, name, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_writers_side_by_side_lose_nothing(kept: Path) -> None:
    running = [writer(name, kept) for name in ("A", "B")]
    for process in running:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert len(Database(kept).entries(HERE)) == 40


_OPENER = """
import sys, time
from pathlib import Path
from tcc.cost_models._database import Database
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
for n in range(60):
    Database(Path(sys.argv[1]) / f"{n}.sqlite")
"""


def test_several_may_make_the_file_at_the_same_time(tmp_path: Path) -> None:
    together = str(time.time() + 1)
    running = [subprocess.Popen([sys.executable, "-c", _OPENER, str(tmp_path), together]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in running] == [0] * 4


def test_a_killed_writer_leaves_what_it_had_committed(kept: Path) -> None:
    process = writer("C", kept)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 5:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait(timeout=60)
    process.stdout.close()
    database = Database(kept)
    assert database.notes == []
    assert len(database.entries(HERE)) >= 6
    database.add(HERE, timed(1.0))


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be read as one" * 40, b"\0" * 4096])
def test_a_corrupt_file_is_moved_aside_and_said(kept: Path, damage: bytes) -> None:
    Database(kept).add(HERE, timed(1.0))
    kept.write_bytes(damage)
    database = Database(kept)
    (note,) = database.notes
    assert note.code == "W0901"
    assert "moved to kernels.sqlite.corrupt-" in note.message
    assert database.entries(HERE) == {}
    assert [path.read_bytes() for path in kept.parent.glob("*.corrupt-*")] == [damage]
    assert Database(kept).notes == []


def test_another_format_is_moved_aside(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(kept).add(HERE, timed(1.0))
    monkeypatch.setattr(_database, "FORMAT", 99)
    assert [note.code for note in Database(kept).notes] == ["W0901"]


def test_times_are_corrected_for_the_profiler_and_for_other_processes() -> None:
    interrupted = profiling._corrected(timed(0.02, 0.01), whole=0.015)
    assert [item.seconds for item in interrupted] == pytest.approx([0.01, 0.005], rel=1e-3)
    small = profiling._corrected(timed(*[4e-6] * 10), whole=20e-6)
    assert [item.seconds for item in small] == pytest.approx([2e-6] * 10)
    sound = profiling._corrected(timed(0.01, 0.02), whole=0.031)
    assert [item.seconds for item in sound] == [0.01, 0.02]


def measured(kernel: Kernel) -> float:
    """A machine that reaches half of the roof, with an overhead of its own."""
    return 2.0 * ROOFLINE.price("MatMul", {}, kernel.inputs, kernel.outputs, kernel.constant).seconds + 1e-6


def sizes(seed: int, count: int) -> list[Kernel]:
    draw = np.random.default_rng(seed)
    return [product(*(int(n) for n in 2 ** draw.integers(2, 10, 3))) for _ in range(count)]


def test_what_is_between_the_measurements_is_learned(kept: Path) -> None:
    database = Database(kept)
    known = list(dict.fromkeys(sizes(0, 150)))
    database.add(HERE, [Timed(kernel, "n", measured(kernel), 1) for kernel in known])
    model = Measured(database, HERE, ROOFLINE)
    unknown = [kernel for kernel in dict.fromkeys(sizes(1, 150)) if kernel not in known][:40]
    assert len(unknown) > 20
    found = model.estimate(unknown)
    errors = [abs(e.seconds / measured(kernel) - 1) for kernel, e in zip(unknown, found, strict=True)]
    assert float(np.median(errors)) < 0.15
    assert {e.source for e in found} == {"learned"}
    assert all(e.low <= e.seconds * 1.2 and e.seconds <= e.high * 1.2 for e in found)
    (exact,) = model.estimate(known[:1])
    assert (exact.source, exact.seconds) == ("measured", measured(known[0]))


def test_little_was_measured(kept: Path) -> None:
    database = Database(kept)
    database.add(HERE, timed(1.0))
    found = Measured(database, HERE, ROOFLINE).estimate([product(8, 8, 8)])
    assert [e.source for e in found] == ["roofline"]
    with pytest.raises(TccError, match=f"1 kernels were measured on this machine, {FEWEST} are needed") as raised:
        Learned(database.entries(HERE), ROOFLINE)
    assert raised.value.exit_code is Exit.DATA
