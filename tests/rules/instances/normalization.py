"""Instances of ``tcc.rewrites.normalization``: the forms that exporters write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

UNCONDITIONAL = frozenset({"shift_into_layer_normalization"})


def _swap(draw: Draw, operator: str, a: Value, b: Value) -> Value:
    return draw.node(operator, *draw.shuffled((a, b)))


def _typed(shape: Sequence[int], value: Value, dtype: str = "float32") -> Value:
    return Value(value.name, dtype, tuple(shape))


def _standardized(draw: Draw, x: Value, shape: Sequence[int], axes: Sequence[int], *, epsilon: float = 1e-5,
                  second: Sequence[int] | None = None, dtype: str = "float32") -> Value:  # fmt: skip
    """(x - mean) / sqrt(var + epsilon)."""
    deviation = draw.node("Sub", x, op.reduce(draw, "ReduceMean", x, axes))
    return _scaled(draw, deviation, deviation, second or axes, epsilon=epsilon, dtype=dtype)


def _scaled(draw: Draw, x: Value, squared: Value, axes: Sequence[int], *, epsilon: float = 1e-5,
            dtype: str = "float32") -> Value:  # fmt: skip
    """x / sqrt(mean of squares + epsilon) in one of the forms."""
    mean = op.reduce(draw, "ReduceMean", draw.node("Mul", squared, squared), axes)
    small = draw.constant(np.array(epsilon, dtype).reshape(draw.choice(((), (1,)))))
    root = draw.node("Sqrt", _swap(draw, "Add", mean, small))
    if draw.chance():
        return draw.node("Div", x, root)
    return _swap(draw, "Mul", x, draw.node("Reciprocal", root))


def _axes(draw: Draw, rank: int, count: int) -> list[int]:
    """The last axes, counted from either end."""
    axes = list(range(rank - count, rank))
    return [axis - rank for axis in axes] if draw.chance() else draw.shuffled(axes)


def _shape(draw: Draw) -> tuple[int, ...]:
    return (*draw.shape(1, 3), draw.integer(2, 6))


def _affine(draw: Draw, shape: Sequence[int], count: int, dtype: str = "float32") -> Value:
    own = tuple(shape[len(shape) - count :])
    return draw.operand(draw.array((1,) * draw.integer(0, len(shape) - count) + own, dtype), constant=draw.chance(0.8))


def layer_normalization(draw: Draw) -> onnx.ModelProto:
    draw.versions(17)
    shape = _shape(draw)
    count = draw.choice((1, 1, min(2, len(shape))))
    epsilon = draw.choice((1e-5, 1e-6, 1e-3))
    x = draw.tensor(shape, symbols=0.2 if count == 1 and shape[-1] != 1 else 0.0)
    normal = _standardized(draw, x, shape, _axes(draw, len(shape), count), epsilon=epsilon)
    if draw.chance(0.3):
        return draw.model(normal)
    return draw.model(_swap(draw, "Mul", normal, _affine(draw, shape, count)))


def layer_normalization__inner_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(17)
    normal = _standardized(draw, draw.input((2, 3, 4), symbols=0.0), (2, 3, 4), draw.choice(([1], [0], [0, 1], [0, 2])))
    return draw.model(draw.node("Mul", normal, draw.constant(draw.array((4,)))))


def layer_normalization__other_axes(draw: Draw) -> onnx.ModelProto:
    """The variance is not that of the mean's axes."""
    draw.versions(17)
    first, second = draw.choice((([2], [1, 2]), ([1, 2], [2]), ([2], [1])))
    normal = _standardized(draw, draw.input((2, 3, 4), symbols=0.0), (2, 3, 4), first, second=second)
    return draw.model(draw.node("Mul", normal, draw.constant(draw.array((4,)))))


def layer_normalization__other_deviation(draw: Draw) -> onnx.ModelProto:
    """The square is not that of the deviation."""
    draw.versions(17)
    x = draw.input((2, 3, 4), symbols=0.0)
    deviation = draw.node("Sub", x, op.reduce(draw, "ReduceMean", x, [2]))
    return draw.model(_scaled(draw, *draw.choice(((deviation, x), (x, deviation))), [2]))


def layer_normalization__scale_of_another_shape(draw: Draw) -> onnx.ModelProto:
    draw.versions(17)
    normal = _standardized(draw, draw.input((2, 3, 4), symbols=0.0), (2, 3, 4), [2])
    return draw.model(
        draw.node(
            "Mul", normal, draw.constant(draw.array(draw.choice(((3, 1), (3, 4), (2, 1, 1), (), (1,), (2, 1, 1, 4)))))
        )
    )


def layer_normalization__variance_alone(draw: Draw) -> onnx.ModelProto:
    """Without the square root, or with an epsilon that is no number."""
    draw.versions(17)
    x = draw.input((2, 3), symbols=0.0)
    deviation = draw.node("Sub", x, op.reduce(draw, "ReduceMean", x, [1]))
    variance = op.reduce(draw, "ReduceMean", draw.node("Mul", deviation, deviation), [1])
    if draw.chance():
        return draw.model(draw.node("Div", deviation, draw.node("Add", variance, draw.constant(np.float32(1e-2)))))
    small = draw.constant(np.array([[0.1], [0.3]], np.float32))
    return draw.model(draw.node("Div", deviation, draw.node("Sqrt", draw.node("Add", variance, small))))


def layer_normalization__double(draw: Draw) -> onnx.ModelProto:
    """Statistics in single precision are not enough."""
    draw.versions(17)
    x = draw.input((2, 5), "float64", symbols=0.0)
    return draw.model(_standardized(draw, x, (2, 5), [1], dtype="float64"))


def shift_into_layer_normalization(draw: Draw) -> onnx.ModelProto:
    draw.versions(17)
    shape = _shape(draw)
    scale = draw.constant(draw.array((shape[-1],)))
    normal = draw.node(
        "LayerNormalization", draw.tensor(shape, symbols=0.0), scale, axis=draw.choice((None, -1, len(shape) - 1))
    )
    return draw.model(_swap(draw, "Add", normal, _affine(draw, shape, 1)))


def shift_into_layer_normalization__of_another_shape(draw: Draw) -> onnx.ModelProto:
    draw.versions(17)
    scale = draw.constant(draw.array((4,)))
    normal = draw.node("LayerNormalization", draw.input((2, 3, 4), symbols=0.0), scale)
    shape = draw.choice(((3, 1), (3, 4), (2, 1, 1), (), (1,), (2, 1, 1, 4), (2, 3, 4)))
    return draw.model(draw.node("Add", normal, draw.operand(draw.array(shape), constant=draw.chance())))


def _root_mean_square(draw: Draw, x: Value, axes: Sequence[int], epsilon: float = 1e-5) -> Value:
    return _scaled(draw, x, x, axes, epsilon=epsilon)


def rms_normalization(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    shape = _shape(draw)
    count = draw.choice((1, 1, min(2, len(shape))))
    x = draw.tensor(shape, symbols=0.0)
    normal = _root_mean_square(draw, x, _axes(draw, len(shape), count), draw.choice((1e-5, 1e-6)))
    if draw.chance(0.3):
        return draw.model(normal)
    return draw.model(_swap(draw, "Mul", normal, _affine(draw, shape, count)))


def rms_normalization__inner_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    normal = _root_mean_square(draw, draw.input((2, 3, 4), symbols=0.0), draw.choice(([1], [0], [0, 1], [0, 2])))
    return draw.model(draw.node("Mul", normal, draw.constant(draw.array((4,)))))


def rms_normalization__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    x, y = draw.input((2, 3, 4), symbols=0.0), draw.input((2, 3, 4), symbols=0.0)
    return draw.model(_scaled(draw, x, y, [2]))


def rms_normalization__scale_of_another_shape(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    normal = _root_mean_square(draw, draw.input((2, 3, 4), symbols=0.0), [2])
    return draw.model(
        draw.node("Mul", normal, draw.constant(draw.array(draw.choice(((3, 1), (3, 4), (2, 1, 1), (), (1,))))))
    )


def instance_normalization(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    shape = (draw.integer(1, 2), draw.integer(2, 4), *draw.choice(((5,), (3, 4), (2, 3, 2))))
    x = draw.tensor(shape, symbols=0.0)
    axes = list(range(2, len(shape)))
    normal = _standardized(draw, x, shape, axes)
    if draw.chance(0.3):
        return draw.model(normal)
    own = (shape[1], *(1 for _ in axes))
    scale, shift = (draw.constant(draw.array(draw.choice((own, (1, *own))))) for _ in range(2))
    return draw.model(_swap(draw, "Add", _swap(draw, "Mul", normal, scale), shift))


def _of_channels(draw: Draw, axes: Sequence[int], own: Sequence[int] | None = None) -> onnx.ModelProto:
    draw.versions(17)
    shape = (draw.integer(1, 2), draw.integer(2, 5), *draw.choice(((5,), (3, 4), (2, 3, 2))))
    x = draw.tensor(shape, symbols=0.0)
    own = own or (shape[1], *(1 for _ in shape[2:]))
    scale, shift = (draw.constant(draw.array(draw.choice((tuple(own), (1, *own))))) for _ in range(2))
    return draw.model(_swap(draw, "Add", _swap(draw, "Mul", _standardized(draw, x, shape, axes), scale), shift))


def layer_normalization_of_channels(draw: Draw) -> onnx.ModelProto:
    return _of_channels(draw, [1])


def layer_normalization_of_channels__other_axes(draw: Draw) -> onnx.ModelProto:
    return _of_channels(draw, draw.choice(([0], [2], [1, 2])))


def layer_normalization_of_channels__one_number(draw: Draw) -> onnx.ModelProto:
    return _of_channels(draw, [1], [1])


def instance_normalization__other_axes(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    shape = (2, 3, 4, 2)
    axes = draw.choice(([2], [3], [1, 2, 3], [0, 2, 3]))
    return draw.model(_standardized(draw, draw.input(shape, symbols=0.0), shape, axes))


def instance_normalization__scale_of_another_shape(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    normal = _standardized(draw, draw.input((2, 3, 4), symbols=0.0), (2, 3, 4), [2])
    scale = draw.constant(draw.array(draw.choice(((4,), (3, 4), (2, 1, 1), ()))))
    return draw.model(draw.node("Add", draw.node("Mul", normal, scale), draw.constant(draw.array((3, 1)))))
