"""Finds the point on a path whose measured latency is what was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from statistics import median, quantiles
from typing import TYPE_CHECKING

from tcc.ir.channels import Group
from tcc.ir.execution import Runner
from tcc.ir.model import Model
from tcc.passes._prune_budget import infeasible
from tcc.passes._prune_path import Path
from tcc.passes._prune_taps import Feed

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 0.05
"""Relative distance from what was asked for within which a point is taken."""
_CLOSE = 0.02
"""The distance at which a search ends before its measurements are spent."""
_MEASUREMENTS = 10
_SECONDS = 0.5
LONG = 3
"""How many pairs of new sessions measure a point before it is taken."""
_ROUNDS = (9, 4001)


@dataclass
class Stopwatch:
    """Measures models against one, as deployed: the same session options, runs in turns.

    Args:
        original: what latencies are relative to.
        feed: the input; one, as the times of inputs of different sizes have no common median.
        threads: of the runtime.
    """

    original: Model
    feed: Feed
    threads: int
    _reference: Runner | None = field(default=None, repr=False)

    def ratio(self, model: Model, *, sessions: int = 1) -> float:
        """Latency of a model over the original's, the median over so many pairs of new sessions.

        Raises:
            TccError: where the model does not run.
        """
        if sessions == 1:
            self._reference = self._reference or self._runner(self.original)
            return self._paired(self._reference, self._runner(model))
        return median(self._paired(self._runner(self.original), self._runner(model)) for _ in range(sessions))

    def _runner(self, model: Model) -> Runner:
        proto, weights = model.stripped_proto()
        runner = Runner(proto, weights=weights, optimise=True, threads=self.threads)
        runner.run(self.feed)
        return runner

    def _paired(self, before: Runner, after: Runner) -> float:
        # One thread is timed by its own clock, which stands still while other processes run.
        clock = time.thread_time if self.threads == 1 else time.perf_counter
        seconds: tuple[list[float], list[float]] = ([], [])
        started = clock()
        for order in cycle(((0, 1), (1, 0))):
            for i in order:
                began = clock()
                (before, after)[i].run(self.feed)
                seconds[i].append(clock() - began)
            rounds = len(seconds[0])
            if rounds >= _ROUNDS[0] and (clock() - started > _SECONDS or rounds >= _ROUNDS[1]):
                break
        # Other processes only ever add to a run's time: the lower quartile strays less than the median.
        first, second = (quantiles(own, n=4)[0] for own in seconds)
        return second / first


@dataclass
class Search:
    """The search on one path: measured ratios by point, and what a point is predicted to take.

    Args:
        part: the ratio that is asked for.
        predicted: of each point, relative to the whole model's, falling.
        measure: a point's ratio over so many pairs of sessions.
    """

    part: float
    predicted: Sequence[float]
    measure: Callable[[int, int], float]
    known: dict[int, float] = field(default_factory=dict)

    def run(self) -> int:
        """The point whose measured ratio is nearest to what is asked for.

        Predictions order the points, and the line through the two measured ones around the target says which to
        measure next (regula falsi, with a halving where one end stays).

        Raises:
            TccError: E0502 where no point is fast enough, with the fastest.
        """
        self.known, sure = {0: 1.0}, {0}
        for turn in range(_MEASUREMENTS):
            at = self._next(halve=turn % 3 == 2)
            if at is not None:
                self.known[at] = self.measure(at, 1)
            nearest = self.nearest()
            if at is not None and self._distance(nearest) > _CLOSE:
                continue
            if nearest in sure:
                break
            # A short measurement that happens to fit is no proof that the point does.
            self.known[nearest] = self.measure(nearest, LONG)
            sure.add(nearest)
        best = self.nearest()
        if best not in sure:
            self.known[best] = self.measure(best, LONG)
        if self.known[best] <= self.part * (1 + TOLERANCE):
            return best
        faster = [i for i, ratio in self.known.items() if ratio <= self.part]
        if not faster:
            raise infeasible("latency", self.part, min(self.known.values()))
        return min(faster)

    def nearest(self) -> int:
        """The measured point nearest to what is asked for; of equal ones the larger model."""
        return min(self.known, key=lambda i: (round(self._distance(i), 4), i))

    def _distance(self, at: int) -> float:
        return abs(self.known[at] / self.part - 1)

    def _next(self, *, halve: bool) -> int | None:
        """The next point to measure; None where none is left between the two around the target."""
        last = len(self.predicted) - 1
        slow = max((i for i, ratio in self.known.items() if ratio > self.part), default=0)
        fast = min((i for i, ratio in self.known.items() if i > slow), default=None)
        if fast is None:
            if slow == last:
                return None
            if halve:
                return last
            # Nothing is fast enough yet: what is measured is taken to go on as it did.
            gone = (1 - self.known[slow]) / max(1 - self.predicted[slow], 1e-9) if slow else 1.0
            wanted = 1 - (1 - self.part) / max(gone, 0.1)
            return min(max(self._at(wanted, slow + 1, last), slow + 1), last)
        if fast - slow < 2:
            return None
        a, b = self.known[slow], self.known[fast]
        x, y = self.predicted[slow], self.predicted[fast]
        wanted = (x + y) / 2 if halve or a <= b else x + (y - x) * (a - self.part) / (a - b)
        return self._at(wanted, slow + 1, fast - 1)

    def _at(self, wanted: float, low: int, high: int) -> int:
        """The point of a range that is predicted nearest."""
        return min(range(low, high + 1), key=lambda i: (abs(self.predicted[i] - wanted), i))


@dataclass(frozen=True)
class Point:
    """A point that was measured: what is removed, its ratio, the loss that was predicted for it, and its lanes."""

    removal: dict[Group, np.ndarray]
    ratio: float
    loss: float
    align: int

    def rank(self, part: float) -> tuple[bool, float]:
        """What is as fast as was asked for comes first, then the least loss."""
        return abs(self.ratio / part - 1) > TOLERANCE, self.loss


def reached(path: Path, part: float, slices: Callable[[dict[Group, np.ndarray]], Model], watch: Stopwatch) -> Point:
    """The point of a path at a measured latency.

    Args:
        path: whose costs are in predicted seconds.
        part: the latency that is asked for, relative to the whole model's.
        slices: makes the model without what is removed.
        watch: measures it.

    Raises:
        TccError: E0502 where no point is fast enough, with the fastest.
    """
    steps = path.steps()
    removals = [path.removal(step.shares) for step in steps]
    whole = steps[0].cost.seconds

    def measure(at: int, sessions: int) -> float:
        return watch.ratio(slices(removals[at]), sessions=sessions) if removals[at] else 1.0

    search = Search(part, [step.cost.seconds / whole for step in steps], measure)
    at = search.run()
    loss = sum(path.loss(group, share) for group, share in steps[at].shares.items())
    return Point(removals[at], search.known[at], loss, path.align)
