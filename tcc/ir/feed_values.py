"""Draws the values of one input: random, repeatable, and within what the graph allows."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from onnx import helper

from tcc.ir.feed_ranges import Domain
from tcc.ir.feed_shapes import Input

Value = Any
"""An array, a list of arrays for a sequence, a dict for a map."""

Style = Literal["normal", "unit", "pixels", "zeros", "ones"]
STYLES: tuple[Style, ...] = ("normal", "unit", "pixels", "zeros", "ones")
"""Ways to draw: standard normal, [0, 1), 0 to 255, and constants; integers stay in their domain in all of them."""

_WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
_ELEMENTS = 2
_COUNTS = 16
"""Integers that index nothing are steps, ages and counts: they stay below this."""


def draw(port: Input, shape: tuple[int, ...], domain: Domain, style: Style, *, seed: int, turn: int) -> Value:
    """The value of one input in the feed number ``turn``; in odd turns masks end with zeros."""
    rng = np.random.default_rng([seed, turn, zlib.crc32(port.name.encode())])
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(port.data_type))
    plan = _Plan(port, shape, dtype, domain, style, rng, turn)
    if port.kind == "map":
        keys = domain.choices or ((0, 1) if dtype.kind in "iu" else _WORDS[:2])
        return {key: float(rng.random()) for key in keys}
    if port.kind == "sequence":
        return [plan.tensor() for _ in range(_ELEMENTS)]
    return plan.tensor()


@dataclass(frozen=True)
class _Plan:
    """All that decides the elements of one tensor."""

    port: Input
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    domain: Domain
    style: Style
    rng: np.random.Generator
    turn: int

    def tensor(self) -> np.ndarray:
        return np.asarray(self._elements()).astype(self.dtype)

    def _elements(self) -> np.ndarray:
        if self.domain.choices or self.dtype.kind == "O":
            choices = np.array(self.domain.choices or _WORDS, self.dtype)
            return np.asarray(choices[self.rng.integers(0, len(choices), self.shape)])
        if self.domain.use in {"shape", "axis", "scale"}:
            return self._structural()
        if self.style in {"zeros", "ones"}:
            # A length or a mask of nothing but zeros computes nothing.
            lowest = self.domain.low if self.domain.use == "index" else int(self.domain.use in {"length", "mask"})
            return np.full(self.shape, max(lowest, int(self.style == "ones")))
        if self._is_mask():
            return self._mask()
        if self.dtype.kind == "b":
            return np.asarray(self.rng.random(self.shape) < 0.5)
        return self._floats() if self.port.is_float else self._integers()

    def _structural(self) -> np.ndarray:
        """Values that shape the computation, of which few work: [-1, 1, 1], axes 0, 1, 2, scales 1, 1, 2, 2."""
        count = int(np.prod(self.shape))
        values = np.arange(count)
        if self.domain.use == "shape":
            values = np.where(values == 0, -1, 1)
        elif self.domain.use == "axis":
            values %= self.domain.high or 1
        else:
            values = np.where(values < 2, 1, 2)
        return values.reshape(self.shape)

    def _floats(self) -> np.ndarray:
        if not self.shape:
            # Scalars are scales, temperatures and thresholds: near 1 is where they work.
            return np.array(1.0 if self.turn == 0 else self.rng.uniform(0.5, 1.5))
        if self.style == "normal":
            return self.rng.standard_normal(self.shape, dtype=np.float32)
        return self.rng.random(self.shape, dtype=np.float32) * np.float32(255 if self.style == "pixels" else 1)

    def _integers(self) -> np.ndarray:
        low, high = self.domain.low, self.domain.high
        if self.domain.use in {"size", "length"}:
            low, high = 1, 4
        elif self.domain.use == "index":
            high = low + 2 if high is None else max(high, low + 1)
        elif self.dtype.itemsize == 1 and self.dtype.kind in "iu":
            low, high = int(np.iinfo(self.dtype).min), int(np.iinfo(self.dtype).max) + 1  # pixels, quantised values
        elif self.dtype.kind in "iu":
            high = 256 if len(self.shape) >= 4 else _COUNTS
        else:
            high = 2  # 4-bit and narrower
        if "position" in self.port.name.lower() and self.shape:
            return np.broadcast_to(low + np.arange(self.shape[-1]) % (high - low), self.shape)
        return np.asarray(self.rng.integers(low, min(high, low + 2) if self.style == "unit" else high, self.shape))

    def _is_mask(self) -> bool:
        """By use for integers; floats and booleans multiply and select in many ways, so there the name decides."""
        named = "mask" in self.port.name.lower()
        if self.port.is_float or self.dtype.kind == "b":
            return named
        return (self.domain.use == "mask" and len(self.shape) > 1) or (named and self.domain.use in {"mask", "plain"})

    def _mask(self) -> np.ndarray:
        """Ones; in odd turns the last quarter of the last axis is 0, as padding is."""
        mask = np.ones(self.shape)
        if self.turn % 2 and self.shape and self.shape[-1] > 1:
            mask[..., self.shape[-1] - max(1, self.shape[-1] // 4) :] = 0
        return mask
