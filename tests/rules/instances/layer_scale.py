"""Instances of ``tcc.rewrites.layer_scale``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx


def _scaled(draw: Draw, rank: int, bias: Sequence[int], scale: Sequence[int], *, fed: bool = False) -> onnx.ModelProto:
    x = draw.tensor((*(draw.integer(2, 3) for _ in range(rank - 1)), 4))
    product = draw.node("MatMul", x, draw.constant(draw.array((4, 5))))
    total = draw.node("Add", product, draw.operand(draw.array(bias), constant=not fed))
    factor: Value = draw.constant(draw.positive(scale))
    return draw.model(draw.node("Mul", total, factor))


def scale_of_linear_layer(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    rank = draw.integer(2, 4)
    ones = (1,) * (rank - 1)
    bias = draw.choice(((5,), (1, 5), (*ones, 5), (1,), ()))
    return _scaled(draw, rank, bias, draw.choice(((5,), (1, 5), (*ones, 5), (1,), ones)))


def scale_of_linear_layer__along_rows(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    x = draw.input((3, 5, 4), symbols=0.0)
    total = draw.node("Add", draw.node("MatMul", x, draw.constant(draw.array((4, 5)))), draw.constant(draw.array((5,))))
    return draw.model(draw.node("Mul", total, draw.constant(draw.positive(draw.choice(((5, 1), (3, 1, 1)))))))


def scale_of_linear_layer__bias_along_rows(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    x = draw.input((3, 5, 4), symbols=0.0)
    bias = draw.constant(draw.array(draw.choice(((5, 1), (5, 5)))))
    total = draw.node("Add", draw.node("MatMul", x, draw.constant(draw.array((4, 5)))), bias)
    return draw.model(draw.node("Mul", total, draw.constant(draw.positive((5,)))))


def scale_of_linear_layer__wider(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    return _scaled(draw, 2, (5,), (1, 1, 5))


def scale_of_linear_layer__stack(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    product = draw.node("MatMul", draw.input((2, 3, 4), symbols=0.0), draw.constant(draw.array((2, 4, 5))))
    total = draw.node("Add", product, draw.constant(draw.array((5,))))
    return draw.model(draw.node("Mul", total, draw.constant(draw.positive((5,)))))
