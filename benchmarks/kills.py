"""Kills a running -O3 at random moments, runs the same command again, and compares the bytes with a whole run's."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.budgets import DIGITS, case_of

_CASES = (DIGITS, "mlperf_ic_resnet8_bn")


def trials(name: str, count: int, seed: int) -> list[str]:
    """What went wrong; prints a line a trial.

    Each trial has a cache of its own: no decision of another run is known.
    """
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as place:
        folder = Path(place)
        source, data = _saved(name, folder)
        started = time.perf_counter()
        expected = _finish(_command(source, data, folder / "whole"), folder / "whole")
        seconds = time.perf_counter() - started
        print(f"{name}: {len(expected)} bytes in {seconds:.1f} s undisturbed", flush=True)
        draw, problems = random.Random(seed), []  # noqa: S311 - seeded, to be repeated
        for number in range(count):
            told = _trial(_command(source, data, folder / f"{number}"), folder / f"{number}", expected,
                          draw.uniform(0.0, seconds))  # fmt: skip
            print(f"  {number}: {told}", flush=True)
            problems += [f"{name} {number}: {told}"] if "FAILED" in told else []
        return problems


def _saved(name: str, folder: Path) -> tuple[Path, Path]:
    import numpy as np

    source, arrays = case_of(name)
    np.savez(folder / "calibration.npz", **arrays)
    return source, folder / "calibration.npz"


def _command(source: Path, data: Path, folder: Path) -> list[str]:
    folder.mkdir()
    _fresh_cache(folder.with_name(f"{folder.name}.cache") / "tcc")
    words = ["-O3", "--target=native", f"--calib={data}", "-o", str(folder / "out.onnx"), "-q", "--pareto=3"]
    return [sys.executable, "-m", "tcc", str(source), *words]


def _fresh_cache(place: Path) -> None:
    """The user's cache without decisions: the machine's rates are what they are."""
    from tcc import cache

    place.mkdir(parents=True)
    for file in [*cache.folder().glob("native*"), *cache.folder().glob("rules-*"), *cache.folder().glob("language-*")]:
        shutil.copy(file, place)


def _started(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"XDG_CACHE_HOME": str(folder.with_name(f"{folder.name}.cache"))}
    return subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)


def _finish(command: Sequence[str], folder: Path) -> bytes:
    code = _started(command, folder).wait()
    return (folder / "out.onnx").read_bytes() if code == 0 else f"exit code {code}".encode()


def _trial(command: Sequence[str], folder: Path, expected: bytes, after: float) -> str:
    process = _started(command, folder)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers
    ended = process.wait() == 0
    kept = sorted(file.name for file in folder.iterdir())
    found = _finish(command, folder)
    left = sorted(file.name for file in folder.iterdir() if file.name.startswith("."))
    verdict = "same bytes" if found == expected else f"FAILED: {len(found)} bytes"
    verdict += f", FAILED: {', '.join(left)} is left" if left else ""
    how = "ended before" if ended else "killed at"
    return f"{how} {after:5.1f} s, there was {', '.join(kept) or 'nothing'}: {verdict}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trials; 1 where bytes differ or something is left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=_CASES, help=f"default: {' '.join(_CASES)}")
    parser.add_argument("--count", type=int, default=10, help="kills of each (default: 10)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    problems = [problem for name in options.cases for problem in trials(name, options.count, options.seed)]
    print(f"{len(problems)} failed")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
