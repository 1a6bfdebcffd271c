"""Instances of ``tcc.rewrites.broadcasting``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

_ARITHMETIC = ("Add", "Sub", "Mul", "Div")
_COMPARING = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")


def _expand(draw: Draw, x: Value, shape: Sequence[int]) -> Value:
    return draw.node("Expand", x, draw.constant(np.array(shape, np.int64)))


def expand_before_elementwise(draw: Draw) -> onnx.ModelProto:
    draw.versions(16)
    shape = draw.shape(1, 4)
    operator = draw.choice((*_ARITHMETIC, *_COMPARING, "And"))
    dtype = "bool" if operator == "And" else draw.choice(("float32", "float64"))
    narrow = draw.input(draw.broadcast_to(shape), dtype, symbols=0.0)
    wide = draw.input(shape, dtype, symbols=0.0)
    return draw.model(draw.node(operator, *draw.shuffled((_expand(draw, narrow, shape), wide))))


def expand_before_elementwise__wider(draw: Draw) -> onnx.ModelProto:
    draw.versions(16)
    x, y = draw.input((1, 3), symbols=0.0), draw.input(draw.choice(((1, 3), (3,), (2, 1))), symbols=0.0)
    return draw.model(draw.node(draw.choice(_ARITHMETIC), *draw.shuffled((_expand(draw, x, (2, 3)), y))))


def expand_before_elementwise__unknown(draw: Draw) -> onnx.ModelProto:
    """Two symbols, one of which may be 1."""
    draw.versions(16)
    x = draw.input_of(draw.array((1, 3)), names=["n", 3])
    y = draw.input_of(draw.array((draw.choice((1, 2)), 3)), names=["m", 3])
    return draw.model(draw.node("Add", _expand(draw, x, (2, 3)), y))


def expand_before_where(draw: Draw) -> onnx.ModelProto:
    draw.versions(16)
    shape = draw.shape(1, 4)
    places = ["bool", "int64", "int64"]
    narrow = draw.integer(0, 2)
    operands = [draw.input(shape if at != narrow else draw.broadcast_to(shape), dtype, symbols=0.0)
                for at, dtype in enumerate(places)]  # fmt: skip
    operands[narrow] = _expand(draw, operands[narrow], shape)
    return draw.model(draw.node("Where", *operands))


def expand_before_where__wider(draw: Draw) -> onnx.ModelProto:
    draw.versions(16)
    operands = [draw.input((1, 3), dtype, symbols=0.0) for dtype in ("bool", "int64", "int64")]
    at = draw.integer(0, 2)
    operands[at] = _expand(draw, operands[at], (2, 3))
    return draw.model(draw.node("Where", *operands))


def expand_of_expand(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    shape = draw.shape(1, 4)
    first = draw.broadcast_to(shape)
    x = draw.input(draw.broadcast_to(first), draw.choice(("float32", "int64", "bool")), symbols=0.0)
    return draw.model(_expand(draw, _expand(draw, x, first), shape))


def expand_of_expand__symbolic(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = draw.input_of(draw.array((2, 1)), names=["n", 1])
    return draw.model(_expand(draw, _expand(draw, x, (1, 3)), (4, 1, 1)))


def _shape_and_axes(draw: Draw) -> tuple[tuple[int, ...], list[int]]:
    shape = draw.shape(1, 4)
    return shape, draw.subset(range(len(shape)), 1)


def reduce_with_dimensions(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    shape, axes = _shape_and_axes(draw)
    x = draw.tensor(shape, symbols=draw.choice((0.0, 0.1)))
    y = op.reduce(draw, draw.choice(("ReduceMean", "ReduceSum", "ReduceMax")), x, axes, 0)
    if draw.chance():
        return draw.model(op.unsqueeze(draw, y, axes))
    return draw.model(op.reshape(draw, y, [1 if axis in axes else size for axis, size in enumerate(shape)]))


def reduce_with_dimensions__elsewhere(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((2, 2, 3), symbols=0.0)
    y = op.reduce(draw, draw.choice(("ReduceMean", "ReduceSum", "ReduceMax")), x, [0], 0)
    return draw.model(op.unsqueeze(draw, y, draw.choice(([1], [2], [0, 1]))))


def reduce_with_dimensions__kept(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((2, 1, 3), symbols=0.0)
    y = op.reduce(draw, "ReduceSum", x, [0], draw.choice((None, 1)))
    return draw.model(op.reshape(draw, y, draw.choice(([1, 3, 1], [3, 1, 1], [1, 1, 1, 3]))))
