"""Joules of a run as the processor's own counters tell them (RAPL), where they can be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

PLACE = Path("/sys/class/powercap")
_ROUNDS = 4


@dataclass(frozen=True)
class Zone:
    """One package's counter of microjoules, which starts again at ``largest``."""

    counter: Path
    largest: int

    def read(self) -> int:
        """The counter now."""
        return int(self.counter.read_text())


def zones() -> list[Zone]:
    """The packages whose counters can be read; parts of packages would count twice."""
    found = []
    for folder in sorted(PLACE.glob("*-rapl:*")) if PLACE.is_dir() else []:
        if folder.name.count(":") != 1:
            continue
        try:
            zone = Zone(folder / "energy_uj", int((folder / "max_energy_range_uj").read_text()))
            zone.read()
        except (OSError, ValueError):
            continue
        found.append(zone)
    return found


def unmeasurable() -> str:
    """Why no energy can be measured here; empty where it can."""
    if zones():
        return ""
    if PLACE.is_dir() and any(PLACE.glob("*-rapl:*")):
        return "not measurable here: the processor's energy counters are not readable for this user"
    return "not measurable here: the processor shows no energy counters"


def measured(runs: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """Joules of a run of each, above what the machine takes at rest; in turns, over ``seconds`` in all."""
    counters = zones()
    part = seconds / (_ROUNDS * (len(runs) + 1))
    spent, counts = [0.0] * len(runs), [0] * len(runs)
    for _ in range(_ROUNDS):
        idle, rested = _spent(counters, partial(_rest, part))
        for index, run in enumerate(runs):
            started = time.perf_counter()
            joules, done = _spent(counters, partial(_repeat, run, part))
            spent[index] += joules - idle / rested * (time.perf_counter() - started)
            counts[index] += int(done)
    return [max(0.0, joules) / count for joules, count in zip(spent, counts, strict=True)]


def _rest(seconds: float) -> float:
    """Sleep; how long it was."""
    started = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - started


def _repeat(run: Callable[[], object], seconds: float) -> float:
    """Run for so long; how often."""
    started, done = time.perf_counter(), 0
    while not done or time.perf_counter() - started < seconds:
        run()
        done += 1
    return done


def _spent(counters: Sequence[Zone], work: Callable[[], float]) -> tuple[float, float]:
    """Joules that the counters gained meanwhile, and what the work gave."""
    before = [zone.read() for zone in counters]
    made = work()
    gone = [(zone.read() - start) % (zone.largest + 1) for zone, start in zip(counters, before, strict=True)]
    return sum(gone) * 1e-6, made
