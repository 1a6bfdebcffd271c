"""Instances of ``tcc.rewrites.laws.concatenations``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

UNCONDITIONAL = frozenset({"join_of_relu"})
_FLOATS = ("float32", "float32", "float64")


def _joined(draw: Draw, axis: int, *values: Value) -> Value:
    return draw.node("Concat", *values, axis=axis)


def _two(draw: Draw, axis: int, shape: Sequence[int], dtype: str = "float32", each: int = 1) -> list[list[Value]]:
    """Two tuples of tensors of one type each; the types differ on one axis."""
    shapes = [tuple(draw.integer(1, 3) if i == axis else n for i, n in enumerate(shape)) for _ in range(2)]
    return [[draw.tensor(s, dtype, symbols=0.0) for _ in range(each)] for s in shapes]


def join_of_relu(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    axis = draw.integer(0, 1)
    (x,), (y,) = _two(draw, axis, (2, 3))
    if draw.chance():
        return draw.model(draw.node("Relu", _joined(draw, axis, x, y)))
    return draw.model(_joined(draw, axis, draw.node("Relu", x), draw.node("Relu", y)))


def join_of_elementwise(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    axis, operator, dtype = draw.integer(0, 1), draw.choice(("Add", "Mul")), draw.choice(_FLOATS)
    (x, y), (z, u) = _two(draw, axis, (2, 3), dtype, each=2)
    if draw.chance():
        return draw.model(
            _joined(draw, axis - draw.choice((0, 2)), draw.node(operator, x, y), draw.node(operator, z, u))
        )
    return draw.model(draw.node(operator, _joined(draw, axis, x, z), _joined(draw, axis, y, u)))


def join_of_elementwise__broadcast(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shapes = draw.choice((((2, 3), (1, 3), (2, 3), (2, 3)), ((2, 3), (2, 3), (2, 3), (3,)), ((1, 3), (2, 3)) * 2))
    x, y, z, u = (draw.tensor(s, symbols=0.0) for s in shapes)
    return draw.model(_joined(draw, 0, draw.node("Add", x, y), draw.node("Add", z, u)))


def join_of_elementwise__cut_elsewhere(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y, z, u = (draw.tensor((n, 2), symbols=0.0) for n in (1, 2, 3, 2))
    return draw.model(draw.node("Mul", _joined(draw, 0, x, z), _joined(draw, 0, y, u)))


def join_of_scaled(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    axis, dtype = draw.integer(0, 1), draw.choice(_FLOATS)
    (x,), (y,) = _two(draw, axis, (2, 3), dtype)
    c = draw.input((), dtype)
    if draw.chance():
        return draw.model(draw.node("Mul", _joined(draw, axis, x, y), c))
    return draw.model(_joined(draw, axis, draw.node("Mul", x, c), draw.node("Mul", y, c)))


def join_of_scaled__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y = (draw.tensor((2, 2), symbols=0.0) for _ in range(2))
    c = draw.input(draw.choice(((2,), (2, 1))), symbols=0.0)
    return draw.model(_joined(draw, draw.integer(0, 1), draw.node("Mul", x, c), draw.node("Mul", y, c)))


def join_of_transposed(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    rank = draw.integer(2, 4)
    axis, perm = draw.integer(0, rank - 1), draw.shuffled(range(rank))
    if draw.chance():
        (x,), (y,) = _two(draw, axis, (2, 3, 1, 2)[:rank])
        return draw.model(draw.node("Transpose", _joined(draw, axis - draw.choice((0, rank)), x, y), perm=perm))
    (x,), (y,) = _two(draw, perm[axis], (2, 3, 1, 2)[:rank])
    return draw.model(_joined(draw, axis, draw.node("Transpose", x, perm=perm), draw.node("Transpose", y, perm=perm)))


def join_of_transposed__other_order(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    turned = [draw.node("Transpose", draw.tensor((2, 2, 2)), perm=p) for p in ([1, 0, 2], [2, 0, 1])]
    return draw.model(_joined(draw, draw.integer(0, 2), *turned))


def join_of_joins(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    rows, columns = [[draw.integer(1, 3) for _ in range(2)] for _ in range(2)]
    made = [[draw.tensor((r, c), symbols=0.0) for c in columns] for r in rows]
    if draw.chance():
        return draw.model(_joined(draw, 0, *(_joined(draw, 1, *line) for line in made)))
    return draw.model(_joined(draw, 1, *(_joined(draw, 0, made[0][i], made[1][i]) for i in range(2))))


def join_of_joins__shifted(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    first = [draw.tensor((2, n), symbols=0.0) for n in (1, 3)]
    second = [draw.tensor((2, n), symbols=0.0) for n in (2, 2)]
    return draw.model(_joined(draw, 0, _joined(draw, 1, *first), _joined(draw, draw.choice((-1, 1)), *second)))


def join_of_joins__one_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    lines = [_joined(draw, 0, *(draw.tensor((2, 2), symbols=0.0) for _ in range(2))) for _ in range(2)]
    return draw.model(_joined(draw, 0, *lines))


def matmul_by_parts(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    form, dtype = draw.integer(0, 3), draw.choice(_FLOATS)
    if form < 2:
        axis = form
        (x,), (y,) = _two(draw, axis, (2, 3) if axis == 0 else (3, 2), dtype)
        z = draw.tensor((3, 2) if axis == 0 else (2, 3), dtype, symbols=0.0)
        if draw.chance():
            whole = _joined(draw, axis, x, y)
            return draw.model(draw.node("MatMul", *((whole, z) if axis == 0 else (z, whole))))
        parts = (draw.node("MatMul", *((t, z) if axis == 0 else (z, t))) for t in (x, y))
        return draw.model(_joined(draw, axis, *parts))
    n, m = draw.integer(1, 3), draw.integer(1, 3)
    x, y, z, u = (draw.tensor(s, dtype, symbols=0.0) for s in ((2, n), (2, m), (n, 3), (m, 3)))
    if form == 2:
        return draw.model(draw.node("MatMul", _joined(draw, 1, x, y), _joined(draw, 0, z, u)))
    return draw.model(draw.node("Add", draw.node("MatMul", x, z), draw.node("MatMul", y, u)))


def matmul_by_parts__broadcast(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y, z, u = (draw.tensor(s, symbols=0.0) for s in ((2, 3), (1, 2), (3, 2), (2, 2)))
    return draw.model(draw.node("Add", draw.node("MatMul", x, z), draw.node("MatMul", y, u)))


def matmul_by_parts__other_parts(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y, z, u = (draw.tensor(s, symbols=0.0) for s in ((2, 1), (2, 3), (2, 2), (2, 2)))
    return draw.model(draw.node("MatMul", _joined(draw, 1, x, y), _joined(draw, 0, z, u)))


def _convolution(draw: Draw, x: Value, w: Value, groups: int = 1, **options: Any) -> Value:
    return draw.node("Conv", x, w, group=groups if groups > 1 else None, **options)


def convolution_by_parts(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    form, whole = draw.integer(0, 2), draw.chance()
    options: dict[str, Any] = {"pads": [1, 0, 1, 0]} if draw.chance() else {"strides": [2, 1]}
    if form == 0:
        groups = draw.integer(1, 2)
        (x,), (y,) = _two(draw, 0, (2, 2 * groups, 4, 3))
        w = draw.tensor((2 * groups, 2, 3, 2), symbols=0.0)
        if whole:
            return draw.model(_convolution(draw, _joined(draw, 0, x, y), w, groups, **options))
        return draw.model(_joined(draw, 0, *(_convolution(draw, t, w, groups, **options) for t in (x, y))))
    if form == 1:
        z, ((v,), (w,)) = draw.tensor((1, 2, 4, 3), symbols=0.0), _two(draw, 0, (2, 2, 3, 2))
        if whole:
            return draw.model(_convolution(draw, z, _joined(draw, 0, v, w), **options))
        return draw.model(_joined(draw, 1, *(_convolution(draw, z, t, **options) for t in (v, w))))
    n, m = draw.integer(1, 2), draw.integer(1, 2)
    x, y, v, w = (draw.tensor(s, symbols=0.0) for s in ((2, n, 4, 3), (2, m, 4, 3), (2, n, 3, 2), (2, m, 3, 2)))
    return draw.model(_convolution(draw, _joined(draw, 1, x, y), _joined(draw, 1, v, w), **options))


def convolution_by_parts__groups(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    z = draw.tensor((1, 4, 3, 3), symbols=0.0)
    if draw.chance():
        weights = [draw.tensor((2, 2, 2, 2), symbols=0.0) for _ in range(2)]
        if draw.chance():
            return draw.model(_convolution(draw, z, _joined(draw, 0, *weights), 2))
        return draw.model(_joined(draw, 1, *(_convolution(draw, z, w, 2) for w in weights)))
    halves = [draw.tensor((1, 2, 3, 3), symbols=0.0) for _ in range(2)]
    weights = [draw.tensor((2, 1, 2, 2), symbols=0.0) for _ in range(2)]
    return draw.model(_convolution(draw, _joined(draw, 1, *halves), _joined(draw, 1, *weights), 2))


def convolution_by_parts__other_parts(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y, v, w = (draw.tensor((1, n, 3, 3), symbols=0.0) for n in (1, 3, 2, 2))
    return draw.model(_convolution(draw, _joined(draw, 1, x, y), _joined(draw, 1, v, w)))


def convolution_by_parts__places(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    w = draw.tensor((2, 2, 2, 2), symbols=0.0)
    parts = [draw.tensor((1, 2, 3, 3), symbols=0.0) for _ in range(2)]
    return draw.model(_convolution(draw, _joined(draw, draw.integer(2, 3), *parts), w))


def _pool(draw: Draw, operator: str, x: Value, *, plain: bool) -> Value:
    options: dict[str, Any] = {} if plain else {"pads": [1, 0, 1, 0], "strides": [2, 1]}
    if operator == "AveragePool" and not plain:
        options["count_include_pad"] = 1
    return draw.node(operator, x, kernel_shape=[2, 2], **options)


def pool_by_parts(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    axis, operator, plain = draw.integer(0, 1), draw.choice(("AveragePool", "MaxPool")), draw.chance()
    (x,), (y,) = _two(draw, axis, (2, 2, 4, 3))
    if draw.chance():
        return draw.model(_pool(draw, operator, _joined(draw, axis - draw.choice((0, 4)), x, y), plain=plain))
    return draw.model(_joined(draw, axis, *(_pool(draw, operator, t, plain=plain) for t in (x, y))))


def pool_by_parts__places(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    x, y = (draw.tensor((1, 2, 3, 3), symbols=0.0) for _ in range(2))
    joined = _joined(draw, draw.integer(2, 3), x, y)
    return draw.model(_pool(draw, draw.choice(("AveragePool", "MaxPool")), joined, plain=draw.chance()))
