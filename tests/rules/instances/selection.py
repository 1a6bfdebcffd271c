"""Instances of ``tcc.rewrites.selection``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

_OPEN = 2**31 - 1
_TYPES = ("float32", "int64", "float64")


def _indices(draw: Draw, size: int, shape: Sequence[int], *, negative: bool = True) -> Value:
    array = draw.rng.integers(-size if negative else 0, size, tuple(shape))
    return draw.constant(array.astype(draw.choice((np.int64, np.int32))))


def gather_of_gather(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    shape = (*draw.shape(1, 2), draw.integer(3, 6))
    symbolic = draw.chance()
    x = draw.input(shape, draw.choice(_TYPES), symbols=1.0 if symbolic else 0.0)
    axis = draw.choice((-1, len(shape) - 1))
    inner = draw.choice(((4,), (2, 3)))
    y = draw.node("Gather", x, _indices(draw, shape[-1], inner, negative=not symbolic), axis=axis)
    at = draw.integer(0, len(inner) - 1)
    j = _indices(draw, inner[at], draw.choice(((), (1,), (3,))))
    return draw.model(draw.node("Gather", y, j, axis=len(shape) - 1 + at))


def gather_of_gather__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((4, 4, 4))
    inner, outer = draw.choice(((0, 1), (1, 0), (2, 1), (0, 2)))
    y = draw.node("Gather", x, _indices(draw, 4, (4,)), axis=inner)
    return draw.model(draw.node("Gather", y, _indices(draw, 4, draw.choice(((), (3,)))), axis=outer))


def gather_of_gather__from_the_back(draw: Draw) -> onnx.ModelProto:
    """Where the size is symbolic, what is counted from the back stays counted from the back."""
    draw.versions(11)
    x = draw.input((5, 2), symbols=1.0)
    y = draw.node("Gather", x, draw.constant(np.array([-1, 0, -2, 1])))
    return draw.model(draw.node("Gather", y, draw.constant(draw.choice((np.array([-1, -4]), np.array([0, 2]))))))


def gather_of_slice(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((draw.integer(1, 3), 9), draw.choice(_TYPES), symbols=0.5)
    start, end, step = draw.choice(((1, 8, 1), (2, _OPEN, 1), (0, 9, 2), (3, _OPEN, 3)))
    y = op.slice_(draw, x, [start], [end], [1], steps=[step])
    i = draw.constant(draw.choice((np.array(0), np.array([1, 0]), np.array([[2], [1]]))) % (2 if step == 3 else 3))
    return draw.model(draw.node("Gather", y, i, axis=draw.choice((1, -1))))


def gather_of_slice__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((5, 5))
    y = op.slice_(draw, x, [1], [4], [0])
    if draw.chance():
        y = op.slice_(draw, x, [1, 1], [4, 4], [0, 1])
    return draw.model(draw.node("Gather", y, draw.constant(np.array([0, 2])), axis=1))


def gather_of_slice__backwards(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    y = op.slice_(draw, draw.input((6,)), [-1], [-5], [0], steps=[-1])
    return draw.model(draw.node("Gather", y, draw.constant(np.array([0, 2]))))


def gather_of_slice__from_the_back(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    y = op.slice_(draw, draw.input((7,), symbols=draw.choice((0.0, 1.0))), [-4], [_OPEN], [0])
    return draw.model(draw.node("Gather", y, draw.constant(np.array([0, -1]))))


def gather_of_run(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    x = draw.input((draw.integer(1, 2), 9, 2), draw.choice(_TYPES), symbols=0.3)
    start, step, count = draw.choice(((0, 1, 9), (2, 1, 4), (1, 2, 4), (0, 3, 3), (5, 1, 1)))
    i = np.arange(start, start + step * count, step)
    return draw.model(draw.node("Gather", x, draw.constant(i), axis=draw.choice((1, -2))))


def gather_of_run__no_run(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    options = np.array([0, 1, 3]), np.array([2, 1, 0]), np.array([1, 1, 1]), np.array([[0, 1]]), np.array([-1, 0, 1])
    return draw.model(draw.node("Gather", draw.input((5,)), draw.constant(draw.choice(options))))


def gather_of_run__far(draw: Draw) -> onnx.ModelProto:
    """Indices that are fed, and a tensor of unknown size."""
    draw.versions(10)
    x = draw.input((5,), symbols=1.0)
    return draw.model(draw.node("Gather", x, draw.operand(np.array([-3, -2]), constant=draw.chance())))


def one_without_its_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    rank = draw.integer(1, 3)
    axis = draw.integer(0, rank - 1)
    shape = tuple(draw.integer(3, 5) if at == axis else draw.integer(1, 3) for at in range(rank))
    x, at = draw.input(shape, draw.choice(_TYPES), symbols=0.0), draw.integer(0, 2)
    if draw.chance():
        y = draw.node("Gather", x, draw.constant(np.array([at])), axis=axis)
    else:
        y = op.slice_(draw, x, [at], [at + 1], [axis])
    if draw.chance():
        return draw.model(op.squeeze(draw, y, [axis]))
    return draw.model(op.reshape(draw, y, [size for i, size in enumerate(shape) if i != axis]))


def one_without_its_axis__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((1, 4, 3), symbols=0.0)
    y = op.slice_(draw, x, [1], [draw.choice((2, 3))], [1])
    if draw.chance():
        return draw.model(op.squeeze(draw, y, [0]))
    return draw.model(op.reshape(draw, y, [3, -1]))


def one_without_its_axis__two(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((4, 2), symbols=0.0)
    y = op.slice_(draw, x, [1, 0], [2, 1], [0, 1])
    return draw.model(op.squeeze(draw, y, draw.choice(([0], [1]))))


def concat_of_slices(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((draw.integer(1, 3), 9), draw.choice(_TYPES), symbols=0.3)
    low, cut, high = draw.choice(((0, 4, 9), (1, 3, 7), (2, 5, _OPEN), (0, 6, _OPEN)))
    axis = draw.choice((1, -1))
    steps = None if draw.chance() else [1]
    parts = [op.slice_(draw, x, [a], [b], [axis], steps=steps) for a, b in ((low, cut), (cut, high))]
    if draw.chance():
        parts.append(draw.input((x.shape[0], 2), x.dtype, symbols=0.0))
    return draw.model(draw.node("Concat", *parts, axis=axis))


def concat_of_slices__apart(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((9,), symbols=0.0)
    first, second = draw.choice((((0, 4), (5, 9)), ((0, 4), (3, 9)), ((4, 9), (0, 4)), ((0, 5), (5, 3))))
    parts = [op.slice_(draw, x, [a], [b], [0]) for a, b in (first, second)]
    return draw.model(draw.node("Concat", *parts, axis=0))


def concat_of_slices__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x, y = draw.input((6,), symbols=0.0), draw.input((6,), symbols=0.0)
    return draw.model(draw.node("Concat", op.slice_(draw, x, [0], [3]), op.slice_(draw, y, [3], [6]), axis=0))


def concat_of_slices__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((4, 4), symbols=0.0)
    parts = [op.slice_(draw, x, [a], [b], [0]) for a, b in ((0, 2), (2, 4))]
    return draw.model(draw.node("Concat", *parts, axis=1))


def concat_of_slices__steps(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((8,), symbols=0.0)
    rows = draw.choice((((0, 4, 2), (4, 8, 1)), ((0, 3, 2), (3, 8, 2)), ((0, 4, 2), (4, 8, 2)), ((0, 4, 1), (4, 8, 2))))
    parts = [op.slice_(draw, x, [a], [b], [0], steps=[p]) for a, b, p in rows]
    return draw.model(draw.node("Concat", *parts, axis=0))
