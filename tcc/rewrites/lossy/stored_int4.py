"""Weights that lie in the file as packed 4-bit integers, a scale a block, and are computed back at load time."""

# A byte p holds two integers of -7 to 7 as p = 16 a + b. So p / 16 is a + b / 16 with |b / 16| < 1/2, and
#
#     a = Round(p / 16)      b = 16 (p / 16 - a)      W = Reshape(Reshape(Concat(a, b), blocks) * scale, shape)
#
# in which all numbers are exact. No integer type of 4 bits is needed, nor a runtime that knows it.

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir

from tcc.ir import attributes, facts
from tcc.ir.model import tensor_type
from tcc.ir.types import TensorType
from tcc.rewrites.lossy import Alternative, Offer, _rows
from tcc.rewrites.lossy._blocks import BLOCK, Blocks, fitted, nearest

AT_LOAD_TIME = True
OBJECTIVES = frozenset({"size"})
"""What it is offered for unless it is asked for by name: it spends the loss budget on bytes alone."""
FIRST_OPSET = 13
SMALLEST = 8192
"""Elements below which a weight is left alone: the nodes that unpack it outweigh what they save."""
LEVELS = 7


def offer(made: Offer) -> None:
    """Offer every large weight in blocks of 4-bit integers, rounded to the data where there is some."""
    target, reason = made.target, ""
    if made.opset < FIRST_OPSET:
        reason = f"opset {made.opset} is too old, {FIRST_OPSET} is the first"
    elif "int8" not in target.storage:
        reason = f"target {target.name} is not known to compute int8 weights back at load time"
    if reason:
        made.declined["stored-int4"] = reason
        return
    for v in made.imported.graph.initializers.values():
        kind, held = tensor_type(v), v.const_value
        if kind is None or kind.dtype != "float32" or held is None or held.size < SMALLEST or v.is_graph_input():
            continue
        weight = held.numpy()
        if not np.isfinite(weight).all() or weight.size % (2 * BLOCK):
            made.declined[f"stored-int4:{v.name}"] = f"is not finite, or no even number of blocks of {BLOCK}"
            continue
        found = fitted(made, v, LEVELS) or nearest(weight, LEVELS)
        _Unpacking(made, v, found).write()


@dataclass(frozen=True)
class _Unpacking:
    """The rows that compute one weight back."""

    made: Offer
    v: onnx_ir.Value
    found: Blocks

    def write(self) -> None:
        """Add them and the edge to them."""
        made, v, found = self.made, self.v, self.found
        size = found.values.size
        first, second = np.split(found.values.reshape(-1).astype(np.int8), 2)
        half = (size // 2,)
        packed = _rows.constant(made, (16 * first + second).astype(np.int8), f"{v.name}_int4")
        bytes_ = self._add("Cast", half, packed, to=onnx.TensorProto.FLOAT)
        parts = self._add("Mul", half, bytes_, self._number(1 / 16))
        high = self._add("Round", half, parts)
        low = self._add("Mul", half, self._add("Sub", half, parts, high), self._number(16.0))
        both = self._add("Concat", (size,), made.tables.list_of((high, low)), axis=0)
        blocks = self._add("Reshape", found.values.shape, both, self._shape(found.values.shape))
        scales = _rows.constant(made, found.scale, f"{v.name}_scale4")
        scaled = self._add("Mul", found.values.shape, blocks, scales)
        shape = v.const_value.numpy().shape if v.const_value is not None else ()
        result = self._add("Reshape", shape, scaled, self._shape(shape))
        site = f"stored-int4:{v.name}"
        made.alternatives.append(Alternative(site, made.imported.numbers[v], result))
        made.error[site] = found.error
        users = [node for node, _ in v.uses()]
        if len(users) == 1 and users[0].outputs[0].name:
            made.where[site] = users[0].outputs[0].name

    def _add(self, operator: str, shape: tuple[int, ...], *inputs: int, **plain: int) -> int:
        number = self.made.imported.fresh()
        self.made.tables.add(operator, number, *inputs, attributes.key_of(plain))
        self.made.tables.add("type", number, facts.kind_text(TensorType("float32", shape)))
        self.made.imported.operators.add(operator)
        return number

    def _number(self, value: float) -> int:
        return _rows.constant(self.made, np.array(value, np.float32), f"of_{math.frexp(value)[1]}_bits")

    def _shape(self, shape: tuple[int, ...]) -> int:
        return _rows.constant(self.made, np.array(shape, np.int64), "x".join(map(str, shape)))
