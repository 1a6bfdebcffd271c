"""Instances of ``tcc.rewrites.scalars``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

_FLOATS = ("float32", "float32", "float64")


def _scalar(draw: Draw, dtype: str = "float32") -> Value:
    return draw.constant(draw.positive(draw.choice(((), (1,))), dtype) + 1)


def scalar_behind_product(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape, dtype = (2, *draw.shape(0, 2)), draw.choice(_FLOATS)
    x, y = draw.tensor(shape, dtype, symbols=0.0), draw.tensor(shape, dtype, symbols=0.0)
    return draw.model(draw.node("Mul", *draw.shuffled((draw.node("Mul", x, _scalar(draw, dtype)), y))))


def scalar_behind_product__of_a_vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y = draw.input((2, 3)), draw.input((2, 3))
    return draw.model(draw.node("Mul", draw.node("Mul", x, draw.constant(draw.positive((3,)) + 1)), y))


def scalar_behind_product__and_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return draw.model(draw.node("Mul", draw.node("Mul", draw.input((2, 3)), _scalar(draw)), draw.input((1,))))


def _linear(draw: Draw, operator: str, *, constant: bool = True) -> Value:
    if operator == "Conv":
        return draw.node("Conv", draw.input((1, 2, 4, 4)), draw.operand(draw.array((3, 2, 2, 2)), constant=constant))
    return draw.node(operator, draw.input((4, 3), symbols=0.0), draw.operand(draw.array((3, 3)), constant=constant))


def scalar_before_product(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    made, y = _linear(draw, draw.choice(("MatMul", "Gemm", "Conv"))), draw.input((3,), symbols=0.0)
    return draw.model(draw.node("Mul", draw.node("Mul", *draw.shuffled((made, y))), _scalar(draw)))


def scalar_before_product__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    made = draw.node("Mul", _linear(draw, "MatMul", constant=False), draw.input((3,), symbols=0.0))
    return draw.model(draw.node("Mul", made, _scalar(draw)))


def scalar_behind_view(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    rank = draw.integer(2, 4)
    shape = tuple(draw.integer(1, 4) for _ in range(rank))
    scaled = draw.node("Mul", draw.tensor(shape, symbols=0.0), _scalar(draw))
    if draw.chance():
        return draw.model(draw.node("Transpose", scaled, perm=draw.shuffled(range(rank))))
    return draw.model(draw.node("Reshape", scaled, draw.constant([shape[0], -1], "int64")))


def scalar_behind_view__of_a_vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    scaled = draw.node("Mul", draw.input((2, 3)), draw.constant(draw.positive((3,)) + 1))
    return draw.model(draw.node("Transpose", scaled, perm=[1, 0]))
