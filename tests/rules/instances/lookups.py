"""Instances of ``tcc.rewrites.lookups``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx


def _places(draw: Draw, depth: int, shape: Sequence[int]) -> Value:
    """Indices of this shape below ``depth``, by what is largest, or cut."""
    if draw.chance():
        keep = draw.integer(0, 1)
        operator = draw.choice(("ArgMax", "ArgMin"))
        found = draw.node(operator, draw.input((*shape, depth), symbols=0.0), axis=-1, keepdims=keep)
        return Value(found.name, "int64", (*shape, 1) if keep else tuple(shape))
    x = draw.input(shape, "int64", symbols=0.0)
    bounds = [draw.constant(np.array(number, np.int64)) for number in (0, depth - 1)]
    return Value(draw.node("Clip", x, *bounds).name, "int64", tuple(shape))


def _hot(draw: Draw, i: Value, depth: int, values: Sequence[float] = (0, 1)) -> Value:
    return draw.node(
        "OneHot", i, draw.constant(np.array(depth, np.int64).reshape(draw.choice(((), (1,))))),
        draw.constant(np.array(values, np.float32)), axis=draw.choice((None, -1, len(i.shape))),
    )  # fmt: skip


def _compared(draw: Draw, i: Value, depth: int, first: int = 0) -> Value:
    column = op.unsqueeze(draw, i, [len(i.shape)])
    places = draw.constant(np.arange(first, first + depth))
    return draw.node("Cast", draw.node("Equal", *draw.shuffled((column, places))), to=1)


def _either(draw: Draw, i: Value, depth: int) -> Value:
    return _hot(draw, i, depth) if draw.chance() else _compared(draw, i, depth)


def _product(draw: Draw, hot: Value, depth: int) -> onnx.ModelProto:
    table = draw.operand(draw.array((depth, draw.integer(1, 4))), constant=draw.chance(0.7))
    return draw.model(draw.node("MatMul", hot, table))


def product_with_one_hot(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    depth, shape = draw.integer(2, 6), draw.choice(((3,), (2, 3), (2, 1, 2)))
    i = _places(draw, depth, shape)
    return _product(draw, _either(draw, i, depth), depth)


def product_with_one_hot__beyond(draw: Draw) -> onnx.ModelProto:
    """An index for which there is no one."""
    draw.versions(13)
    shape = draw.choice(((3,), (2, 3)))
    i = _places(draw, 6, shape) if draw.chance() else draw.input(shape, "int64", symbols=0.0)
    return _product(draw, _either(draw, i, 4), 4)


def product_with_one_hot__below(draw: Draw) -> onnx.ModelProto:
    """Below zero a comparison finds nothing."""
    draw.versions(13)
    x = draw.input((2, 3), "int64", symbols=0.0)
    i = draw.node("Clip", x, draw.constant(np.array(-4)), draw.constant(np.array(3)))
    return _product(draw, _compared(draw, Value(i.name, "int64", (2, 3)), 4), 4)


def product_with_one_hot__other_values(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    i = _places(draw, 4, (2, 3))
    if draw.chance():
        return _product(draw, _compared(draw, i, 4, draw.choice((1, 2))), 4)
    return _product(draw, _hot(draw, i, 4, draw.choice(((1, 0), (0, 2), (0.5, 1)))), 4)


def _indices(draw: Draw, size: int, shape: Sequence[int]) -> Value:
    array = draw.rng.integers(-size, size, tuple(shape)).astype(draw.choice((np.int64, np.int32)))
    return draw.operand(array, constant=draw.chance(0.3))


def gather_by_gathered(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    shape = draw.shape(1, 3)
    axis = draw.integer(0, len(shape) - 1)
    inner = draw.choice(((4,), (2, 3), (1, 5)))
    y = draw.node(
        "Gather", draw.input(shape, symbols=0.2), _indices(draw, shape[axis], inner),
        axis=draw.choice((axis, axis - len(shape))),
    )  # fmt: skip
    own = draw.integer(0, len(inner) - 1)
    return draw.model(
        draw.node("Gather", y, _indices(draw, inner[own], draw.choice(((), (2,), (2, 2)))), axis=axis + own)
    )


def gather_by_gathered__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    first, second = draw.choice(((0, 1), (1, 0), (2, 0), (1, 2)))
    y = draw.node("Gather", draw.input((3, 3, 3)), _indices(draw, 3, (3,)), axis=first)
    return draw.model(draw.node("Gather", y, _indices(draw, 3, draw.choice(((), (2,), (3,)))), axis=second))


def _rows(draw: Draw, width: int, batches: int | None = None) -> onnx.ModelProto:
    x = draw.input((3, 4, 2), symbols=0.0)
    chosen = draw.rng.integers(-3, 3, (3, draw.integer(1, 4), width))
    i = draw.operand(chosen, constant=draw.chance(0.7))
    return draw.model(draw.node("GatherND", x, i, batch_dims=batches))


def gather_nd_of_rows(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    return _rows(draw, 1, draw.choice((None, 0)))


def gather_nd_of_rows__of_two(draw: Draw) -> onnx.ModelProto:
    """Indices along two axes."""
    draw.versions(13)
    return _rows(draw, 2)


def gather_nd_of_rows__of_batches(draw: Draw) -> onnx.ModelProto:
    """A batch of tensors that each has indices of its own."""
    draw.versions(13)
    return _rows(draw, 1, 1)
