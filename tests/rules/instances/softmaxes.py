"""Instances of ``tcc.rewrites.softmaxes``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

UNCONDITIONAL = frozenset({"exponential_of_log_softmax"})
_FLOATS = ("float32", "float64")


def _swap(draw: Draw, operator: str, a: Value, b: Value) -> Value:
    return draw.node(operator, *draw.shuffled((a, b)))


def _input(draw: Draw, dtype: str = "float32", rank: int = 0) -> Value:
    shape = draw.shape(rank or 1, rank or 4)
    return draw.input((*shape[:-1], draw.integer(2, 5)), dtype)


def _axis(draw: Draw, rank: int) -> int:
    return draw.integer(-rank, rank - 1)


def _less_maximum(draw: Draw, x: Value, axis: int) -> Value:
    return draw.node("Sub", x, op.reduce(draw, "ReduceMax", x, [axis]))


def _bounded(draw: Draw, x: Value, axis: int) -> Value:
    """x less its maximum, or something between two bounds."""
    if draw.chance():
        return _less_maximum(draw, x, axis)
    if draw.chance():
        return draw.node(draw.choice(("Tanh", "Sigmoid")), x)
    low, high = (draw.constant(np.array(number, x.dtype)) for number in (-3, 30))
    return draw.node("Clip", x, low, high)


def _shares(draw: Draw, x: Value, axis: int, summed: int | None = None) -> Value:
    """exp(x) / sum exp(x) in one of its forms."""
    e = draw.node("Exp", x)
    total = op.reduce(draw, "ReduceSum", e, [axis if summed is None else summed])
    if draw.chance():
        return draw.node("Div", e, total)
    return _swap(draw, "Mul", e, draw.node("Reciprocal", total))


def _logarithms(draw: Draw, x: Value, axis: int) -> Value:
    m = op.reduce(draw, "ReduceMax", x, [axis])
    shifted = draw.node("Sub", x, m)
    total = draw.node("Log", op.reduce(draw, "ReduceSum", draw.node("Exp", shifted), [axis]))
    if draw.chance():
        return draw.node("Sub", shifted, total)
    return draw.node("Sub", x, _swap(draw, "Add", m, total))


def softmax_written_out(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = _input(draw, draw.choice(_FLOATS))
    axis = _axis(draw, len(x.shape))
    return draw.model(_shares(draw, _bounded(draw, x, axis), axis))


def softmax_written_out__wide(draw: Draw) -> onnx.ModelProto:
    """Exponentials overflow, and what is written out is not a number."""
    draw.versions(13)
    x = draw.input_of(100 + 20 * draw.array((3, 4)))
    return draw.model(_shares(draw, x, draw.choice((0, 1, -1))))


def softmax_written_out__bounds_far(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = draw.input_of(100 * draw.array((3, 4)))
    clipped = draw.node("Clip", x, *(draw.constant(np.float32(c)) for c in draw.choice(((-500, 3), (-1, 200)))))
    return draw.model(_shares(draw, clipped, 1))


def softmax_written_out__two_axes(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = draw.node("Tanh", draw.input((2, 3, 4)))
    e = draw.node("Exp", x)
    axes = draw.choice(([0, 1], [1, 2], None))
    return draw.model(draw.node("Div", e, op.reduce(draw, "ReduceSum", e, axes)))


def softmax_written_out__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x, y = (draw.node("Exp", draw.node("Tanh", draw.input((3, 3)))) for _ in range(2))
    return draw.model(draw.node("Div", x, op.reduce(draw, "ReduceSum", y, [1])))


def softmax_written_out__dropped(draw: Draw) -> onnx.ModelProto:
    """The sums broadcast along another axis."""
    draw.versions(13)
    e = draw.node("Exp", draw.node("Tanh", draw.input((3, 3))))
    return draw.model(draw.node("Div", e, op.reduce(draw, "ReduceSum", e, [1], keepdims=0)))


def log_softmax_written_out(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = _input(draw, draw.choice(_FLOATS))
    axis = _axis(draw, len(x.shape))
    if draw.chance(0.3):
        small = draw.node("Tanh", x)
        total = op.reduce(draw, "ReduceSum", draw.node("Exp", small), [axis])
        return draw.model(draw.node("Sub", small, draw.node("Log", total)))
    return draw.model(_logarithms(draw, x, axis))


def log_softmax_written_out__wide(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = draw.input_of(100 + 20 * draw.array((3, 4)))
    total = draw.node("Log", op.reduce(draw, "ReduceSum", draw.node("Exp", x), [1]))
    return draw.model(draw.node("Sub", x, total))


def log_softmax_written_out__other_shift(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x, y = draw.input((3, 3)), draw.input((3, 3))
    m = op.reduce(draw, "ReduceMax", x, [1])
    total = draw.node("Log", op.reduce(draw, "ReduceSum", draw.node("Exp", draw.node("Sub", x, m)), [1]))
    return draw.model(draw.node("Sub", *draw.choice(((y, draw.node("Add", m, total)), (x, total)))))


def less_log_sum(draw: Draw) -> onnx.ModelProto:
    draw.versions(18)
    x = _input(draw, draw.choice(_FLOATS))
    total = draw.node("ReduceLogSumExp", x, draw.constant(np.array([_axis(draw, len(x.shape))])))
    return draw.model(draw.node("Sub", x, total))


def less_log_sum__dropped(draw: Draw) -> onnx.ModelProto:
    draw.versions(18)
    x = draw.input((3, 3))
    total = draw.node("ReduceLogSumExp", x, draw.constant(np.array([1])), keepdims=0)
    return draw.model(draw.node("Sub", x, total))


def less_log_sum__other(draw: Draw) -> onnx.ModelProto:
    draw.versions(18)
    x = draw.input((3, 3))
    axes = draw.constant(np.array([0, 1]))
    if draw.chance():
        return draw.model(draw.node("Sub", x, draw.node("ReduceLogSumExp", x, axes)))
    return draw.model(draw.node("Sub", draw.node("ReduceLogSumExp", x, draw.constant(np.array([1]))), x))


def coerced_softmax_written_out(draw: Draw) -> onnx.ModelProto:
    draw.versions(11, 12)
    x = _input(draw)
    axis = draw.choice((-1, len(x.shape) - 1))
    if draw.chance(0.3):
        return draw.model(draw.node("Sub", x, draw.node("ReduceLogSumExp", x, axes=[axis])))
    if draw.chance():
        return draw.model(_logarithms(draw, x, axis))
    return draw.model(_shares(draw, _bounded(draw, x, axis), axis))


def coerced_softmax_written_out__inner_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(11, 12)
    x, axis = draw.input((2, 3, 4)), draw.choice((0, 1, -2))
    return draw.model(_logarithms(draw, x, axis) if draw.chance() else _shares(draw, _bounded(draw, x, axis), axis))


def shift_of_softmax(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = _input(draw, draw.choice(_FLOATS))
    axis = _axis(draw, len(x.shape))
    own = None if axis in {-1, len(x.shape) - 1} and draw.chance() else axis
    return draw.model(draw.node(draw.choice(("Softmax", "LogSoftmax")), _less_maximum(draw, x, axis), axis=own))


def shift_of_softmax__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = draw.input((2, 3, 4), symbols=0.0)
    axis, own = draw.choice(((0, 1), (1, None), (2, 0), (1, 2)))
    return draw.model(draw.node(draw.choice(("Softmax", "LogSoftmax")), _less_maximum(draw, x, axis), axis=own))


def shift_of_softmax__dropped(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = draw.input((3, 3))
    shifted = draw.node("Sub", x, op.reduce(draw, "ReduceMax", x, [1], keepdims=0))
    return draw.model(draw.node("Softmax", shifted))


def exponential_of_log_softmax(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = _input(draw)
    return draw.model(draw.node("Exp", draw.node("LogSoftmax", x, axis=draw.choice((None, 0, -1)))))
