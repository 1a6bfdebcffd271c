"""Runs one function in a fresh interpreter, with a time and a memory limit, and brings its result back."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 600.0
MEMORY_BYTES = 12 << 30


@dataclass(frozen=True)
class Answer:
    """What a child brought back: its function's value, or the problem; its own peak memory in bytes either way."""

    value: Any
    problem: str
    seconds: float
    peak_bytes: int


def call(
    function: str,
    *arguments: object,
    python: str = sys.executable,
    seconds: float = SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> Answer:
    """Call ``module:function`` with JSON arguments in a fresh interpreter.

    Never a fork: a process that has started ONNX Runtime's or egglog's threads deadlocks in its forked child. This
    module imports the standard library only, so that other tools' interpreters can run it.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        path = Path(folder) / "answer.json"
        command = [python, "-m", "benchmarks.children", function, json.dumps(arguments), str(path), str(memory_bytes)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        problem = ""
        try:
            _, complaint = process.communicate(timeout=seconds)
            if process.returncode:
                problem = _death(process.returncode, complaint)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            problem = f"took more than {seconds:g} s"
        except BaseException:
            process.kill()
            raise
        answer = json.loads(path.read_text()) if not problem else {}
    elapsed = time.perf_counter() - started
    return Answer(answer.get("value"), problem or answer["problem"], elapsed, answer.get("peak_bytes", 0))


def spread(tasks: Sequence[str], run: Callable[[str], Answer], jobs: int) -> Iterator[tuple[str, Answer]]:
    """The answers of ``run`` for each task as they come, ``jobs`` at a time."""
    pool = ThreadPoolExecutor(jobs)
    try:
        waiting = {pool.submit(run, task): task for task in tasks}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _death(code: int, complaint: str) -> str:
    last = complaint.strip().splitlines()[-1:] or [""]
    if code < 0:
        return f"crashed with {signal.Signals(-code).name}: {last[0]}"
    return f"exited with {code}: {last[0]}"


def peak_bytes() -> int:
    """The largest memory this process has held.

    Linux keeps ``ru_maxrss`` over ``exec``, so that a small child of a large parent would show its parent's;
    the kernel's own line for this program does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(words[1]) << 10 for words in lines if words and words[0] == "VmHWM:")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _answer(function: str, arguments: Sequence[object]) -> Mapping[str, object]:
    module, _, name = function.partition(":")
    try:
        value, problem = getattr(importlib.import_module(module), name)(*arguments), ""
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is the result
        value, problem = None, explained(error)
    return {"value": value, "problem": problem, "peak_bytes": peak_bytes()}


def explained(error: BaseException) -> str:
    """An exception as a line: what tcc says, else the type, the message and where it was raised."""
    if hasattr(error, "diagnostics"):
        return " | ".join(f"{d.where}: {d.code} {d.message} ({'; '.join(d.notes)})" for d in error.diagnostics)
    places = [f for f in traceback.extract_tb(error.__traceback__) if "tcc" in f.filename or "benchmarks" in f.filename]
    where = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"{type(error).__name__}{where}: {' '.join(str(error).split())[:600]}"


def _main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("function", "arguments", "path"):
        parser.add_argument(name)
    parser.add_argument("memory_bytes", type=int)
    given = parser.parse_args()
    if given.memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (given.memory_bytes, given.memory_bytes))
    answer = _answer(given.function, json.loads(given.arguments))
    beside = Path(f"{given.path}.part")
    beside.write_text(json.dumps(answer))
    beside.replace(given.path)
    sys.stderr.flush()
    os._exit(0)  # the answer is written: what native libraries do while they are unloaded is not judged


if __name__ == "__main__":
    _main()
