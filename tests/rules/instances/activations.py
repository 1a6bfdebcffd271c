"""Instances of ``tcc.rewrites.activations``: the forms that exporters write."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

UNCONDITIONAL = frozenset({"mish"})
_FLOATS = ("float32", "float32", "float64")


def _number(draw: Draw, value: float, dtype: str = "float32") -> Value:
    return draw.constant(np.array(value, dtype).reshape(draw.choice(((), (), (1,)))))


def _swap(draw: Draw, operator: str, a: Value, b: Value) -> Value:
    return draw.node(operator, *draw.shuffled((a, b)))


def _product_of(draw: Draw, x: Value, gate: Value, dtype: str, half: float = 0.5) -> Value:
    """x gate / 2 in one of the orders; the half is divided out at times."""
    h = _number(draw, half, dtype)
    form = draw.integer(0, 2)
    if form == 0:
        return draw.node("Mul", _swap(draw, "Mul", x, gate), h)
    if form == 1:
        return _swap(draw, "Mul", draw.node("Mul", x, h), gate)
    return _swap(draw, "Mul", x, draw.node("Mul", gate, h))


def _erf(draw: Draw, x: Value, dtype: str, root: float = math.sqrt(2)) -> Value:
    if draw.chance():
        return draw.node("Erf", draw.node("Div", x, _number(draw, root, dtype)))
    return draw.node("Erf", draw.node("Mul", x, _number(draw, 1 / root, dtype)))


def gelu_of_erf(draw: Draw) -> onnx.ModelProto:
    draw.versions(20)
    dtype = "float32"  # ONNX Runtime has no other kernel of Erf
    x = draw.tensor(draw.shape(1, 4), dtype)
    e = _erf(draw, x, dtype)
    if draw.chance(0.2):
        half = draw.node("Add", draw.node("Mul", e, _number(draw, 0.5, dtype)), _number(draw, 0.5, dtype))
        return draw.model(_swap(draw, "Mul", x, half))
    return draw.model(_product_of(draw, x, _swap(draw, "Add", e, _number(draw, 1, dtype)), dtype))


def gelu_of_erf__other_root(draw: Draw) -> onnx.ModelProto:
    draw.versions(20)
    x = draw.input((2, 5))
    e = _erf(draw, x, "float32", draw.choice((1.414, 1.5, 2.0)))
    return draw.model(_product_of(draw, x, draw.node("Add", e, _number(draw, 1)), "float32"))


def gelu_of_erf__other_constants(draw: Draw) -> onnx.ModelProto:
    draw.versions(20)
    x = draw.input((2, 5))
    one, half = draw.choice(((1.01, 0.5), (1, 0.51), (0, 0.5), (1, 1)))
    gate = draw.node("Add", _erf(draw, x, "float32"), _number(draw, one))
    return draw.model(_product_of(draw, x, gate, "float32", half))


def gelu_of_erf__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(20)
    x, y = draw.input((2, 5)), draw.input((2, 5))
    gate = draw.node("Add", _erf(draw, x, "float32"), _number(draw, 1))
    return draw.model(_product_of(draw, y, gate, "float32"))


def gelu_of_erf__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(20)
    x = draw.input((5,))
    gate = draw.node("Add", _erf(draw, x, "float32"), _number(draw, 1))
    half = (
        draw.constant(np.full((2, 1), 0.5, np.float32))
        if draw.chance()
        else draw.constant(np.full((1, 1), 0.5, np.float32))
    )
    return draw.model(draw.node("Mul", draw.node("Mul", x, gate), half))


def _cubic(draw: Draw, x: Value, dtype: str, small: float = 0.044715) -> Value:
    """x + 0.044715 x ** 3."""
    c = _number(draw, small, dtype)
    form = draw.integer(0, 2)
    if form == 0:
        cube = draw.node("Mul", _swap(draw, "Mul", draw.node("Mul", x, x), x), c)
    elif form == 1:
        cube = _swap(draw, "Mul", draw.node("Mul", draw.node("Mul", x, c), x), x)
    else:
        cube = _swap(draw, "Mul", draw.node("Mul", draw.node("Mul", x, x), c), x)
    return _swap(draw, "Add", x, cube)


def _inner(draw: Draw, x: Value, dtype: str, small: float = 0.044715, root: float = math.sqrt(2 / math.pi)) -> Value:
    k = _number(draw, root, dtype)
    if draw.chance():
        return draw.node("Mul", _cubic(draw, x, dtype, small), k)
    square = draw.node("Mul", draw.node("Mul", x, _number(draw, small, dtype)), x)
    shifted = draw.node("Add", square, _number(draw, 1, dtype))
    if draw.chance():
        return _swap(draw, "Mul", draw.node("Mul", x, k), shifted)
    return draw.node("Mul", draw.node("Mul", x, shifted), k)


def gelu_of_tanh(draw: Draw) -> onnx.ModelProto:
    draw.versions(20)
    dtype = "float32"
    x = draw.tensor(draw.shape(1, 4), dtype)
    gate = _swap(draw, "Add", draw.node("Tanh", _inner(draw, x, dtype)), _number(draw, 1, dtype))
    return draw.model(_product_of(draw, x, gate, dtype))


def gelu_of_tanh__other_constants(draw: Draw) -> onnx.ModelProto:
    draw.versions(20)
    x = draw.input((2, 5))
    small, root = draw.choice(((0.05, 0.7978845608), (0.044715, 0.8), (0.1, 0.75)))
    gate = draw.node("Add", draw.node("Tanh", _inner(draw, x, "float32", small, root)), _number(draw, 1))
    return draw.model(_product_of(draw, x, gate, "float32"))


def gelu_of_tanh__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(20)
    x, y = draw.input((2, 5)), draw.input((2, 5))
    gate = draw.node("Add", draw.node("Tanh", _inner(draw, x, "float32")), _number(draw, 1))
    return draw.model(_product_of(draw, y, gate, "float32"))


def sigmoid_written_out(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    dtype = draw.choice(_FLOATS)
    x = draw.tensor(draw.shape(1, 4), dtype)
    exponential = draw.node("Exp", draw.node("Neg", x))
    return draw.model(draw.node("Reciprocal", _swap(draw, "Add", exponential, _number(draw, 1, dtype))))


def sigmoid_written_out__other(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = draw.input((2, 5))
    if draw.chance():
        one = draw.constant(
            draw.choice((np.float32(1.5), np.array([1, 1, 1, 1, 2], np.float32), np.ones((2, 1, 1), np.float32)))
        )
        return draw.model(draw.node("Reciprocal", draw.node("Add", draw.node("Exp", draw.node("Neg", x)), one)))
    return draw.model(draw.node("Reciprocal", draw.node("Add", draw.node("Exp", x), _number(draw, 1))))


def swish(draw: Draw) -> onnx.ModelProto:
    draw.versions(24)
    x = draw.tensor(draw.shape(1, 4))
    inner = draw.node("Mul", x, _number(draw, draw.choice((1.702, 1.0, 0.5, -1.0)))) if draw.chance() else x
    return draw.model(_swap(draw, "Mul", x, draw.node("Sigmoid", inner)))


def swish__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(24)
    return draw.model(draw.node("Mul", draw.input((2, 5)), draw.node("Sigmoid", draw.input((2, 5)))))


def swish__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(24)
    x = draw.input((2, 5))
    scale = draw.choice((draw.array((5,)), draw.array((2, 1, 1)), draw.array((1, 1, 1))))
    return draw.model(draw.node("Mul", x, draw.node("Sigmoid", draw.node("Mul", x, draw.constant(scale)))))


def _clip(draw: Draw, x: Value, low: float, high: float, dtype: str = "float32") -> Value:
    return draw.node("Clip", x, draw.constant(np.array(low, dtype)), draw.constant(np.array(high, dtype)))


def hard_sigmoid(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    dtype = "float32"
    x = draw.tensor(draw.shape(1, 4), dtype)
    if draw.chance():
        scaled = draw.node("Mul", x, _number(draw, draw.choice((0.2, 1 / 6, 0.5)), dtype))
        return draw.model(
            _clip(draw, draw.node("Add", scaled, _number(draw, draw.choice((0.5, 0.4)), dtype)), 0, 1, dtype)
        )
    b, c = draw.choice(((3.0, 6.0), (1.0, 2.0), (1.0, 3.0)))
    clipped = _clip(draw, draw.node("Add", x, _number(draw, b, dtype)), 0, c, dtype)
    return draw.model(draw.node("Mul", clipped, _number(draw, 1 / c, dtype)))


def hard_sigmoid__other_range(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    x = draw.input((3, 7))
    if draw.chance():
        low, high = draw.choice(((0.0, 0.9), (0.1, 1.0), (-1.0, 1.0)))
        line = draw.node("Add", draw.node("Mul", x, _number(draw, 0.2)), _number(draw, 0.5))
        return draw.model(_clip(draw, line, low, high))
    low, high, scale = draw.choice(((0.0, 6.0, 1 / 5), (-1.0, 6.0, 1 / 6), (1.0, 6.0, 1 / 6), (0.0, 5.0, 1 / 6)))
    clipped = _clip(draw, draw.node("Add", x, _number(draw, 3.0)), low, high)
    return draw.model(draw.node("Mul", clipped, _number(draw, scale)))


def hard_sigmoid__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    x = draw.input((3, 2))
    clipped = _clip(draw, draw.node("Add", x, draw.constant(np.array([3, 2], np.float32))), 0, 6)
    return draw.model(
        draw.node("Mul", clipped, draw.constant(np.full(draw.choice(((), (2, 1, 1))), 1 / 6, np.float32)))
    )


def hard_swish(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    dtype = "float32"
    x = draw.tensor(draw.shape(1, 4), dtype)
    if draw.chance(0.4):
        return draw.model(_swap(draw, "Mul", x, draw.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)))
    clipped = _clip(draw, draw.node("Add", x, _number(draw, 3, dtype)), 0, 6, dtype)
    sixth = _number(draw, 1 / 6, dtype)
    if draw.chance():
        return draw.model(draw.node("Mul", _swap(draw, "Mul", x, clipped), sixth))
    return draw.model(_swap(draw, "Mul", draw.node("Mul", x, sixth), clipped))


def hard_swish__other_gate(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    x = draw.input((3, 7))
    alpha, beta = draw.choice(((0.2, 0.5), (1 / 6, 0.4), (0.17, 0.5)))
    return draw.model(_swap(draw, "Mul", x, draw.node("HardSigmoid", x, alpha=alpha, beta=beta)))


def hard_swish__other_range(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    x = draw.input((3, 7))
    b, low, high, scale = draw.choice(
        ((2.0, 0.0, 6.0, 1 / 6), (3.0, 0.0, 5.0, 0.2), (3.0, -1.0, 6.0, 1 / 6), (3.0, 0.0, 6.0, 0.2))
    )
    clipped = _clip(draw, draw.node("Add", x, _number(draw, b)), low, high)
    return draw.model(draw.node("Mul", draw.node("Mul", x, clipped), _number(draw, scale)))


def _double(draw: Draw) -> Value:
    """An input of a type for which runtimes lack the kernels."""
    return draw.input((3, 7), "float64", symbols=0.0)


def hard_sigmoid__double(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    clipped = _clip(draw, draw.node("Add", _double(draw), _number(draw, 3, "float64")), 0, 6, "float64")
    return draw.model(draw.node("Mul", clipped, _number(draw, 1 / 6, "float64")))


def hard_swish__double(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    x = _double(draw)
    clipped = _clip(draw, draw.node("Add", x, _number(draw, 3, "float64")), 0, 6, "float64")
    return draw.model(draw.node("Mul", draw.node("Mul", x, clipped), _number(draw, 1 / 6, "float64")))


def hard_swish__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    gate = draw.node("HardSigmoid", draw.input((3, 7)), alpha=1 / 6, beta=0.5)
    return draw.model(_swap(draw, "Mul", draw.input((3, 7)), gate))


def softplus_written_out(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = draw.tensor(draw.shape(1, 4))
    return draw.model(draw.node("Log", _swap(draw, "Add", draw.node("Exp", x), _number(draw, 1))))


def softplus_written_out__other(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    one = draw.constant(draw.choice((np.float32(1.5), np.array([1, 1, 2], np.float32), np.ones((2, 1, 1), np.float32))))
    return draw.model(draw.node("Log", draw.node("Add", draw.node("Exp", draw.input((2, 3))), one)))


def mish(draw: Draw) -> onnx.ModelProto:
    draw.versions(18)
    x = draw.tensor(draw.shape(1, 4))
    return draw.model(_swap(draw, "Mul", x, draw.node("Tanh", draw.node("Softplus", x))))


def mish__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(18)
    gate = draw.node("Tanh", draw.node("Softplus", draw.input((2, 5))))
    return draw.model(_swap(draw, "Mul", draw.input((2, 5)), gate))


def _rectified(draw: Draw, x: Value, y: Value, slope: Value, operator: str) -> onnx.ModelProto:
    negative = _swap(draw, "Mul", slope, draw.node("Relu", draw.node("Neg", y)))
    positive = draw.node("Relu", x)
    return draw.model(
        draw.node("Sub", positive, negative) if operator == "Sub" else _swap(draw, "Add", positive, negative)
    )


def prelu_written_out(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape = draw.shape(1, 4)
    x = draw.tensor(shape)
    slope = draw.constant(draw.array(draw.broadcast_to(shape)))
    return _rectified(draw, x, x, slope, draw.choice(("Add", "Sub")))


def prelu_written_out__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _rectified(draw, draw.input((2, 3)), draw.input((2, 3)), draw.constant(draw.array((3,))), "Add")


def prelu_written_out__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input((3,), symbols=0.0)
    return _rectified(draw, x, x, draw.constant(draw.array((2, 1))), draw.choice(("Add", "Sub")))


def prelu_written_out__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input((2, 3))
    return _rectified(draw, x, x, draw.input((3,)), "Sub")
