"""Instances of ``tcc.rewrites.factoring``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

_FLOATS = ("float32", "float32", "float64")


def _sum(draw: Draw, *values: Value) -> onnx.ModelProto:
    return draw.model(draw.node("Add", *draw.shuffled(values)))


def sum_of_products_with_weight(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    dtype, shape = draw.choice(_FLOATS), (*draw.shape(0, 2), 3)
    w = draw.operand(draw.array((3, 2), dtype), constant=draw.chance())
    return _sum(draw, *(draw.node("MatMul", draw.tensor(shape, dtype, symbols=0.0), w) for _ in range(2)))


def sum_of_products_with_weight__broadcast(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    w = draw.constant(draw.array((3, 2)))
    return _sum(draw, *(draw.node("MatMul", draw.input(shape), w) for shape in ((2, 3), (1, 3))))


def sum_of_products_of_input(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    dtype, shape = draw.choice(_FLOATS), (*draw.shape(0, 2), 3)
    x = draw.tensor(shape, dtype)
    return _sum(draw, *(draw.node("MatMul", x, draw.constant(draw.array((3, 2), dtype))) for _ in range(2)))


def sum_of_products_of_input__broadcast(draw: Draw) -> onnx.ModelProto:
    """Weights of two widths: one of the products is broadcast, their sum would be too."""
    draw.versions(9)
    x = draw.tensor((2, 3))
    return _sum(draw, *(draw.node("MatMul", x, draw.constant(draw.array(shape))) for shape in ((3, 2), (3, 1))))


def sum_of_products_of_input__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.tensor((2, 3))
    return _sum(draw, *(draw.node("MatMul", x, draw.input((3, 2))) for _ in range(2)))


def sum_of_scaled(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape, dtype = draw.shape(), draw.choice(_FLOATS)
    x = draw.tensor(shape, dtype)
    scaled = [draw.node("Mul", x, draw.constant(draw.array(draw.broadcast_to(shape), dtype))) for _ in range(2)]
    return _sum(draw, *scaled)


def sum_of_scaled__integer(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    x = draw.input((2, 3), "int64")
    return _sum(draw, *(draw.node("Mul", x, draw.constant(draw.array((3,), "int64"))) for _ in range(2)))


def _with_scaled(draw: Draw, c: Value, shape: Sequence[int] = (2, 3), dtype: str = "float32") -> onnx.ModelProto:
    x = draw.tensor(shape, dtype)
    return _sum(draw, x, draw.node("Mul", *draw.shuffled((x, c))))


def sum_with_scaled(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    dtype, shape = draw.choice(_FLOATS), draw.shape(1, 3)
    c = draw.constant(draw.positive(draw.choice(((), (1,))), dtype) * draw.choice((2, -3)))
    return _with_scaled(draw, c, shape, dtype)


def sum_with_scaled__of_a_vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _with_scaled(draw, draw.constant(draw.positive((3,)) + 1))


def sum_with_scaled__wider(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _with_scaled(draw, draw.constant(draw.positive((1, 1, 1)) + 1))


def _conv(draw: Draw, x: Value, w: Value, bias: Value | None = None, /, **options: Any) -> Value:
    return draw.node("Conv", x, w, bias, **{k: v for k, v in options.items() if v is not None})


def sum_of_convolutions_with_weight(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    groups = draw.integer(1, 2)
    w = draw.operand(draw.array((2 * groups, 2, 3, 1)), constant=draw.chance())
    options = {"group": groups, "strides": draw.choice((None, [2, 1])), "pads": draw.choice((None, [1, 0, 1, 0]))}
    xs = [draw.tensor((2, 2 * groups, 5, 4), symbols=0.0) for _ in range(2)]
    return _sum(draw, *(_conv(draw, x, w, **options) for x in xs))


def sum_of_convolutions_with_weight__biased(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    w, b = draw.constant(draw.array((2, 2, 1, 1))), draw.constant(draw.array((2,)))
    return _sum(draw, *(_conv(draw, draw.tensor((1, 2, 3, 3), symbols=0.0), w, b) for _ in range(2)))


def sum_of_convolutions_with_weight__broadcast(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    w = draw.constant(draw.array((2, 2, 2, 2)))
    sizes = (1, 2, 4, 4), (2, 2, 4, 4)
    return _sum(draw, *(_conv(draw, draw.tensor(size, symbols=0.0), w, pads=[1, 1, 0, 0]) for size in sizes))


def sum_of_convolutions_with_weight__other_dilations(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    w, xs = draw.constant(draw.array((2, 2, 3, 3))), [draw.tensor((1, 2, 4, 4), symbols=0.0) for _ in range(2)]
    wide = _conv(draw, xs[1], w, pads=[2] * 4, dilations=[2, 2])
    return _sum(draw, _conv(draw, xs[0], w, pads=[1] * 4), wide)


def _of_input(draw: Draw, large: Sequence[int], small: Sequence[int], first: dict[str, Any],
              second: dict[str, Any], *, biases: Sequence[bool], fed: bool = False) -> onnx.ModelProto:  # fmt: skip
    groups = first.get("group", 1)
    x = draw.tensor((2, 2 * groups, 8, 9), symbols=0.0)
    made = []
    for kernel, options, biased in ((large, first, biases[0]), (small, second, biases[1])):
        w = draw.operand(draw.array((3 * groups, 2, *kernel)), constant=not fed)
        made.append(_conv(draw, x, w, draw.constant(draw.array((3 * groups,))) if biased else None, **options))
    return _sum(draw, *made)


def sum_of_convolutions_of_input(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    small, rim = [draw.integer(1, 2) for _ in range(2)], [draw.integer(0, 2) for _ in range(4)]
    own, dilation = [draw.integer(0, 1) for _ in range(4)], draw.integer(1, 2)
    large = [size + rim[i] + rim[2 + i] for i, size in enumerate(small)]
    shared: dict[str, Any] = {"group": draw.integer(1, 2), "strides": draw.choice(([1, 1], [2, 1]))}
    if dilation > 1 or draw.chance():
        shared["dilations"] = [dilation, dilation]
    pads = [p + dilation * r for p, r in zip(own, rim, strict=True)]
    biased = draw.chance()
    return _of_input(draw, large, small, {**shared, "pads": pads}, {**shared, "pads": own}, biases=(biased, biased))


def sum_of_convolutions_of_input__off_centre(draw: Draw) -> onnx.ModelProto:
    """The smaller kernel looks at places that the larger one does not."""
    draw.versions(9)
    own = draw.choice(([2, 0, 0, 1], [0, 0, 2, 1]))
    return _of_input(draw, (3, 3), (3, 1), {"pads": [1, 1, 1, 2]}, {"pads": own}, biases=(False, False))


def sum_of_convolutions_of_input__one_bias(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _of_input(
        draw, (3, 3), (1, 1), {"pads": [1, 1, 1, 1]}, {}, biases=draw.choice(((True, False), (False, True)))
    )


def sum_of_convolutions_of_input__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _of_input(draw, (3, 3), (1, 1), {"pads": [1, 1, 1, 1]}, {}, biases=(False, False), fed=True)


def sum_of_convolutions_of_input__other_dilations(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    first = {"pads": [2, 2, 2, 2], "dilations": [2, 2]}
    return _of_input(draw, (3, 3), (3, 3), first, {"pads": [1, 1, 1, 1]}, biases=(False, False))


def _joined(draw: Draw, axis: int, *values: Value) -> onnx.ModelProto:
    return draw.model(draw.node("Concat", *values, axis=axis))


def join_of_products_with_weight(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    dtype, shape = draw.choice(_FLOATS), (*draw.shape(1, 3), 3)
    axis = draw.integer(0, len(shape) - 2)
    other = tuple(draw.integer(1, 3) if i == axis else size for i, size in enumerate(shape))
    w = draw.operand(draw.array((3, 2), dtype), constant=draw.chance())
    products = (draw.node("MatMul", draw.tensor(s, dtype), w) for s in (shape, other))
    return _joined(draw, axis - draw.choice((0, len(shape))), *products)


def join_of_products_with_weight__columns(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    w = draw.constant(draw.array((3, 3)))
    return _joined(draw, draw.choice((-1, 1)), *(draw.node("MatMul", draw.tensor((2, 3)), w) for _ in range(2)))


def join_of_products_with_weight__stack(draw: Draw) -> onnx.ModelProto:
    """The weight is a stack, along which the products are joined."""
    draw.versions(9)
    w = draw.constant(draw.array((2, 3, 3)))
    return _joined(draw, 0, *(draw.node("MatMul", draw.tensor((2, 3, 3), symbols=0.0), w) for _ in range(2)))


def join_of_convolutions_with_weight(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    groups = draw.integer(1, 2)
    w = draw.operand(draw.array((2 * groups, 2, 2, 3)), constant=draw.chance())
    b = draw.operand(draw.array((2 * groups,)), constant=draw.chance()) if draw.chance() else None
    options = {"group": groups, "strides": draw.choice((None, [2, 1])), "auto_pad": draw.choice((None, "SAME_UPPER"))}
    xs = [draw.tensor((draw.integer(1, 2), 2 * groups, 5, 4), symbols=0.0) for _ in range(2)]
    return _joined(draw, draw.choice((0, -4)), *(_conv(draw, x, w, b, **options) for x in xs))


def join_of_convolutions_with_weight__places(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    w = draw.constant(draw.array((2, 2, 1, 3)))
    return _joined(
        draw, draw.integer(1, 3), *(_conv(draw, draw.tensor((1, 2, 4, 4), symbols=0.0), w) for _ in range(2))
    )


def join_of_convolutions_with_weight__sizes(draw: Draw) -> onnx.ModelProto:
    """Strides make equal sizes of different ones."""
    draw.versions(9)
    w = draw.constant(draw.array((2, 2, 1, 1)))
    made = (_conv(draw, draw.tensor((1, 2, n, 4), symbols=0.0), w, strides=[2, 2]) for n in draw.shuffled((5, 6)))
    return _joined(draw, 0, *made)


_ACTIVATIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Relu", {}), ("Sigmoid", {}), ("Tanh", {}), ("LeakyRelu", {"alpha": 0.2}), ("HardSwish", {}),
)  # fmt: skip


def join_of_activated_convolutions(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    operator, options = draw.choice(_ACTIVATIONS)
    if draw.chance(0.3):
        low, high = draw.constant(np.float32(0)), draw.constant(np.float32(6))
        act = partial(_clipped, draw, low, high)
    else:
        act = partial(draw.node, operator, **options)
    x, w = draw.tensor((1, 2, 5, 5), symbols=0.0), draw.constant(draw.array((3, 2, 3, 3)))
    if draw.chance():
        other = draw.constant(draw.array((draw.integer(1, 4), 2, 3, 3)))
        return _joined(draw, 1, act(_conv(draw, x, w)), act(_conv(draw, x, other)))
    y = draw.tensor((2, 2, 5, 5), symbols=0.0)
    return _joined(draw, 0, act(_conv(draw, x, w)), act(_conv(draw, y, w)))


def _clipped(draw: Draw, low: Value, high: Value, x: Value) -> Value:
    return draw.node("Clip", x, low, high)


def join_of_activated_convolutions__of_two_activations(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    x, w = draw.tensor((1, 2, 5, 5), symbols=0.0), draw.constant(draw.array((3, 2, 3, 3)))
    made = [draw.node("LeakyRelu", _conv(draw, x, w), alpha=alpha) for alpha in (0.1, 0.2)]
    return _joined(draw, 1, *made)


def join_of_activated_convolutions__of_other_inputs(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    parts = (_conv(draw, draw.tensor((1, 2, 5, 5)), draw.constant(draw.array((3, 2, 3, 3)))) for _ in range(2))
    return _joined(draw, 1, *(draw.node("Relu", part) for part in parts))
