"""Instances of ``tcc.rewrites.movement``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from tests.rules import operators as op
from tests.rules.draw import Draw, Value
from tests.rules.instances.products import _one_way

UNCONDITIONAL = frozenset({"transpose_through_elementwise"})
_TYPES = ("float32", "float32", "float64", "int64")


def _factored(draw: Draw, count: int) -> list[int]:
    """A random shape with that many elements."""
    sizes: list[int] = []
    while count > 1 and draw.chance(0.7):
        size = draw.choice([d for d in range(2, count + 1) if count % d == 0])
        sizes.append(size)
        count //= size
    return draw.shuffled([*sizes, count] if count > 1 or draw.chance(0.3) else sizes)


def _viewed(draw: Draw, x: Value, shape: tuple[int, ...]) -> tuple[Value, tuple[int, ...]]:
    """A random view of x, and its shape."""
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    kinds = ["Reshape", "Unsqueeze", "Flatten", *(["Squeeze", "Transpose"] if ones else [])]
    kind = draw.choice(kinds)
    if kind == "Reshape":
        new = _factored(draw, math.prod(shape))
        written = list(new)
        if new and draw.chance(0.3):
            written[draw.integer(0, len(new) - 1)] = -1
        return op.reshape(draw, x, written), tuple(new)
    if kind == "Flatten":
        axis = draw.integer(0, len(shape))
        return draw.node("Flatten", x, axis=axis), (math.prod(shape[:axis]), math.prod(shape[axis:]))
    if kind == "Unsqueeze":
        axis = draw.integer(0, len(shape))
        return op.unsqueeze(draw, x, [axis]), (*shape[:axis], 1, *shape[axis:])
    if kind == "Squeeze":
        dropped = draw.subset(ones, 1)
        every = dropped == ones and draw.chance()
        return op.squeeze(draw, x, None if every else dropped), tuple(
            size for axis, size in enumerate(shape) if axis not in dropped
        )
    order = [axis for axis in range(len(shape)) if axis not in ones]
    for axis in ones:
        order.insert(draw.integer(0, len(order)), axis)
    return draw.node("Transpose", x, perm=order), tuple(shape[axis] for axis in order)


def _chain(draw: Draw, steps: int, *, back: bool, symbols: float) -> onnx.ModelProto:
    draw.versions(9)
    shape = draw.shape(1, 4)
    x = draw.tensor(shape, draw.choice(_TYPES) if draw.opset > 12 else "float32", symbols=symbols)
    y, now = x, shape
    for _ in range(steps):
        y, now = _viewed(draw, y, now)
    if back:
        y, now = op.reshape(draw, y, shape), shape
    # Inference loses even the rank where sizes without a name may be 1.
    return draw.model(draw.declare(y, [None] * len(now), x.dtype))


def view_of_own_shape(draw: Draw) -> onnx.ModelProto:
    return _chain(draw, draw.integer(0, 2), back=True, symbols=draw.choice((0.0, 0.0, 0.2)))


def view_of_own_shape__transposed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input(draw.choice(((3, 3), (2, 2, 2), (2, 3, 2))), symbols=0.0)
    rank = len(x.shape)
    order = list(reversed(range(rank)))
    return draw.model(op.reshape(draw, draw.node("Transpose", x, perm=order), x.shape))


def view_of_own_shape__unknown(draw: Draw) -> onnx.ModelProto:
    """Views whose sizes have no name, or names that are different sizes of one kind."""
    draw.versions(9)
    x = draw.input_of(draw.array((2, 3)), names=["n", "m"])
    return draw.model(op.reshape(draw, x, draw.choice(([3, -1], [-1, 2], [3, 2]))))


def view_is_reshape(draw: Draw) -> onnx.ModelProto:
    return _chain(draw, draw.integer(1, 3), back=False, symbols=draw.choice((0.0, 0.2)))


def view_is_reshape__transposed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape = draw.choice(((2, 3), (3, 3), (2, 1, 3), (4, 2)))
    y = draw.node("Transpose", draw.input(shape, symbols=0.3))
    return draw.model(draw.node("Flatten", y, axis=draw.integer(0, 1)))


def view_is_reshape__two_symbols(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input_of(draw.array((2, 3, 4)), names=["n", "m", 4])
    if draw.chance():
        return draw.model(op.unsqueeze(draw, x, [draw.integer(0, 3)]))
    return draw.model(op.reshape(draw, x, draw.choice(([0, -1, 2, 2], [-1, 0, 2, 2], [0, 0, -1], [2, 3, -1]))))


def view_is_reshape__empty(draw: Draw) -> onnx.ModelProto:
    """A symbolic size that is 0 when the model runs."""
    draw.versions(13)
    x = draw.input_of(draw.array((0, 2, 3)), names=["n", 2, 3])
    flat = draw.choice(([-1], [-1, 6], [0, 6], [-1, 3], [0, 3, 2]))
    y = op.reshape(draw, x, flat)
    return draw.model(op.unsqueeze(draw, y, [draw.integer(0, 1)]) if draw.chance() else draw.node("Flatten", y, axis=0))


def shape_of_static(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape = draw.shape()
    x = draw.tensor(shape, draw.choice(_TYPES), symbols=0.0)
    if draw.opset < 15:
        return draw.model(draw.node("Shape", x))
    ends = (None, *range(-len(shape) - 1, len(shape) + 2))
    return draw.model(draw.node("Shape", x, start=draw.choice(ends), end=draw.choice(ends)))


def shape_of_static__symbolic(draw: Draw) -> onnx.ModelProto:
    draw.versions(15)
    x = draw.input_of(draw.array((2, 3, 4)), names=["n", "m", 4] if draw.chance() else [2, "m", 4])
    return draw.model(draw.node("Shape", x, start=draw.choice((None, 1, 2, -1)), end=draw.choice((None, 2, -1))))


def size_of_static(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return draw.model(draw.node("Size", draw.tensor(draw.shape(), draw.choice(_TYPES), symbols=0.0)))


def size_of_static__symbolic(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return draw.model(draw.node("Size", draw.input_of(draw.array((2, 3)), names=["n", 3])))


def expand_to_static(draw: Draw) -> onnx.ModelProto:
    """Expand to a shape that is fed, in a model that states the result's type."""
    draw.versions(9)
    shape = draw.shape(1, 4)
    x = draw.tensor(draw.broadcast_to(shape), symbols=0.0)
    asked = draw.input_of(np.array(draw.broadcast_to(shape) if x.shape == shape else shape, np.int64), symbols=0.0)
    # What is declared of an output is the signature, and not believed.
    return draw.model(draw.node("Elu", draw.declare(draw.node("Expand", x, asked), shape)))


def expand_to_static__symbolic(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input((3,), symbols=0.0)
    like = draw.input_of(draw.array((2, 3)), names=["n", 3])
    return draw.model(draw.node("Expand", x, draw.node("Shape", like)))


def expand_to_static__two_way(draw: Draw) -> onnx.ModelProto:
    """The shape asked for is smaller than the result's."""
    draw.versions(9)
    x = draw.input((2, 3), symbols=0.0)
    like = draw.input(draw.choice(((1, 3), (3,), (1,), (4, 1, 1))), symbols=0.0)
    return draw.model(draw.node("Expand", x, draw.node("Shape", like)))


def tile_is_expand(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    sizes = [(1, draw.integer(1, 3)) if draw.chance() else (draw.integer(1, 3), 1) for _ in range(draw.integer(1, 4))]
    x = draw.tensor(tuple(size for size, _ in sizes), symbols=0.0)
    return draw.model(draw.node("Tile", x, draw.constant(np.array([count for _, count in sizes], np.int64))))


def tile_is_expand__of_more(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.tensor((draw.integer(2, 3), 1), symbols=0.0)
    return draw.model(draw.node("Tile", x, draw.constant(np.array([draw.integer(2, 3), draw.integer(1, 2)], np.int64))))


def _order(draw: Draw, rank: int) -> list[int] | None:
    return None if draw.chance(0.2) else draw.shuffled(range(rank))


def transpose_of_transpose(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape = draw.shape(1, 5)
    x = draw.tensor(shape, draw.choice(_TYPES))
    y = draw.node("Transpose", x, perm=_order(draw, len(shape)))
    return draw.model(draw.node("Transpose", y, perm=_order(draw, len(shape))))


def transpose_of_transpose__apart(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input((2, 3, 2))
    y = op.reshape(draw, draw.node("Transpose", x, perm=_order(draw, 3)), draw.choice(([2, 2, 3], [3, 2, 2])))
    return draw.model(draw.node("Transpose", y, perm=_order(draw, 3)))


def transpose_nothing(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape = draw.shape(1, 5)
    x = draw.tensor(shape, draw.choice(_TYPES))
    perm = None if len(shape) == 1 and draw.chance() else list(range(len(shape)))
    return draw.model(draw.node("Transpose", x, perm=perm))


def transpose_nothing__moves(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape = draw.choice(((2, 2), (3, 3, 3), (1, 3), (2, 1, 2)))
    return draw.model(
        draw.node("Transpose", draw.input(shape), perm=draw.choice((None, draw.shuffled(range(len(shape))))))
    )


def transpose_through_elementwise(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape = draw.shape(1, 4)
    operator = draw.choice(("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Sqrt", "Neg", "Abs", "LeakyRelu", "Cast"))
    y = draw.node("Transpose", draw.tensor(shape), perm=_order(draw, len(shape)))
    options: dict[str, dict[str, Any]] = {
        "Cast": {"to": onnx.TensorProto.DOUBLE},
        "LeakyRelu": {"alpha": draw.choice((None, 0.3))},
    }
    return draw.model(draw.node(operator, y, **options.get(operator, {})))


def gemm_of_transpose(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    rows, inner, columns = draw.choice((1, 2, 3)), draw.integer(1, 4), draw.choice((2, 3))
    flags, operands = [], []
    turned = draw.choice(((True, False), (False, True), (True, True)))
    for turn, shape in zip(turned, ((rows, inner), (inner, columns)), strict=True):
        flag = draw.choice((None, 0, 1))
        stored = shape[::-1] if bool(flag) != turn else shape
        value = draw.operand(draw.array(stored), constant=draw.chance(0.3))
        operands.append(draw.node("Transpose", value, perm=draw.choice((None, [1, 0]))) if turn else value)
        flags.append(flag)
    c = draw.constant(draw.array(_one_way(draw, rows, columns))) if draw.chance() else None
    alpha, beta = draw.choice((None, 0.5)), draw.choice((None, 0.5))
    return draw.model(draw.node("Gemm", *operands, c, transA=flags[0], transB=flags[1], alpha=alpha, beta=beta))


def gemm_of_transpose__nothing(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.node("Transpose", draw.input((3, 3)), perm=[0, 1])
    operands = draw.shuffled((x, draw.input((3, 3))))
    return draw.model(draw.node("Gemm", *operands, None, transA=draw.integer(0, 1), transB=draw.integer(0, 1)))


def _reduced(
    draw: Draw,
    operator: str,
    axes: list[int],
    target: list[int],
    *,
    keepdims: int | None = None,
    shape: tuple[int, ...] = (2, 3, 2),
) -> onnx.ModelProto:
    x = draw.input(shape, symbols=draw.choice((0.0, 0.2)))
    y = op.reduce(draw, operator, x, axes, keepdims)
    return draw.model(op.reshape(draw, y, target))


def reduce_without_dimensions(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape = draw.shape(2, 4)
    axes = draw.subset(range(len(shape)), 1)
    left = [size for axis, size in enumerate(shape) if axis not in axes]
    # Squeeze and Reshape drop what was kept; a negative axis is another notation.
    written = [axis - len(shape) if draw.chance(0.3) and draw.opset > 10 else axis for axis in axes]
    x = draw.tensor(shape, symbols=draw.choice((0.0, 0.1)))
    y = op.reduce(draw, draw.choice(("ReduceMean", "ReduceSum")), x, written, draw.choice((None, 1)))
    squeezed = draw.chance() or not left
    return draw.model(op.squeeze(draw, y, axes) if squeezed else op.reshape(draw, y, left))


def reduce_without_dimensions__other_view(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    operator = draw.choice(("ReduceMean", "ReduceSum"))
    return _reduced(draw, operator, [1], draw.choice(([4], [1, 4], [4, 1], [2, 2, 1], [1, 2, 2])))


def reduce_without_dimensions__not_kept(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    operator = draw.choice(("ReduceMean", "ReduceSum"))
    return _reduced(draw, operator, [1], draw.choice(([2, 2], [4], [2, 1, 2])), keepdims=0)


def reduce_without_dimensions__all(draw: Draw) -> onnx.ModelProto:
    """Without axes all of them are reduced, or none with noop_with_empty_axes."""
    draw.versions(13)
    options = {"keepdims": 1, "noop_with_empty_axes": draw.integer(0, 1)}
    operator = "ReduceSum" if draw.opset < 18 else draw.choice(("ReduceMean", "ReduceSum"))
    axes = draw.constant(np.array([], np.int64)) if draw.chance() else None
    y = draw.node(operator, draw.input((1, 3), symbols=0.0), axes, **options)
    return draw.model(op.reshape(draw, y, [-1]))


def reduce_without_dimensions__swapped(draw: Draw) -> onnx.ModelProto:
    """The view gives the type that reducing another axis of the same size gives."""
    draw.versions(9)
    return _reduced(draw, "ReduceMean", [draw.choice((0, 1))], [3, 2], shape=(3, 3, 2))
