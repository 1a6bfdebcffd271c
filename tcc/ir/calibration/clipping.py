"""Ranges for quantisation from a histogram: extremes, percentile, entropy, mean square error, analytic clipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tcc.ir.calibration.histogram import Histogram

PERCENTILE = 0.9999
"""The part of the values that the percentile method keeps, both ends together."""
_SHRINK = np.linspace(0.2, 1.0, 81)
_LAPLACE = {16: 5.03, 256: 9.90, 65536: 20.0}
_GAUSS = {16: 2.56, 256: 3.93, 65536: 6.0}
_GAUSSIAN_TAIL = 0.765
"""The mean magnitude over the root of the mean square: 0.798 for a Gaussian, 0.707 for a Laplace distribution;
in between both errors are equal at 8 bits."""


class Range(NamedTuple):
    """The interval that is quantised; it holds zero."""

    low: float
    high: float

    def widened(self, other: Range) -> Range:
        """The smallest interval that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def range_of(seen: Histogram, method: str = "mse", levels: int = 256, *, symmetric: bool = False) -> Range:
    """The range by a method of ``METHODS``; with ``symmetric`` the larger side counts for both.

    Raises ``KeyError`` for an unknown method.
    """
    whole = Range(min(seen.low, 0.0), max(seen.high, 0.0))
    if not seen.counts.any():
        return whole if whole.low <= whole.high else Range(0.0, 0.0)
    found = METHODS[method](seen, levels, symmetric)
    low, high = max(found.low, whole.low), min(found.high, whole.high)
    side = max(-low, high)
    return Range(-side, side) if symmetric else Range(low, high)


def noise(seen: Histogram, kept: Range, levels: int = 256) -> float:
    """The mean square error of rounding to evenly spaced levels over a range, what lies outside clipped to it."""
    return float(_noise(seen, np.array([kept.low]), np.array([kept.high]), levels)[0])


def _noise(seen: Histogram, low: np.ndarray, high: np.ndarray, levels: int) -> np.ndarray:
    """For each of several ranges. Uniform rounding adds a twelfth of a step's square (Bennett, 1948)."""
    x, counts = seen.centres, seen.counts
    outside = np.maximum(0.0, np.maximum(x - high[:, None], low[:, None] - x))
    step = (high - low) / (levels - 1)
    inside = (outside == 0) * (np.square(step) / 12)[:, None]
    made: np.ndarray = ((np.square(outside) + inside) @ counts) / max(seen.total, 1)
    return made


def _extremes(seen: Histogram, _levels: int, _symmetric: bool) -> Range:  # noqa: FBT001 - one signature for all
    return Range(min(seen.low, 0.0), max(seen.high, 0.0))


def _percentile(seen: Histogram, _levels: int, _symmetric: bool) -> Range:  # noqa: FBT001
    # Exact zeros are never clipped, and a ReLU's many of them say nothing about the tail.
    reached = np.cumsum(seen.counts) / seen.counts.sum()
    tail = (1 - PERCENTILE) / 2
    low, high = (int(np.searchsorted(reached, part)) for part in (tail, 1 - tail))
    width, last = 2.0**seen.exponent, len(seen.counts) - 1
    return Range(min((seen.first + min(low, last)) * width, 0.0), max((seen.first + min(high, last) + 1) * width, 0.0))


def _mean_square(seen: Histogram, levels: int, symmetric: bool) -> Range:  # noqa: FBT001
    """The range with the smallest error: both sides shrunk together, then each on its own."""
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    if symmetric:
        low, high = -max(-low, high), max(-low, high)
    best = _best(seen, low * _SHRINK, high * _SHRINK, levels)
    if symmetric or not low or not high:
        return best
    best = _best(seen, np.full_like(_SHRINK, best.low), high * _SHRINK, levels)
    return _best(seen, low * _SHRINK, np.full_like(_SHRINK, best.high), levels)


def _halfway(seen: Histogram, levels: int, symmetric: bool) -> Range:  # noqa: FBT001
    """Between the range with the smallest error and the extremes, the geometric mean of each side."""
    near, far = _mean_square(seen, levels, symmetric), _extremes(seen, levels, symmetric)
    return Range(-math.sqrt(near.low * min(far.low, near.low)), math.sqrt(near.high * max(far.high, near.high)))


def _best(seen: Histogram, low: np.ndarray, high: np.ndarray, levels: int) -> Range:
    at = int(np.argmin(_noise(seen, low, high, levels)))
    return Range(float(low[at]), float(high[at]))


def _analytic(seen: Histogram, levels: int, _symmetric: bool) -> Range:  # noqa: FBT001
    """ACIQ (Banner et al., 2019): the best clipping of the Laplace or the Gaussian distribution that fits."""
    x, counts = seen.centres, seen.counts
    mean = float((x * counts).sum() / counts.sum()) if seen.low < 0 else 0.0
    magnitude = float((np.abs(x - mean) * counts).sum() / counts.sum())
    deviation = math.sqrt(float((np.square(x - mean) * counts).sum() / counts.sum()))
    if not deviation:
        return _extremes(seen, levels, False)
    # After a ReLU one half of the distribution is left, which the same number of levels resolves twice as finely.
    grid = levels if seen.low < 0 else 2 * levels
    laplace, gauss = _interpolated(_LAPLACE, grid), _interpolated(_GAUSS, grid)
    reach = gauss * deviation if magnitude / deviation > _GAUSSIAN_TAIL else laplace * magnitude
    return Range(min(mean - reach, 0.0) if seen.low < 0 else 0.0, max(mean + reach, 0.0))


def _interpolated(table: dict[int, float], levels: int) -> float:
    return float(np.interp(math.log2(levels), [math.log2(n) for n in table], list(table.values())))


def _entropy(seen: Histogram, levels: int, _symmetric: bool) -> Range:  # noqa: FBT001
    """The clipping whose quantised distribution of magnitudes diverges least from the original (Migacz, 2017)."""
    magnitudes = _magnitudes(seen)
    cells = levels // 2 if seen.low < 0 else levels
    if len(magnitudes) <= cells:
        return _extremes(seen, levels, False)
    best, best_end = math.inf, len(magnitudes)
    for end in range(cells, len(magnitudes) + 1, max(1, (len(magnitudes) - cells) // 128)):
        divergence = _divergence(magnitudes, end, cells)
        if divergence < best:
            best, best_end = divergence, end
    reach = best_end * 2.0**seen.exponent
    return Range(-reach, reach)


def _magnitudes(seen: Histogram) -> np.ndarray:
    """Counts by magnitude, from zero on."""
    index = seen.first + np.arange(len(seen.counts))
    return np.bincount(np.where(index < 0, -index - 1, index), weights=seen.counts)


def _divergence(magnitudes: np.ndarray, end: int, cells: int) -> float:
    """Kullback-Leibler divergence of the quantised from the clipped distribution."""
    reference = magnitudes[:end].copy()
    reference[-1] += magnitudes[end:].sum()
    cell = np.arange(end) * cells // end
    occupied = magnitudes[:end] > 0
    mass = np.bincount(cell, weights=magnitudes[:end], minlength=cells)
    share = np.bincount(cell, weights=occupied, minlength=cells)
    quantized = np.where(occupied, mass[cell] / np.maximum(share[cell], 1), 0.0)
    p, q = reference / max(reference.sum(), 1), quantized / max(quantized.sum(), 1)
    both = (p > 0) & (q > 0)
    # What the clipping moved into an empty last bin is counted at the smallest mass there is.
    lost = p[(p > 0) & (q == 0)].sum() * 16.0
    return float((p[both] * np.log(p[both] / q[both])).sum() + lost)


METHODS: dict[str, Callable[[Histogram, int, bool], Range]] = {
    "minmax": _extremes,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mean_square,
    "halfway": _halfway,
    "aciq": _analytic,
}
"""The methods by name."""
