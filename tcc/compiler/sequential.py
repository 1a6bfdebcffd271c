"""Repeats a noisy measurement until it is clear on which side of a boundary it lies, or the samples are used up."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

FEWEST, MOST = 3, 20
"""Samples before the first answer, and after which there is none."""
SURE, CLEAR = 5, 1.1
"""Samples from which on their spread is trusted, and how far from the boundary an answer from fewer has to be."""
CONFIDENCE = 0.995
"""One-sided, at each look: an answer is looked for after each sample, and the chance of a wrong one adds up."""
FLOOR = 0.01
"""Samples of one process differ by less than those of two, which no process can see of itself."""


@dataclass(frozen=True)
class Estimate:
    """A positive quantity: the geometric mean of its samples, with the interval that an answer was read from."""

    value: float
    low: float
    high: float
    samples: int

    def text(self) -> str:
        """One line, as a ratio."""
        return f"×{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, {self.samples} samples)"


def settle(sample: Callable[[int], float], boundary: float) -> Estimate:
    """Take samples (positive, by number) until the interval of their mean leaves the boundary to one side.

    After ``MOST`` samples the boundary may still lie inside: then the answer is that there is none.
    """
    values: list[float] = []
    while True:
        values.append(sample(len(values)))
        if len(values) < FEWEST:
            continue
        found = estimate(values)
        apart = 1.0 if len(values) >= SURE else CLEAR
        if found.low > boundary * apart or found.high < boundary / apart or len(values) >= MOST:
            return found


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of logarithms with Student's interval; at least two values."""
    logs, count = [math.log(value) for value in values], len(values)
    mean = statistics.fmean(logs)
    reach = student(CONFIDENCE, count - 1) * max(statistics.stdev(logs), FLOOR) / math.sqrt(count)
    return Estimate(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), count)


def widened(found: Estimate, part: float) -> Estimate:
    """The estimate with what all of its samples may be off by together, as a part of the quantity."""
    return replace(found, low=found.low / (1 + part), high=found.high * (1 + part))


def student(confidence: float, degrees: int) -> float:
    """A quantile of Student's distribution, within 4 % from two degrees of freedom on.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5, the first four terms; exact for two.
    """
    if degrees == 2:
        return (2 * confidence - 1) / math.sqrt(2 * confidence * (1 - confidence))
    z = statistics.NormalDist().inv_cdf(confidence)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3
