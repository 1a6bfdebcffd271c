"""Instances of ``tcc.rewrites.powers``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

_FLOATS = ("float32", "float32", "float64")


def _positive(draw: Draw, shape: tuple[int, ...], dtype: str = "float32") -> Value:
    return draw.input_of(draw.positive(shape, dtype), symbols=0.0)


def _power(draw: Draw, exponents: tuple[float, ...], *, positive: bool) -> onnx.ModelProto:
    draw.versions(9)
    shape, dtype = draw.shape(1, 4), draw.choice(_FLOATS)
    x = _positive(draw, shape, dtype) if positive else draw.tensor(shape, dtype)
    exponent = np.array(draw.choice(exponents), dtype)
    return draw.model(draw.node("Pow", x, draw.constant(exponent.reshape(draw.choice(((), (1,)))))))


def power_is_root(draw: Draw) -> onnx.ModelProto:
    return _power(draw, (0.5, -0.5, -1.0), positive=True)


def power_is_root__other(draw: Draw) -> onnx.ModelProto:
    return _power(draw, (0.4, 0.51, -0.49, -1.5, 1.5), positive=True)


def power_is_root__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return draw.model(draw.node("Pow", _positive(draw, (3,)), draw.constant(np.full((2, 1), 0.5, np.float32))))


def power_is_product(draw: Draw) -> onnx.ModelProto:
    return _power(draw, (2.0, 3.0), positive=False)


def power_is_product__other(draw: Draw) -> onnx.ModelProto:
    return _power(draw, (4.0, 2.5, 1.5, -2.0), positive=True)


def power_is_product__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    exponent = draw.choice((2.0, 3.0))
    return draw.model(draw.node("Pow", draw.input((3,)), draw.constant(np.full((2, 1), exponent, np.float32))))


def power_is_product__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    exponent = draw.input_of(np.array(draw.choice((2.0, 3.0, 1.0)), np.float32))
    return draw.model(draw.node("Pow", _positive(draw, (2, 3)), exponent))


def one_over(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape, dtype = draw.shape(1, 4), draw.choice(_FLOATS)
    one = draw.constant(np.ones(draw.choice(((), (1,))), dtype))
    return draw.model(draw.node("Div", one, _positive(draw, shape, dtype)))


def one_over__two(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    c = draw.choice((np.float32(2), np.array([1, 2, 1], np.float32)))
    return draw.model(draw.node("Div", draw.constant(c), _positive(draw, (2, 3))))


def one_over__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    return draw.model(draw.node("Div", draw.constant(np.ones((2, 1), np.float32)), _positive(draw, (3,))))


def one_over__integer(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    x = draw.input_of(np.array([1, 2, -1, 3], np.int32), symbols=0.0)
    return draw.model(draw.node("Div", draw.constant(np.array(1, np.int32)), x))


def constant_scalar(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    dtype = draw.choice(_FLOATS)
    c = draw.constant(draw.positive((), dtype))
    operator = draw.choice(("Reciprocal", "Neg", "Mul"))
    d = draw.node(operator, c, *([draw.constant(draw.positive((), dtype))] if operator == "Mul" else []))
    return draw.model(draw.node("Add", draw.input((2, 3), dtype), d))


def constant_scalar__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    c = draw.input_of(draw.positive(()), symbols=0.0)
    operator = draw.choice(("Reciprocal", "Neg", "Mul"))
    d = draw.node(operator, c, *([draw.constant(draw.positive(()))] if operator == "Mul" else []))
    return draw.model(draw.node("Add", draw.input((2, 3)), d))


def constant_scalar__mixed_shapes(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    c, d = draw.constant(draw.positive((2,))), draw.constant(draw.positive((2, 1)))
    return draw.model(draw.node("Add", draw.input((2, 2)), draw.node("Mul", c, d)))
