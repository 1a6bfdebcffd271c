"""Integer schemes: scales and zero points of activations, of weights and of biases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcc.ir.calibration import Range
from tcc.targets.target import Quantization

_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
_LARGEST_BIAS = 2.0**30
"""Half of what an int32 accumulator holds: the products need room as well."""


@dataclass(frozen=True)
class Scheme:
    """How a tensor is written as integers: ``x ≈ scale * (q - zero)`` (ONNX QuantizeLinear)."""

    dtype: str
    scale: float
    zero: int

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer."""
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    @property
    def kept(self) -> Range:
        """What the integers can express."""
        low, high = self.limits
        return Range((low - self.zero) * self.scale, (high - self.zero) * self.scale)


def activation_scheme(kept: Range, recipe: Quantization) -> Scheme:
    """The scheme of an activation with this range; zero is exact in it."""
    info = np.iinfo(recipe.activation)
    if recipe.symmetric:
        scale = max(-kept.low, kept.high) / info.max
        return Scheme(recipe.activation, _scale(scale), 0)
    scale = _scale((kept.high - kept.low) / (int(info.max) - int(info.min)))
    zero = int(np.clip(np.rint(info.min - kept.low / scale), info.min, info.max))
    return Scheme(recipe.activation, scale, zero)


def _scale(scale: float) -> float:
    # As float32, so that what the integers express here is what the file says.
    return float(np.float32(scale)) if scale > _SMALLEST_SCALE else 1.0


@dataclass(frozen=True)
class Weight:
    """A weight as integers ``values`` with one ``scale`` for each index of ``axis`` (None: one for all).

    ``error`` is the relative L2 error; ``shift`` what a bias makes up for, a number a channel, where that is known.
    """

    values: np.ndarray
    scale: np.ndarray
    axis: int | None
    error: float
    shift: np.ndarray | None = None

    def wide(self) -> np.ndarray:
        """What the integers stand for."""
        if self.axis is None:
            return np.asarray(self.values * self.scale)
        shape = [-1 if i == self.axis else 1 for i in range(self.values.ndim)]
        return np.asarray(self.values * self.scale.reshape(shape))


def quantize_weight(
    weight: np.ndarray, axis: int | None, *, levels: int = 127, least: np.ndarray | float = 0.0, dtype: str = "int8"
) -> Weight:
    """A weight in symmetric integers of at most ``levels``, rounded to nearest, each scale at least ``least``."""
    others = None if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others)
    scale = np.maximum(np.where(largest > 0, largest / levels, 1.0), least).astype(np.float32)
    wide = scale if axis is None else scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    values = np.clip(np.rint(weight / wide), -levels, levels).astype(dtype)
    norm = float(np.linalg.norm(weight))
    error = float(np.linalg.norm(weight - values * wide)) / norm if norm else 0.0
    return Weight(values, scale, axis, error)


def least_scale(bias: np.ndarray, activation: float) -> np.ndarray:
    """The smallest weight scales with which an int32 bias of scale ``activation * weight`` does not overflow."""
    return np.asarray(np.abs(bias) / (activation * _LARGEST_BIAS))
