"""Streaming statistics besides the histogram: extremes a channel, and their moving average."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Channels:
    """The extremes and the mean of each slice along ``axis``.

    An array whose axis is as long as before adds to the same channels; a different length raises ``ValueError``.
    """

    axis: int
    low: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    high: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    total: np.ndarray = field(default_factory=lambda: np.zeros(0))
    count: int = 0

    def add(self, array: np.ndarray) -> None:
        """See an array of float values."""
        rows = np.moveaxis(array, self.axis, 0).reshape(array.shape[self.axis], -1)
        if not rows.size:
            return
        low, high, total = rows.min(axis=1), rows.max(axis=1), rows.sum(axis=1, dtype=np.float64)
        if self.count:
            low, high, total = np.minimum(low, self.low), np.maximum(high, self.high), total + self.total
        self.low, self.high, self.total = low, high, total
        self.count += rows.shape[1]

    @property
    def magnitude(self) -> np.ndarray:
        """The largest absolute value of each channel."""
        return np.asarray(np.maximum(np.abs(self.low), np.abs(self.high)))

    @property
    def mean(self) -> np.ndarray:
        """The mean of each channel."""
        return np.asarray(self.total / max(self.count, 1))


@dataclass
class MovingAverage:
    """Extremes of each array, averaged with a weight that falls by ``decay`` an array (Jacob et al., 2018)."""

    decay: float = 0.9
    low: float = 0.0
    high: float = 0.0
    seen: int = 0

    def add(self, array: np.ndarray) -> None:
        """See an array of float values."""
        if not array.size:
            return
        low, high = float(array.min()), float(array.max())
        # The plain mean of what came first, so that the start value of zero carries no weight.
        new = max(1 - self.decay, 1 / (self.seen + 1))
        self.low += new * (low - self.low)
        self.high += new * (high - self.high)
        self.seen += 1
