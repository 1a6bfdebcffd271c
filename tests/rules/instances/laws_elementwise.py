"""Instances of ``tcc.rewrites.laws.elementwise`` and ``tcc.rewrites.laws.matrices``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

UNCONDITIONAL = frozenset({"commute", "associate"})
_FLOATS = ("float32", "float32", "float64")


def _tensors(draw: Draw, count: int, dtype: str) -> list[Value]:
    """Tensors that broadcast to one shape."""
    shape = draw.shape()
    return [draw.tensor(draw.broadcast_to(shape), dtype, symbols=0.1) for _ in range(count)]


def commute(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y = _tensors(draw, 2, draw.choice(_FLOATS))
    return draw.model(draw.node(draw.choice(("Add", "Mul")), x, y))


def associate(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    operator = draw.choice(("Add", "Mul"))
    x, y, z = _tensors(draw, 3, draw.choice(_FLOATS))
    inner = draw.node(operator, x, y)
    return draw.model(draw.node(operator, *draw.shuffled((inner, z))))


def distribute(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    dtype, shape = draw.choice(_FLOATS), draw.shape()
    x, y, z = (draw.tensor(s, dtype, symbols=0.1) for s in (draw.broadcast_to(shape), shape, shape))
    if draw.chance():
        return draw.model(draw.node("Mul", x, draw.node("Add", y, z)))
    return draw.model(draw.node("Add", draw.node("Mul", x, y), draw.node("Mul", x, z)))


def distribute__over_product(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y, z = (draw.tensor((2, 3)) for _ in range(3))
    return draw.model(draw.node("Add", x, draw.node("Mul", y, z)))


def associate_matmul(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    dtype, n = draw.choice(_FLOATS), [draw.integer(1, 3) for _ in range(4)]
    x, y, z = (draw.tensor((*draw.choice(((), (), (2,))), n[i], n[i + 1]), dtype) for i in range(3))
    if draw.chance():
        return draw.model(draw.node("MatMul", draw.node("MatMul", x, y), z))
    return draw.model(draw.node("MatMul", x, draw.node("MatMul", y, z)))


def associate_matmul__vectors(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y, z = draw.tensor((2, 3), symbols=0.0), draw.tensor((3,), symbols=0.0), draw.tensor((2, 2), symbols=0.0)
    return draw.model(draw.node("MatMul", draw.node("MatMul", x, y), z))


def distribute_matmul(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    dtype, a, b = draw.choice(_FLOATS), (2, 3), (3, draw.integer(1, 3))
    left = draw.chance()
    x, y, z = (draw.tensor(s, dtype, symbols=0.05) for s in ((a, b, b) if left else (b, a, a)))
    if draw.chance():
        total = draw.node("Add", y, z)
        return draw.model(draw.node("MatMul", *((x, total) if left else (total, x))))
    products = (draw.node("MatMul", *((x, t) if left else (t, x))) for t in (y, z))
    return draw.model(draw.node("Add", *products))


def distribute_matmul__broadcast(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    total = draw.node("Add", draw.tensor((3, 2), symbols=0.0), draw.tensor((1, 2), symbols=0.0))
    return draw.model(draw.node("MatMul", draw.tensor((2, 3), symbols=0.0), total))


def scale_matmul(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    dtype = draw.choice(_FLOATS)
    x, y, c = draw.tensor((2, 3), dtype), draw.tensor((3, 2), dtype), draw.input((), dtype)
    form = draw.integer(0, 2)
    if form == 0:
        return draw.model(draw.node("Mul", draw.node("MatMul", x, y), c))
    return draw.model(draw.node("MatMul", *((draw.node("Mul", x, c), y) if form == 1 else (x, draw.node("Mul", y, c)))))


def scale_matmul__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.tensor((3, 3)), draw.tensor((3, 3)))
    return draw.model(draw.node("Mul", product, draw.input(draw.choice(((3,), (3, 1), (1, 3))))))


def _turned(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]


def transpose_matmul(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    batch, dtype = draw.choice(((), (), (2,), (1, 3))), draw.choice(_FLOATS)
    x, y = draw.tensor((*batch, 2, 3), dtype), draw.tensor((*batch, 3, 4), dtype)
    perm = _turned(2 + len(batch))
    if draw.chance():
        return draw.model(
            draw.node("Transpose", draw.node("MatMul", x, y), perm=perm if batch or draw.chance() else None)
        )
    turned = [draw.node("Transpose", t, perm=perm) for t in (x, y)]
    return draw.model(draw.node("MatMul", turned[1], turned[0]))


def transpose_matmul__other_axes(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.tensor((3, 3, 3)), draw.tensor((3, 3, 3)))
    return draw.model(draw.node("Transpose", product, perm=draw.choice(([1, 0, 2], [2, 1, 0], [1, 2, 0]))))


def transpose_matmul__of_ranks(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.tensor((2, 2, 3), symbols=0.0), draw.tensor((3, 4), symbols=0.0))
    return draw.model(draw.node("Transpose", product, perm=[0, 2, 1]))


def transpose_elementwise(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape, dtype = draw.shape(1, 4), draw.choice(_FLOATS)
    perm = draw.shuffled(range(len(shape)))
    x, y, c = draw.tensor(shape, dtype), draw.tensor(shape, dtype), draw.input((), dtype)
    form, operator = draw.integer(0, 2), draw.choice(("Add", "Mul"))
    if form == 0:
        inner = draw.choice((draw.node(operator, x, y), draw.node("Mul", x, c)))
        return draw.model(draw.node("Transpose", inner, perm=perm))
    turned = [draw.node("Transpose", t, perm=perm) for t in (x, y)]
    if form == 1:
        return draw.model(draw.node(operator, *turned))
    return draw.model(draw.node("Mul", turned[0], c))


def transpose_elementwise__broadcast(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y = draw.tensor((3, 3)), draw.tensor(draw.choice(((3,), (1, 3), (3, 1))))
    if draw.chance():
        return draw.model(draw.node("Transpose", draw.node("Add", x, y)))
    return draw.model(draw.node("Add", *(draw.node("Transpose", t) for t in (x, y))))


def transpose_elementwise__other_order(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    turned = [draw.node("Transpose", draw.tensor((3, 3, 3)), perm=p) for p in ([1, 0, 2], [0, 2, 1])]
    return draw.model(draw.node("Add", *turned))
