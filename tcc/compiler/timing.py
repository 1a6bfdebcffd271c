"""Times models against each other on this machine, until it is clear which side of a boundary the answer lies on."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tcc import backends
from tcc.compiler import sequential
from tcc.compiler.records import FORMAT, Records
from tcc.compiler.sequential import Estimate
from tcc.ir import deadline, digests

if TYPE_CHECKING:
    from tcc.backends import Loaded

_SECONDS = 0.05
"""How long one sample runs, at least ``_ROUNDS`` turns."""
_ROUNDS = 4
_QUARTILE = 0.25
"""Of a sample's runs: what else the machine does makes slow, never fast."""
_LONG = 1000 * backends.PLACEMENT
"""Seconds of a run from which on it makes no difference where a model's memory lies: it need not be loaded anew."""

Files = Sequence[Path]
Feed = Mapping[str, Any]


@dataclass
class Timing:
    """Answers questions about files' times, each once: answers are recorded by content.

    Every sample loads the models anew and runs them in turns: where a process happens to put a model's
    memory makes a difference that repeating in one session would take for the model's own. Models that run for
    long are loaded once for all samples.

    Args:
        feeds: inputs that run through the models; samples take turns with them.
        records: answers that were given before.
    """

    feeds: Sequence[Feed]
    records: Records = field(default_factory=Records)
    _digests: dict[Path, str] = field(default_factory=dict)

    def ratio(self, before: Files, after: Files, boundary: float, threads: int) -> Estimate:
        """The time of ``after`` as a part of the time of ``before``; raises what loading and running raise.

        One thread is timed by its own clock: what other processes take of the processor is not counted.
        """
        fastest: list[float] = [math.inf]
        held: dict[int, Loaded] = {}

        def sample(number: int) -> float:
            first, second = self._sample([before, after], number, threads, held)
            fastest.append(min(first, second))
            return second / first

        def settled() -> Estimate:
            found = sequential.settle(sample, boundary)
            return sequential.widened(found, backends.PLACEMENT / min(fastest))

        return self._settled("ratio", [before, after], boundary, threads, settled)

    def seconds(self, files: Files, boundary: float, threads: int) -> Estimate:
        """The seconds of a run, by the clock on the wall; raises what loading and running raise."""
        held: dict[int, Loaded] = {}

        def sample(number: int) -> float:
            return self._sample([files], number, threads, held, time.perf_counter)[0]

        return self._settled("seconds", [files], boundary, threads, lambda: sequential.settle(sample, boundary))

    def _settled(
        self, what: str, models: Sequence[Files], boundary: float, threads: int, settle: Callable[[], Estimate]
    ) -> Estimate:
        parts = [FORMAT, what, [self._digest(file) for files in models for file in files], boundary, threads]
        key = hashlib.sha256(json.dumps([*parts, _machine(), digests.of_arrays(self.feeds)]).encode()).hexdigest()
        return Estimate(**self.records.kept(key, lambda: asdict(settle())))

    def _sample(
        self,
        models: Sequence[Files],
        number: int,
        threads: int,
        held: dict[int, Loaded],
        clock: Callable[[], float] | None = None,
    ) -> list[float]:
        """Seconds of a run of each: the lower quartile over a sample's runs; ``held`` are models loaded already."""
        deadline.check()
        tick = clock or (time.thread_time if threads == 1 else time.perf_counter)
        feed = self.feeds[number % len(self.feeds)]
        order = [*range(len(models))][:: -1 if number % 2 else 1]
        backend = backends.backend("onnxruntime")
        loaded = held or {index: backend.load(models[index][0], threads=threads) for index in order}
        for index in order:
            loaded[index].run(feed)
        times: list[list[float]] = [[] for _ in models]
        end = time.perf_counter() + _SECONDS * len(models)
        for turn in count():
            if turn >= _ROUNDS and time.perf_counter() > end:
                break
            for index in order if turn % 2 else reversed(order):
                times[index].append(_timed(loaded[index], feed, tick))
        found = [float(np.quantile(taken, _QUARTILE)) for taken in times]
        if min(found) > _LONG:
            held.update(loaded)
        return found

    def _digest(self, file: Path) -> str:
        if file not in self._digests:
            self._digests[file] = digests.of_files([file])
        return self._digests[file]


def _timed(model: Loaded, feed: Feed, tick: Callable[[], float]) -> float:
    started = tick()
    model.run(feed)
    return tick() - started


def _machine() -> str:
    import onnxruntime

    from tcc.targets.native import processor, processors

    return f"{processor()}; {processors()} processors; onnxruntime {onnxruntime.__version__}"
