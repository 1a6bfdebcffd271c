"""Measures two artifacts against each other: interleaved runs, and the noise floor beside the result."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tcc.backends import Backend

Verdict = Literal["faster", "slower", "same"]
Run = Callable[[], object]

_Z95 = 1.96
_FEWEST_ROUNDS = 8
"""Fewer than six bound no median at 95 %: all lie on one side of it with probability 2 · 0.5ⁿ."""
_MOST_ROUNDS = 2000
PLACEMENT = 3e-6
"""Seconds by which a run differs from one process to the next, whatever the model: where its memory happens to lie.

All samples of a process share it, so that no number of them shows it. Measured on runs of 40 µs: 0.91 to 1.06.
"""


@dataclass(frozen=True)
class PairedLatency:
    """The latency of B relative to A, measured in turns.

    Latencies are medians in seconds a run. ``ratio`` is the median over rounds of B / A, and ``low``, ``high``
    its 95 % confidence interval (order statistics, no assumption on the distribution). ``noise`` is how far
    the same measurement of A against a second copy of A strays from 1, at the far end of its own interval, or what
    ``PLACEMENT`` makes of a run, where that is more: what is within it is no difference.
    """

    latency_a: float
    latency_b: float
    ratio: float
    low: float
    high: float
    noise: float
    rounds: int

    @property
    def verdict(self) -> Verdict:
        """Whether B is faster or slower than A beyond the confidence interval and the noise floor."""
        if self.high < 1 / (1 + self.noise):
            return "faster"
        return "slower" if self.low > 1 + self.noise else "same"

    def text(self) -> str:
        """One line, with its uncertainty."""
        return (
            f"{self.verdict}: {self.latency_b * 1e3:.3g} ms against {self.latency_a * 1e3:.3g} ms, ratio "
            f"{self.ratio:.3f} ({self.low:.3f} to {self.high:.3f}, noise {self.noise:.1%}, {self.rounds} rounds)"
        )


def measure_pair(
    path_a: Path,
    path_b: Path,
    feeds: Sequence[Mapping[str, Any]],
    *,
    backend: Backend | None = None,
    threads: int = 1,
    budget_seconds: float = 2.0,
) -> PairedLatency:
    """Time artifact B against artifact A on ``feeds``, with the optimisations that a user would get.

    Each round runs A, a second copy of A, and B once each on the next feed, in an order that rotates, so that
    a machine that slows down does so for all three. Rounds go on until the budget is spent (loading and one
    warm-up not counted), at least eight. Three models are in memory meanwhile. ``feeds`` has at least one
    element; ``backend`` is ONNX Runtime on the CPU where not given.

    Raises:
        TccError: what loading and running raise.
    """
    from tcc import backends

    chosen = backend or backends.backend("onnxruntime")
    first, null, second = (chosen.load(path, threads=threads) for path in (path_a, path_a, path_b))
    runs = [[_bound(loaded, feed) for loaded in (first, null, second)] for feed in feeds]
    return compare_runs(runs, budget_seconds=budget_seconds)


def compare_runs(
    runs: Sequence[Sequence[Run]], *, budget_seconds: float, clock: Callable[[], float] = time.perf_counter
) -> PairedLatency:
    """The measurement itself: ``runs`` holds (A, a second A, B) for each feed; ``clock`` counts seconds."""
    for run in (run for feed in runs for run in feed):
        run()
    samples: tuple[list[float], list[float], list[float]] = ([], [], [])
    started = clock()
    for turn, (feed, order) in enumerate(zip(cycle(runs), _orders(), strict=False)):
        if turn >= _FEWEST_ROUNDS and (clock() - started > budget_seconds or turn >= _MOST_ROUNDS):
            break
        for index in order:
            before = clock()
            feed[index]()
            samples[index].append(clock() - before)
    return _summary(*samples)


def _bound(loaded: Any, feed: Mapping[str, Any]) -> Run:
    return lambda: loaded.run(feed)


def _orders() -> Iterator[tuple[int, int, int]]:
    """Each run comes first, second and third equally often, and after each other one equally often."""
    return cycle([(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1), (2, 0, 1), (1, 0, 2)])


def _summary(first: list[float], null: list[float], second: list[float]) -> PairedLatency:
    # Paired within a round: what slows the machine down for a while cancels out of the ratio.
    ratios = [b / a for a, b in zip(first, second, strict=True)]
    low, high = _median_interval(ratios)
    null_low, null_high = _median_interval([b / a for a, b in zip(first, null, strict=True)])
    return PairedLatency(
        latency_a=statistics.median(first),
        latency_b=statistics.median(second),
        ratio=statistics.median(ratios),
        low=low,
        high=high,
        noise=max(null_high - 1, 1 / null_low - 1, PLACEMENT / statistics.median(first)),
        rounds=len(first),
    )


def _median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The order statistics that hold the median at 95 %: normal approximation of the binomial, rounded outwards."""
    ordered, count = sorted(values), len(values)
    low = max(0, math.floor(count / 2 - _Z95 * math.sqrt(count) / 2 - 0.5))
    return ordered[low], ordered[count - 1 - low]
