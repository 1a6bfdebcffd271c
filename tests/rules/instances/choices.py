"""Instances of ``tcc.rewrites.choices``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

UNCONDITIONAL = frozenset({"where_not"})


def _operands(draw: Draw, shape: Sequence[int], count: int) -> list[Value]:
    dtype = draw.choice(("float32", "int64"))
    return [draw.input(draw.broadcast_to(shape), dtype, symbols=0.0) for _ in range(count)]


def where_not(draw: Draw) -> onnx.ModelProto:
    draw.versions(16)
    shape = draw.shape(1, 3)
    c = draw.node("Not", draw.input(shape, "bool"))
    return draw.model(draw.node("Where", c, *_operands(draw, shape, 2)))


def _nested(draw: Draw, c: Value, x: Value, y: Value, z: Value) -> Value:
    """What is chosen by a condition, in one branch by the same again."""
    inner = (c, y, z) if draw.chance() else (draw.node("Not", c), z, y)
    if draw.chance():
        return draw.node("Where", c, x, draw.node("Where", *inner))
    return draw.node("Where", c, draw.node("Where", *inner), x)


def where_decided_before(draw: Draw) -> onnx.ModelProto:
    draw.versions(16)
    shape = draw.shape(1, 3)
    return draw.model(_nested(draw, draw.input(shape, "bool", symbols=0.0), *_operands(draw, shape, 3)))


def where_decided_before__narrower(draw: Draw) -> onnx.ModelProto:
    """What is not chosen makes the result as wide as it is."""
    draw.versions(16)
    c = draw.input((1, 3), "bool", symbols=0.0)
    x, y, z = (draw.input(shape, symbols=0.0) for shape in ((1, 3), (2, 3), (2, 3)))
    y, z = draw.choice(((y, draw.input((3,), symbols=0.0)), (draw.input((1,), symbols=0.0), z)))
    return draw.model(_nested(draw, c, x, y, z))


def where_decided_before__by_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(16)
    c, d = (draw.input((4, 3), "bool", symbols=0.0) for _ in range(2))
    x, y, z = (draw.input((4, 3), symbols=0.0) for _ in range(3))
    return draw.model(draw.node("Where", c, x, draw.node("Where", d, y, z)))
