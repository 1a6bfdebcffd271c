"""Instances of those of ``tcc.rewrites.identities`` that look at a constant or at a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules.draw import Draw

if TYPE_CHECKING:
    import onnx

_NUMBERS = ("float32", "float32", "float16", "float64", "int64", "int32")
_FLOATS = ("float32", "float32", "float16", "float64")


def _with_neutral(draw: Draw, operator: str, neutral: float, dtypes: tuple[str, ...]) -> onnx.ModelProto:
    """``x operator neutral`` with a constant that does not widen x; all its sizes are fixed at times."""
    draw.versions(7)
    shape = draw.shape(0, 4)
    dtype = draw.choice(dtypes)
    x = draw.tensor(shape, dtype, symbols=draw.choice((0.0, 0.3)))
    small = draw.broadcast_to(shape)
    small = small if np.prod(small) <= 8 else ()
    return draw.model(draw.node(operator, x, draw.constant(np.full(small, neutral, dtype))))


def _widening(draw: Draw, operator: str, neutral: float) -> onnx.ModelProto:
    """``x operator neutral`` where the constant widens x."""
    draw.versions(7)
    shape = draw.shape(1, 3)
    x = draw.input(shape, draw.choice(("float32", "int64")) if draw.opset > 12 else "float32", symbols=0.0)
    return draw.model(draw.node(operator, x, draw.constant(np.full((2, *[1] * len(shape)), neutral, x.dtype))))


def _other(draw: Draw, operator: str, neutral: float) -> onnx.ModelProto:
    """``x operator c`` with a constant of which one element is not neutral, or with an input."""
    draw.versions(7)
    c = np.full(draw.integer(1, 4), neutral, np.float32)
    c[draw.integer(0, len(c) - 1)] = draw.choice((0.5, 3.0, -1.0))
    x = draw.input((draw.integer(1, 3), len(c)))
    return draw.model(draw.node(operator, x, draw.operand(c, constant=draw.chance(0.7))))


def add_zero(draw: Draw) -> onnx.ModelProto:
    return _with_neutral(draw, "Add", draw.choice((0.0, -0.0)), _NUMBERS)


def add_zero__widens(draw: Draw) -> onnx.ModelProto:
    return _widening(draw, "Add", 0.0)


def add_zero__not_zero(draw: Draw) -> onnx.ModelProto:
    return _other(draw, "Add", 0.0)


def add_zero_integer(draw: Draw) -> onnx.ModelProto:
    return _with_neutral(draw, "Add", 0, ("int64", "int32"))


def add_zero_integer__widens(draw: Draw) -> onnx.ModelProto:
    return _widening(draw, "Add", 0.0)


def add_zero_integer__float(draw: Draw) -> onnx.ModelProto:
    return _with_neutral(draw, "Add", 0.0, _FLOATS)


def subtract_zero(draw: Draw) -> onnx.ModelProto:
    return _with_neutral(draw, "Sub", 0.0, _NUMBERS)


def subtract_zero__negative(draw: Draw) -> onnx.ModelProto:
    return _with_neutral(draw, "Sub", -0.0, _FLOATS)


def subtract_zero__widens(draw: Draw) -> onnx.ModelProto:
    return _widening(draw, "Sub", 0.0)


def subtract_zero__from_zero(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    return draw.model(draw.node("Sub", draw.constant(np.float32(0)), draw.input(draw.shape())))


def multiply_by_one(draw: Draw) -> onnx.ModelProto:
    return _with_neutral(draw, "Mul", 1.0, _NUMBERS)


def multiply_by_one__widens(draw: Draw) -> onnx.ModelProto:
    return _widening(draw, "Mul", 1.0)


def multiply_by_one__not_one(draw: Draw) -> onnx.ModelProto:
    return _other(draw, "Mul", 1.0)


def divide_by_one(draw: Draw) -> onnx.ModelProto:
    return _with_neutral(draw, "Div", 1.0, _NUMBERS)


def divide_by_one__widens(draw: Draw) -> onnx.ModelProto:
    return _widening(draw, "Div", 1.0)


def divide_by_one__one_by(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    return draw.model(draw.node("Div", draw.constant(np.float32(1)), draw.input(draw.shape())))


def power_of_one(draw: Draw) -> onnx.ModelProto:
    return _with_neutral(draw, "Pow", 1.0, ("float32", "float64"))


def power_of_one__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    return draw.model(draw.node("Pow", draw.input((3,), symbols=0.0), draw.constant(np.ones((2, 1), np.float32))))


def power_of_one__of_base_one(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    return draw.model(draw.node("Pow", draw.constant(np.float32(1)), draw.input(draw.shape())))


_WHERE = ("float32", "int64", "int32")
"""Types that ONNX Runtime's Where has kernels for, from opset 9 on."""


def _where_same(draw: Draw, dtype: str) -> onnx.ModelProto:
    draw.versions(9)
    shape = draw.shape()
    c = draw.input(draw.broadcast_to(shape), "bool", symbols=0.1)
    x = draw.tensor(shape, dtype, symbols=0.1)
    return draw.model(draw.node("Where", c, x, x))


def _where_same_widened(draw: Draw, dtype: str) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input((3,), dtype, symbols=0.0)
    return draw.model(draw.node("Where", draw.input((2, draw.choice((1, 3))), "bool"), x, x))


def where_same(draw: Draw) -> onnx.ModelProto:
    return _where_same(draw, draw.choice(_WHERE))


def where_same__widens(draw: Draw) -> onnx.ModelProto:
    return _where_same_widened(draw, "float32")


def where_same__different(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y = draw.input((2, 3)), draw.input((2, 3))
    return draw.model(draw.node("Where", draw.input((3,), "bool"), x, y))


def where_same_integer(draw: Draw) -> onnx.ModelProto:
    return _where_same(draw, draw.choice(("int64", "int32")))


def where_same_integer__widens(draw: Draw) -> onnx.ModelProto:
    return _where_same_widened(draw, "int64")


def where_same_integer__float(draw: Draw) -> onnx.ModelProto:
    return _where_same(draw, "float32")


def _where_decided(draw: Draw, dtype: str) -> onnx.ModelProto:
    draw.versions(9)
    shape = draw.shape(0, 4)
    truth = draw.chance()
    full, part = draw.tensor(shape, dtype, symbols=0.1), draw.input(draw.broadcast_to(shape), dtype, symbols=0.1)
    small = draw.broadcast_to(shape)
    c = draw.constant(np.full(small if np.prod(small) < 60 else (), truth))
    return draw.model(draw.node("Where", c, *((full, part) if truth else (part, full))))


def _where_widened(draw: Draw, dtype: str) -> onnx.ModelProto:
    draw.versions(9)
    c = draw.constant(np.full((1,), draw.chance()))
    small, large = draw.input((draw.choice((1, 3)),), dtype, symbols=0.0), draw.input((2, 3), dtype, symbols=0.0)
    return draw.model(draw.node("Where", c, *draw.shuffled((small, large))))


def where_decided(draw: Draw) -> onnx.ModelProto:
    return _where_decided(draw, draw.choice(_WHERE))


def where_decided__widens(draw: Draw) -> onnx.ModelProto:
    return _where_widened(draw, "float32")


def where_decided__mixed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    c = draw.constant(np.array(draw.shuffled([True, False, draw.chance()])))
    return draw.model(draw.node("Where", c, draw.input((2, 3)), draw.input((2, 3))))


def where_decided_integer(draw: Draw) -> onnx.ModelProto:
    return _where_decided(draw, draw.choice(("int64", "int32")))


def where_decided_integer__widens(draw: Draw) -> onnx.ModelProto:
    return _where_widened(draw, "int64")


def where_decided_integer__float(draw: Draw) -> onnx.ModelProto:
    return _where_decided(draw, "float32")
