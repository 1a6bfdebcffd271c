"""The type of a tensor: its element type and its dimensions, symbolic ones kept symbolic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tcc.ir import sizes as sums

Dimension = int | str | None
"""A fixed size, a symbol's name, or unknown."""

BITS = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16,
    "float8e4m3fn": 8, "float8e4m3fnuz": 8, "float8e5m2": 8, "float8e5m2fnuz": 8, "float8e8m0": 8,
    "int64": 64, "int32": 32, "int16": 16, "int8": 8, "int4": 4, "int2": 2,
    "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8, "uint4": 4, "uint2": 2, "float4e2m1": 4,
    "bool": 8, "complex64": 64, "complex128": 128, "string": 64,
}  # fmt: skip
"""Bits an element of each ONNX data type takes in memory, by its name in lower case; a string's is its pointer."""


@dataclass(frozen=True)
class TensorType:
    """Element type and shape; ``shape`` is None where not even the rank is known."""

    dtype: str
    shape: tuple[Dimension, ...] | None

    @property
    def rank(self) -> int | None:
        """The number of dimensions, where known."""
        return None if self.shape is None else len(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a fixed size."""
        return self.shape is not None and all(isinstance(d, int) for d in self.shape)

    def sizes(self, symbols: Mapping[str, int], default: int = 1) -> tuple[int, ...]:
        """Concrete sizes: ``symbols`` for the symbolic dimensions, ``default`` where unknown; () for unknown rank."""
        return tuple(
            d if isinstance(d, int) else default if d is None else sums.evaluated(d, symbols, default)
            for d in self.shape or ()
        )

    def elements(self, symbols: Mapping[str, int], default: int = 1) -> int:
        """The number of elements under ``symbols``."""
        return math.prod(self.sizes(symbols, default))

    def nbytes(self, symbols: Mapping[str, int], default: int = 1) -> float:
        """Bytes in memory under ``symbols``; sub-byte types are packed."""
        return self.elements(symbols, default) * BITS[self.dtype] / 8

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype}[...]"
        return f"{self.dtype}[{','.join('?' if d is None else str(d) for d in self.shape)}]"
