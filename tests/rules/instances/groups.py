"""Instances of ``tcc.rewrites.groups``: the forms that exporters write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx


def _shape(draw: Draw) -> tuple[int, ...]:
    return draw.integer(1, 3), draw.choice((4, 6)), *draw.choice(((5,), (3, 4), (2, 3, 2)))


def _input(draw: Draw, shape: Sequence[int]) -> Value:
    names = [f"n{size}" if axis != 1 and draw.chance(0.2) else size for axis, size in enumerate(shape)]
    return draw.input_of(draw.array(tuple(shape)), names=names)


def _instances(draw: Draw, x: Value, channels: int) -> Value:
    scale, bias = (draw.constant(draw.array((channels,))) for _ in "sb")
    if draw.chance():
        scale, bias = draw.constant(np.ones(channels, np.float32)), draw.constant(np.zeros(channels, np.float32))
    return draw.node("InstanceNormalization", x, scale, bias, epsilon=draw.choice((None, 1e-3)))


def group_normalization(draw: Draw) -> onnx.ModelProto:
    draw.versions(21)
    shape = _shape(draw)
    x = draw.input(shape, symbols=0.0)
    groups = draw.choice((1, 2, shape[1]))
    inner = draw.choice(([0, groups, -1], [shape[0], groups, shape[1] // groups, -1]))
    normal = _instances(draw, op.reshape(draw, x, inner), groups)
    return draw.model(op.reshape(draw, normal, draw.choice((shape, (0, shape[1], *shape[2:])))))


def group_normalization__other_groups(draw: Draw) -> onnx.ModelProto:
    """Samples and channels are mixed, or groups begin within a channel."""
    draw.versions(21)
    x = draw.input((2, 4, 6), symbols=0.0)
    first, groups = draw.choice(((4, 2), (1, 4), (2, 8), (1, 2)))
    normal = _instances(draw, op.reshape(draw, x, [first, groups, -1]), groups)
    return draw.model(op.reshape(draw, normal, [2, 4, 6]))


def group_normalization__strided_groups(draw: Draw) -> onnx.ModelProto:
    """Every so many channels are a group."""
    draw.versions(21)
    x = draw.node("Transpose", draw.input((2, 5, 4), symbols=0.0), perm=[0, 2, 1])
    y = draw.node("Transpose", op.reshape(draw, x, [2, 2, 2, 5]), perm=[0, 2, 1, 3])
    return draw.model(op.reshape(draw, _instances(draw, y, 2), [2, 4, 5]))


def instance_normalization_of_view(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape = _shape(draw)
    x = draw.input(shape, symbols=0.0)
    inner = [0, shape[1], -1] if len(shape) > 3 or draw.chance() else [*shape[:2], 1, *shape[2:]]
    normal = _instances(draw, op.reshape(draw, x, inner), shape[1])
    return draw.model(op.reshape(draw, normal, shape))


def instance_normalization_of_view__other_channels(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input((2, 4, 6), symbols=0.0)
    first, channels = draw.choice(((2, 2), (1, 4), (4, 4), (2, 8)))
    normal = _instances(draw, op.reshape(draw, x, [first, channels, -1]), channels)
    return draw.model(op.reshape(draw, normal, [2, 4, 6]))


def _with_factor(draw: Draw, normal: Value, channels: int, rank: int) -> onnx.ModelProto:
    own = draw.choice(((channels, *[1] * (rank - 2)), (1, channels, *[1] * (rank - 2))))
    operator = draw.choice(("Mul", "Add"))
    return draw.model(draw.node(operator, *draw.shuffled((normal, draw.constant(draw.array(own))))))


def _with_other_factor(draw: Draw, normal: Value) -> onnx.ModelProto:
    """A number for each place, for ``[2, 4, 4, 4]``."""
    other = draw.choice(((4,), (4, 1), (4, 1, 4), (2, 4, 1, 1), (2, 1, 1, 1)))
    operator = draw.choice(("Mul", "Add"))
    return draw.model(draw.node(operator, *draw.shuffled((normal, draw.constant(draw.array(other))))))


def factor_of_channels_into_instance_normalization(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape = _shape(draw)
    return _with_factor(draw, _instances(draw, _input(draw, shape), shape[1]), shape[1], len(shape))


def factor_of_channels_into_instance_normalization__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _with_other_factor(draw, _instances(draw, draw.input((2, 4, 4, 4), symbols=0.0), 4))


def _groups(draw: Draw, x: Value, channels: int) -> Value:
    scale, bias = (draw.constant(draw.array((channels,))) for _ in "sb")
    # ONNX's inference does not tell its type.
    return draw.declare(
        draw.node("GroupNormalization", x, scale, bias, num_groups=draw.choice((1, 2, channels))), x.shape
    )


def factor_of_channels_into_group_normalization(draw: Draw) -> onnx.ModelProto:
    draw.versions(21)
    shape = _shape(draw)
    return _with_factor(draw, _groups(draw, draw.input(shape, symbols=0.0), shape[1]), shape[1], len(shape))


def factor_of_channels_into_group_normalization__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(21)
    return _with_other_factor(draw, _groups(draw, draw.input((2, 4, 4, 4), symbols=0.0), 4))
