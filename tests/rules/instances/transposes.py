"""Instances of ``tcc.rewrites.transposes``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

_ARITHMETIC = ("Add", "Sub", "Mul", "Div")


def _moved(draw: Draw, low: int = 2, high: int = 4, *, dtype: str = "float32", symbols: float = 0.0,
           last: bool = False) -> tuple[Value, list[int], tuple[int, ...]]:  # fmt: skip
    """A transposition of an input, its permutation and its shape."""
    rank = draw.integer(low, high)
    cube = draw.integer(2, 4) if draw.chance(0.3) else 0
    shape = tuple(cube or draw.integer(2, 4) for _ in range(rank))
    # What moves no element is a view, and left to other rules.
    order = draw.shuffled(range(rank - last))
    if order == sorted(order):
        order = order[1:] + order[:1]
    order += [rank - 1] * last
    x = draw.input(shape, dtype, symbols=symbols)
    return draw.node("Transpose", x, perm=order), order, tuple(shape[axis] for axis in order)


def _undone(draw: Draw, y: Value, order: Sequence[int]) -> onnx.ModelProto:
    """What undoes a transposition, at times with something in between."""
    if draw.chance(0.2):
        y = draw.node("Abs", y)
    return draw.model(draw.node("Transpose", y, perm=[list(order).index(axis) for axis in range(len(order))]))


def _fit(draw: Draw, shape: Sequence[int]) -> Value:
    """A constant that does not widen a shape, of as many dimensions or fewer."""
    return draw.constant(draw.positive(draw.broadcast_to(shape)))


def transpose_past_operand(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x, order, shape = _moved(draw)
    y = _fit(draw, shape)
    if draw.chance(0.3):
        # Sizes of 1 around one other move by a view.
        wide = len(shape) - 1
        y = draw.input([size if axis == wide else 1 for axis, size in enumerate(shape)], symbols=0.3)
    return _undone(draw, draw.node(draw.choice(_ARITHMETIC), *draw.shuffled((x, y))), order)


def transpose_past_operand__wider(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x, order, shape = _moved(draw, 2, 3)
    y = draw.constant(draw.array((2, *shape) if draw.chance() else (2, *(1 for _ in shape))))
    made = draw.node(draw.choice(_ARITHMETIC), *draw.shuffled((x, y)))
    return draw.model(draw.node("Transpose", made, perm=[0, *(1 + order.index(axis) for axis in range(len(order)))]))


def transpose_past_operand__fed(draw: Draw) -> onnx.ModelProto:
    """An input of full size, or of fewer dimensions."""
    draw.versions(13)
    x, order, shape = _moved(draw, 3, 3)
    y = draw.input(shape if draw.chance() else shape[1:], symbols=0.0)
    return _undone(draw, draw.node(draw.choice(_ARITHMETIC), *draw.shuffled((x, y))), order)


def transpose_past_operand__not_undone(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x = draw.node("Transpose", draw.input((3, 3, 3)), perm=[1, 2, 0])
    made = draw.node("Mul", x, _fit(draw, (3, 3, 3)))
    return draw.model(draw.node("Transpose", made, perm=draw.choice(([1, 2, 0], [1, 0, 2], [0, 2, 1]))))


def transpose_of_operands(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x, order, shape = _moved(draw)
    own = [1] * len(order)
    for at, axis in enumerate(order):
        own[axis] = shape[at] if draw.chance(0.7) else 1
    y = draw.node("Transpose", draw.input(own, symbols=0.0), perm=order)
    return _undone(draw, draw.node(draw.choice(_ARITHMETIC), *draw.shuffled((x, y))), order)


def transpose_of_operands__other_order(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x, y = draw.input((3, 3, 3)), draw.input((3, 3, 3))
    first, second = draw.choice((([1, 0, 2], [0, 2, 1]), ([1, 2, 0], [2, 0, 1]), ([2, 1, 0], [1, 0, 2])))
    return _undone(draw, draw.node(
        draw.choice(_ARITHMETIC), draw.node("Transpose", x, perm=first), draw.node("Transpose", y, perm=second)
    ), first)  # fmt: skip


def transpose_of_operands__other_rank(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x, y = draw.input((3, 3, 3), symbols=0.0), draw.input((3, 3), symbols=0.0)
    return _undone(draw, draw.node("Add", draw.node("Transpose", x), draw.node("Transpose", y)), [2, 1, 0])


def transpose_through_activation(draw: Draw) -> onnx.ModelProto:
    draw.versions(20, 21)
    x, order, _ = _moved(draw, symbols=0.3)
    if draw.chance(0.3):
        clipped = draw.node("Clip", x, *(draw.constant(np.float32(c)) for c in (-1, 1)))
        return _undone(draw, clipped, order)
    return _undone(draw, draw.node(draw.choice(("Reciprocal", "HardSwish", "HardSigmoid")), x), order)


def transpose_through_activation__not_undone(draw: Draw) -> onnx.ModelProto:
    draw.versions(20, 21)
    x = draw.node("HardSwish", draw.node("Transpose", draw.input((3, 3, 3)), perm=[1, 2, 0]))
    return draw.model(draw.node("Transpose", x, perm=draw.choice(([1, 2, 0], [1, 0, 2], [0, 2, 1]))))


def transpose_through_concat(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    _, order, shape = _moved(draw)
    axis = draw.integer(0, len(shape) - 1)
    parts = []
    for _ in range(draw.integer(2, 4)):
        own = [0] * len(order)
        for at, moved in enumerate(order):
            own[moved] = draw.integer(1, 3) if at == axis else max(2, shape[at])
        parts.append(draw.node("Transpose", draw.input(own, symbols=0.0), perm=order))
    return _undone(draw, draw.node("Concat", *parts, axis=axis - draw.choice((0, len(shape)))), order)


def transpose_through_concat__other_order(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x, y = draw.input((3, 3, 3)), draw.input((3, 3, 3))
    parts = draw.node("Transpose", x, perm=[1, 0, 2]), draw.node("Transpose", y, perm=[0, 2, 1])
    return _undone(draw, draw.node("Concat", *parts, axis=draw.integer(0, 2)), [1, 0, 2])


def transpose_through_parts(draw: Draw) -> onnx.ModelProto:
    draw.versions(13, 17)
    x, order, shape = _moved(draw, symbols=draw.choice((0.0, 0.2)))
    rank = len(shape)
    form = draw.choice(("slice", "plain", "split", "pad"))
    if form == "plain":
        return _undone(draw, op.slice_(draw, x, [0, 1], [2, 2**31 - 1]), order)
    if form == "slice":
        axes = draw.subset(draw.shuffled(range(rank)), 1)
        starts, ends = [draw.integer(0, 1) for _ in axes], [draw.choice((2, 2**31 - 1)) for _ in axes]
        return _undone(draw, op.slice_(draw, x, starts, ends, [at - draw.choice((0, rank)) for at in axes]), order)
    if form == "split":
        axis = draw.integer(0, rank - 1)
        parts = op.split(draw, x, axis - draw.choice((0, rank)), [1, shape[axis] - 1])
        return _undone(draw, draw.choice(parts), order)
    amounts = [draw.integer(0, 2) for _ in range(2 * rank)]
    mode = draw.choice((None, "constant", "edge"))
    padded = op.pad(draw, Value(x.name, "float32"), amounts, value=None if mode == "edge" else 2.0, mode=mode)
    return _undone(draw, padded, order)


def transpose_through_parts__fed(draw: Draw) -> onnx.ModelProto:
    """Axes that are fed."""
    draw.versions(13)
    x, order, shape = _moved(draw, 3, 3)
    bounds = [draw.constant(np.array([number])) for number in (1, 2)]
    axes = draw.operand(np.array([draw.integer(0, len(shape) - 1)]), constant=draw.chance())
    return _undone(draw, draw.node("Slice", x, *bounds, axes), order)


def transpose_through_parts__pad_axes(draw: Draw) -> onnx.ModelProto:
    draw.versions(18)
    x, order, _ = _moved(draw, 3, 3)
    inputs = (np.array([0, 1, 2, 0]), np.float32(0), np.array([0, 2]))
    return _undone(draw, draw.node("Pad", x, *map(draw.constant, inputs)), order)


def _reduced(draw: Draw, last: int) -> onnx.ModelProto:
    operator = draw.choice(("ReduceMean", "ReduceSum", "ReduceMax"))
    draw.versions(18 if last > 17 else 8, 12 if operator == "ReduceSum" and last == 17 else last)
    x = draw.node("Transpose", draw.input((2, 3, 4, 5), symbols=0.2), perm=[0, 2, 3, 1])
    negative = [] if draw.opset < 11 else [[-3, -2]]
    if draw.chance():
        return draw.model(op.reduce(draw, operator, x, draw.choice(([1, 2], [2, 1], [1, 2, 3], *negative)), 1))
    return draw.model(op.reduce(draw, operator, x, draw.choice(([1, 2], [3], [1, 2, 3], *negative)), 0))


def _in_another_order(draw: Draw) -> onnx.ModelProto:
    x = draw.node("Transpose", draw.input((3, 3, 3, 3), symbols=0.2), perm=[0, 2, 3, 1])
    return draw.model(op.reduce(draw, "ReduceSum", x, draw.choice(([0], [1], [2], [0, 1])), draw.integer(0, 1)))


def transpose_through_reduction(draw: Draw) -> onnx.ModelProto:
    return _reduced(draw, 24)


def transpose_through_reduction__left_in_another_order(draw: Draw) -> onnx.ModelProto:
    draw.versions(18)
    return _in_another_order(draw)


def transpose_through_reduction__all(draw: Draw) -> onnx.ModelProto:
    """Without axes all of them are reduced, or none."""
    draw.versions(18)
    x, order, _ = _moved(draw)
    axes = draw.constant(np.array([], np.int64)) if draw.chance() else None
    return _undone(draw, draw.node("ReduceSum", x, axes, keepdims=1, noop_with_empty_axes=draw.integer(0, 1)), order)


def transpose_through_older_reduction(draw: Draw) -> onnx.ModelProto:
    return _reduced(draw, 17)


def transpose_through_older_reduction__left_in_another_order(draw: Draw) -> onnx.ModelProto:
    draw.versions(8, 12)
    return _in_another_order(draw)


def transpose_through_last_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    x, order, shape = _moved(draw, 3, 4, last=True)
    axis = draw.choice((None, -1, len(shape) - 1))
    operator = draw.choice(("Softmax", "LayerNormalization", "RMSNormalization"))
    if operator == "Softmax":
        return _undone(draw, draw.node("Softmax", x, axis=axis), order)
    scale = draw.operand(draw.array(shape[-1:]), constant=draw.chance())
    shift = [draw.constant(draw.array(shape[-1:]))] if operator == "LayerNormalization" and draw.chance() else []
    return _undone(draw, draw.node(operator, x, scale, *shift, axis=axis), order)


def transpose_through_last_axis__moved(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    order = draw.choice(([0, 2, 1], [2, 1, 0], [1, 2, 0]))
    return _undone(draw, draw.node("Softmax", draw.node("Transpose", draw.input((3, 3, 3)), perm=order)), order)


def transpose_through_last_axis__inner_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    x = draw.node("Transpose", draw.input((3, 3, 2)), perm=[1, 0, 2])
    if draw.chance():
        return _undone(draw, draw.node("Softmax", x, axis=draw.choice((0, 1, -2))), [1, 0, 2])
    scale = draw.constant(draw.array((3, 2)))
    return _undone(draw, draw.node("LayerNormalization", x, scale, axis=draw.choice((1, -2))), [1, 0, 2])
