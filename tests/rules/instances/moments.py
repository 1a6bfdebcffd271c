"""Instances of ``tcc.rewrites.moments``: normalisations as TensorFlow's exporter writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx


def _swap(draw: Draw, operator: str, a: Value, b: Value) -> Value:
    return draw.node(operator, *draw.shuffled((a, b)))


def _root(draw: Draw, deviation: Value, axes: list[int] | None, epsilon: float = 1e-5) -> Value:
    """sqrt(var + epsilon), by a GlobalAveragePool where no axes are given."""
    square = draw.node("Mul", deviation, deviation)
    mean = draw.node("GlobalAveragePool", square) if axes is None else op.reduce(draw, "ReduceMean", square, axes)
    small = draw.constant(np.array(epsilon, np.float32).reshape(draw.choice(((), (1,)))))
    return draw.node("Sqrt", _swap(draw, "Add", mean, small))


def _divided(draw: Draw, deviation: Value, root: Value) -> Value:
    if draw.chance():
        return draw.node("Div", deviation, root)
    return _swap(draw, "Mul", deviation, draw.node("Reciprocal", root))


def layer_normalization_of_pools(draw: Draw) -> onnx.ModelProto:
    draw.versions(17)
    x = draw.tensor((draw.integer(1, 2), draw.integer(1, 3), 4, *[3][: draw.integer(0, 1)]))
    deviation = draw.node("Sub", x, draw.node("GlobalAveragePool", x))
    return draw.model(_divided(draw, deviation, _root(draw, deviation, None, draw.choice((1e-5, 1e-3)))))


def layer_normalization_of_pools__other_mean(draw: Draw) -> onnx.ModelProto:
    """The variance is taken along another axis."""
    draw.versions(18)
    x = draw.tensor((2, 3, 4))
    deviation = draw.node("Sub", x, draw.node("GlobalAveragePool", x))
    return draw.model(_divided(draw, deviation, _root(draw, deviation, [1])))


def layer_normalization_of_pools__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(17)
    x, y = draw.input((2, 3, 4)), draw.input((2, 3, 4))
    deviation = draw.node("Sub", x, draw.node("GlobalAveragePool", y))
    return draw.model(_divided(draw, deviation, _root(draw, deviation, None)))


def layer_normalization_of_pools__large_epsilon(draw: Draw) -> onnx.ModelProto:
    draw.versions(17)
    x = draw.input((2, 3, 4))
    deviation = draw.node("Sub", x, draw.node("GlobalAveragePool", x))
    return draw.model(_divided(draw, deviation, _root(draw, deviation, None, draw.choice((1.0, 2.5)))))


def _affine(draw: Draw, *, other: str = "") -> onnx.ModelProto:
    """x g / s + (b - m g / s)."""
    draw.versions(18)
    x = draw.tensor((2, 3, 4))
    mean = op.reduce(draw, "ReduceMean", x, [-1])
    root = _root(draw, draw.node("Sub", x, mean), [-1])
    scale, shift = (draw.operand(draw.array(draw.choice(((4,), (3, 1), (1,)))), constant=draw.chance()) for _ in "gb")
    factor = draw.node("Div", scale, root)
    second = op.reduce(draw, "ReduceMean", x, [1]) if other == "mean" else mean
    third = draw.node("Div", draw.constant(np.array([2.0], np.float32)), root) if other == "factor" else factor
    moved = draw.node("Sub", shift, _swap(draw, "Mul", second, third))
    return draw.model(_swap(draw, "Add", _swap(draw, "Mul", x, factor), moved))


def scale_and_shift_of_deviation(draw: Draw) -> onnx.ModelProto:
    return _affine(draw)


def scale_and_shift_of_deviation__other_mean(draw: Draw) -> onnx.ModelProto:
    return _affine(draw, other="mean")


def scale_and_shift_of_deviation__other_factor(draw: Draw) -> onnx.ModelProto:
    return _affine(draw, other="factor")


def scale_and_shift_of_deviation__wider(draw: Draw) -> onnx.ModelProto:
    """The shift makes the result larger than the input."""
    draw.versions(18)
    x = draw.input((3, 4), symbols=0.0)
    mean = op.reduce(draw, "ReduceMean", x, [-1])
    root = _root(draw, draw.node("Sub", x, mean), [-1])
    factor = draw.node("Div", draw.constant(draw.array((4,))), root)
    moved = draw.node("Sub", draw.constant(draw.array((2, 1, 4))), draw.node("Mul", mean, factor))
    return draw.model(draw.node("Add", draw.node("Mul", x, factor), moved))
