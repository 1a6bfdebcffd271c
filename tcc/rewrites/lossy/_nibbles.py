"""Weights of integer kernels as 4-bit integers whose blocks are small multiples of the 8-bit integers' own steps."""

# A kernel's weight is W = s w with a scale s a channel and w in 8 bits. Stored are q of -7 to 7 and, a block, u of 1 to
# 255 with
#
#     w = Round(u (q / d))        d = 14: 254 (7 / 14) = 127
#
# in float32, rounded as IEEE 754 says: w is the same wherever it is computed. (QServe, Lin et al., MLSys 2025, has the
# same two levels of scales.)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcc.ir import rounding
from tcc.ir.rounding import Compensation
from tcc.rewrites.lossy._unpacking import LEVELS

SMALLEST = 2048
"""Elements below which a weight is left alone: the nodes that unpack it outweigh what they save."""
_WHOLE = 127
_BLOCK, _SHORTEST, _LONGEST = 32, 16, 64
"""Elements of one scale: the first if it divides the inner dimension, else the divisor that is nearest to it."""
_MOST = 255
_AT_ONCE = 1 << 19
"""Elements that are looked at at once: tables are large."""
_CUTS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
"""Parts of a block's largest element that its scale may reach to: what is beyond is cut off."""


@dataclass(frozen=True)
class Nibbles:
    """A weight [K, N] as ``Round(units * (values / divisor))``, the units [K / block, N].

    ``error`` is the mean square error of a row of outputs summed over the columns, on the data; or, where the data
    says nothing of it, the square of the weight's own relative L2 error.
    """

    values: np.ndarray
    units: np.ndarray
    divisor: int
    error: float

    @property
    def block(self) -> int:
        """Rows that have one scale."""
        return len(self.values) // len(self.units)


def block_of(inner: int) -> int | None:
    """How many of ``inner`` rows have one scale, an even number; None where there is none."""
    found = [size for size in range(_SHORTEST, min(_LONGEST, inner) + 1, 2) if inner % size == 0]
    return min(found, key=lambda size: (abs(size - _BLOCK), size), default=None)


def nearest(steps: np.ndarray, levels: int) -> Nibbles | None:
    """A weight [K, N], in steps of its 8-bit integers, rounded to nearest; None where its rows make no blocks.

    Args:
        steps: the weight divided by its scale, not rounded.
        levels: the largest of the 8-bit integers.
    """
    if (block := block_of(len(steps))) is None:
        return None
    divisor = _divisor(levels)
    count = max(1, steps.size // _AT_ONCE)
    parts = [_nearest(part, block, divisor) for part in np.array_split(steps, min(count, steps.shape[1]), axis=1)]
    values, units, lost = zip(*parts, strict=True)
    norm = float(np.square(steps).sum(dtype=np.float64))
    return Nibbles(np.concatenate(values, axis=1), np.concatenate(units, axis=1), divisor, sum(lost) / (norm or 1.0))


def _nearest(steps: np.ndarray, block: int, divisor: int) -> tuple[np.ndarray, np.ndarray, float]:
    units = _units(steps, np.ones(len(steps)), block, divisor)
    wide = np.repeat(units, block, axis=0) / divisor
    values = np.clip(np.rint(steps / wide), -LEVELS, LEVELS)
    lost = float(np.square(steps - _whole(values, units, divisor)).sum(dtype=np.float64))
    return values.astype(np.int8), units.astype(np.uint8), lost


def fitted(
    matrix: np.ndarray, scale: np.ndarray, levels: int, second: np.ndarray, compensation: Compensation
) -> Nibbles | None:
    """A weight [K, N] rounded so that on the data its outputs change least; None where its rows make no blocks.

    Args:
        matrix: the weight.
        scale: of its 8-bit integers, [N].
        levels: the largest of those.
        second: moments of its inputs, [K, K].
        compensation: of these.
    """
    if (block := block_of(len(matrix))) is None:
        return None
    divisor, scale = _divisor(levels), scale.astype(np.float64)
    units = _units(matrix / scale, np.diag(second), block, divisor)
    wide = np.repeat(units, block, axis=0) / divisor
    tried = (np.clip(np.rint(matrix / (wide * scale)), -LEVELS, LEVELS),
             compensation.rounded(matrix, wide * scale, LEVELS)[0])  # fmt: skip
    gaps = [rounding.gap(matrix - _whole(values, units, divisor) * scale, second) for values in tried]
    best = int(np.argmin(gaps))
    return Nibbles(tried[best].astype(np.int8), units.astype(np.uint8), divisor, gaps[best])


def _divisor(levels: int) -> int:
    return 2 * LEVELS * (_WHOLE // levels)


def _whole(values: np.ndarray, units: np.ndarray, divisor: int) -> np.ndarray:
    """The 8-bit integers that are computed from those of 4 bits, as a runtime does it."""
    parts = values.astype(np.float32) / np.float32(divisor)
    return np.asarray(np.rint(parts * np.repeat(units.astype(np.float32), len(values) // len(units), axis=0)))


def _units(steps: np.ndarray, weights: np.ndarray, block: int, divisor: int) -> np.ndarray:
    """The scale of each block in parts of a step, that leaves the least weighted square error to nearest."""
    wide = steps.reshape(-1, block, steps.shape[1])
    rows = weights.reshape(-1, block, 1)
    largest = np.abs(wide).max(axis=1, keepdims=True) * (divisor / LEVELS)
    best, least = np.ones_like(largest), np.full_like(largest, np.inf)
    for cut in _CUTS:
        units = np.clip(np.rint(cut * largest), 1, _MOST)
        part = units / divisor
        left = wide - np.clip(np.rint(wide / part), -LEVELS, LEVELS) * part
        error = (rows * np.square(left)).sum(axis=1, keepdims=True)
        best, least = np.where(error < least, units, best), np.minimum(error, least)
    return np.asarray(best[:, 0, :])
