"""A histogram that grows with what it sees: constant memory, and the same whatever the order of the samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

BINS = 2048
"""Bins at most: eight for each level of an 8-bit range."""
SEEN = 1 << 14
"""Elements of one array that are counted: a larger one is thinned evenly (its extremes are always exact)."""


@dataclass
class Histogram:
    """Counts of finite values in bins ``[k w, (k+1) w)``, the width ``w`` a power of two.

    The width is the smallest with which everything seen fits into ``BINS`` bins, so a histogram does not depend on
    the order in which arrays come, and two histograms add up to that of both their data. Exact zeros are counted
    apart: a quantised range holds zero exactly, so they carry no rounding error.
    """

    low: float = math.inf
    high: float = -math.inf
    zeros: int = 0
    finite: bool = True
    exponent: int = -1074
    first: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def add(self, array: np.ndarray) -> None:
        """Count an array's elements; what is not finite is only noted."""
        flat = array.reshape(-1)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            self.finite = False
            flat = flat[np.isfinite(flat)]
            if not flat.size:
                return
            low, high = float(flat.min()), float(flat.max())
        self._extend(low, high)
        thinned = flat[:: _stride(flat.size)]
        nonzero = thinned[thinned != 0]
        self.zeros += thinned.size - nonzero.size
        if nonzero.size:
            index = np.floor(nonzero / np.float64(2.0**self.exponent)).astype(np.int64) - self.first
            self.counts += np.bincount(np.clip(index, 0, len(self.counts) - 1), minlength=len(self.counts))

    def merge(self, other: Histogram) -> None:
        """Add what another histogram has counted."""
        self.finite &= other.finite
        if other.low > other.high:
            return
        self._extend(other.low, other.high)
        self.zeros += other.zeros
        index = ((other.first + np.arange(len(other.counts))) >> (self.exponent - other.exponent)) - self.first
        np.add.at(self.counts, index, other.counts)

    @property
    def total(self) -> int:
        """Elements counted."""
        return self.zeros + int(self.counts.sum())

    @property
    def centres(self) -> np.ndarray:
        """The middle of each bin."""
        return (self.first + np.arange(len(self.counts)) + 0.5) * 2.0**self.exponent

    @property
    def energy(self) -> float:
        """The mean square."""
        total = self.total
        return float((self.counts * np.square(self.centres)).sum() / total) if total else 0.0

    def below(self, magnitude: float) -> float:
        """The part of the values other than zero that are smaller than this, whole bins counted."""
        counted = int(self.counts.sum())
        width = 2.0**self.exponent
        near = np.abs(self.centres) - width / 2 < magnitude
        return float(self.counts[near].sum()) / counted if counted else 0.0

    def _extend(self, low: float, high: float) -> None:
        """Make room for values between the bounds."""
        low, high = min(low, self.low), max(high, self.high)
        if (low, high) == (self.low, self.high):
            return
        self.low, self.high = low, high
        exponent = max(self.exponent, _exponent(low, high))
        shift = exponent - self.exponent
        first = math.floor(low / 2.0**exponent)
        counts = np.zeros(math.floor(high / 2.0**exponent) - first + 1, dtype=np.int64)
        if self.counts.any():
            old = (self.first + np.arange(len(self.counts))) >> min(shift, 63)
            np.add.at(counts, old - first, self.counts)
        self.exponent, self.first, self.counts = exponent, first, counts


def _stride(size: int) -> int:
    """The step at which an array is thinned: without a common divisor, or whole channels would be left out."""
    stride = -(-size // SEEN)
    while math.gcd(stride, size) > 1:
        stride += 1
    return stride


def _exponent(low: float, high: float) -> int:
    """Of the smallest width with which the values between the bounds take at most ``BINS`` bins."""
    largest = max(abs(low), abs(high))
    if not largest:
        return -126
    # A width below the largest magnitude's rounding (2**-24 of it) would tell nothing apart.
    exponent = max(math.frexp(largest)[1] - 24, -126)
    if high > low:
        exponent = max(exponent, math.frexp((high - low) / BINS)[1] - 1)
    while math.floor(high / 2.0**exponent) - math.floor(low / 2.0**exponent) + 1 > BINS:
        exponent += 1
    return exponent
