"""The nodes that compute integers of 4 bits back from bytes that hold two each."""

# A byte p holds two integers of -7 to 7 as p = 15 (a + 7) + (b + 7): they are looked up in a table of 225 pairs,
# which all weights of a file share. No integer type of 4 bits is needed, nor a runtime that knows it.

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from tcc.ir import attributes, facts
from tcc.ir.types import TensorType
from tcc.rewrites.lossy import Offer, _rows

FIRST_OPSET = 13
PACKED = "packed-int4"
"""The technique that lays 8-bit weights down in 4 bits."""
LEVELS = 7
"""The largest integer."""
_BASE = 2 * LEVELS + 1


def refusal(made: Offer) -> str:
    """Why nothing may lie in 4 bits; empty where it may."""
    if made.opset < FIRST_OPSET:
        return f"opset {made.opset} is too old, {FIRST_OPSET} is the first"
    if "int8" not in made.target.storage:
        return f"target {made.target.name} is not known to compute int8 weights back at load time"
    return ""


def is_offered(made: Offer) -> bool:
    """Whether 8-bit weights may lie in 4 bits: what they would be is looked for only then."""
    return PACKED in made.offering and not refusal(made)


def paired(array: np.ndarray) -> np.ndarray:
    """What broadcasts to integers, as it broadcasts to their pairs: the last axis becomes two."""
    return array[..., None] if array.shape[-1] == 1 else array.reshape(*array.shape[:-1], -1, 2)


@dataclass(frozen=True)
class Unpacking:
    """Writes rows of nodes on constants, their results typed."""

    made: Offer

    def pairs(self, integers: np.ndarray, name: str, divisor: int = 1) -> int:
        """The number of ``paired(integers)`` in float32, each divided by ``divisor``.

        Args:
            integers: of -7 to 7; the last axis is even.
            name: of the weight.
            divisor: of all of them.
        """
        pairs = paired(integers).astype(np.int64) + LEVELS
        packed = (_BASE * pairs[..., 0] + pairs[..., 1]).astype(np.uint8)
        stored = _rows.constant(self.made, packed, f"{name}_int4")
        indices = self.add("Cast", packed.shape, stored, dtype="int32", to=onnx.TensorProto.INT32)
        return self.add("Gather", pairs.shape, self._table(divisor), indices)

    def _table(self, divisor: int) -> int:
        """The number of the pairs that bytes hold, divided, in float32."""
        key = ("table", divisor)
        if key not in self.made.memo:
            first, second = np.divmod(np.arange(_BASE**2), _BASE)
            integers = (np.stack([first, second], axis=1) - LEVELS).astype(np.int8)
            found = _rows.constant(self.made, integers, "int4_pairs")
            found = self.add("Cast", integers.shape, found, to=onnx.TensorProto.FLOAT)
            if divisor != 1:
                by = _rows.constant(self.made, np.array(divisor, np.float32), f"of_{divisor}")
                found = self.add("Div", integers.shape, found, by)
            self.made.memo[key] = found
        return int(self.made.memo[key])

    def reshaped(self, number: int, shape: tuple[int, ...], dtype: str = "float32") -> int:
        """The number of what another one holds, in this shape."""
        target = _rows.constant(self.made, np.array(shape, np.int64), "x".join(map(str, shape)))
        return self.add("Reshape", shape, number, target, dtype=dtype)

    def add(self, operator: str, shape: tuple[int, ...], *inputs: int, dtype: str = "float32", **plain: int) -> int:
        """The number of a new node's result."""
        imported, tables = self.made.imported, self.made.tables
        number = imported.fresh()
        tables.add(operator, number, *inputs, attributes.key_of(plain))
        tables.add("type", number, facts.kind_text(TensorType(dtype, shape)))
        imported.operators.add(operator)
        return number
