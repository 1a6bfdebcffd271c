"""Instances of ``tcc.rewrites.laws.windows``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tcc.ir import structures
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

COMPANIONS = {"mean_of_identity": ("convolve_with_mean",)}


def _conv(draw: Draw, x: Value, w: Value, *, groups: int = 1, bias: Value | None = None) -> Value:
    return draw.node("Conv", x, w, bias, pads=[1, 1, 0, 0], group=groups)


def scale_convolution(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    groups, form = draw.integer(1, 2), draw.integer(0, 2)
    x, w = draw.tensor((1, 2 * groups, 4, 3), symbols=0.0), draw.tensor((2 * groups, 2, 2, 2), symbols=0.0)
    c = draw.input(())
    if form == 0:
        return draw.model(draw.node("Mul", _conv(draw, x, w, groups=groups), c))
    scaled = (draw.node("Mul", x, c), w) if form == 1 else (x, draw.node("Mul", w, c))
    return draw.model(_conv(draw, *scaled, groups=groups))


def scale_convolution__biased(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, w = draw.tensor((1, 2, 3, 3), symbols=0.0), draw.tensor((2, 2, 2, 2), symbols=0.0)
    return draw.model(draw.node("Mul", _conv(draw, x, w, bias=draw.constant(draw.array((2,)))), draw.input(())))


def scale_convolution__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, w = draw.tensor((1, 3, 3, 3), symbols=0.0), draw.tensor((3, 3, 3, 3), symbols=0.0)
    scaled = draw.node("Mul", x, draw.input((3,), symbols=0.0))
    return draw.model(draw.node("Conv", scaled, w, pads=[1, 1, 1, 1]))


def distribute_convolution(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    groups, left = draw.integer(1, 2), draw.chance()
    data, weight = (1, 2 * groups, 4, 3), (2 * groups, 2, 2, 2)
    x, y, z = (draw.tensor(s, symbols=0.0) for s in ((weight, data, data) if left else (data, weight, weight)))
    if draw.chance():
        total = draw.node("Add", y, z)
        return draw.model(_conv(draw, *((total, x) if left else (x, total)), groups=groups))
    parts = (_conv(draw, *((t, x) if left else (x, t)), groups=groups) for t in (y, z))
    return draw.model(draw.node("Add", *parts))


def distribute_convolution__biased(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, w, b = draw.tensor((1, 2, 3, 3), symbols=0.0), draw.constant(draw.array((2, 2, 2, 2))), draw.array((2,))
    total = draw.node("Add", x, draw.tensor((1, 2, 3, 3), symbols=0.0))
    return draw.model(_conv(draw, total, w, bias=draw.constant(b)))


def distribute_convolution__broadcast(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    total = draw.node("Add", draw.tensor((1, 2, 3, 3), symbols=0.0), draw.tensor((1, 1, 1, 1), symbols=0.0))
    return draw.model(_conv(draw, total, draw.tensor((2, 2, 2, 2), symbols=0.0)))


def _average(draw: Draw, x: Value, **options: Any) -> Value:
    return draw.node("AveragePool", x, kernel_shape=[2, 3], **options)


def linear_pool(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    form = draw.integer(0, 3)
    x, y = (draw.tensor((1, 2, 4, 5), symbols=0.0) for _ in range(2))
    c = draw.input(())
    options: dict[str, Any] = {"pads": [1, 1, 0, 1], "count_include_pad": draw.integer(0, 1)} if draw.chance() else {}
    if form == 0:
        return draw.model(_average(draw, draw.node("Add", x, y), **options))
    if form == 1:
        return draw.model(draw.node("Add", _average(draw, x, **options), _average(draw, y, **options)))
    if form == 2:
        return draw.model(_average(draw, draw.node("Mul", x, c), **options))
    return draw.model(draw.node("Mul", _average(draw, x, **options), c))


def linear_pool__broadcast(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y = draw.tensor((1, 2, 4, 5), symbols=0.0), draw.tensor((1, 2, 1, 1), symbols=0.0)
    return draw.model(_average(draw, draw.node(draw.choice(("Add", "Mul")), x, y)))


def mean_of_identity(draw: Draw) -> onnx.ModelProto:
    """The pooled kernel is known to be a mean's, so that convolving with it is a pool."""
    draw.versions(9)
    groups, size = draw.choice((1, 2)), draw.choice((3, 5))
    kernel = draw.constant(structures.kernel(structures.IDENTITY, (4, 4 // groups, size, size)))
    half = size // 2
    pooled = draw.node("AveragePool", kernel, kernel_shape=[size] * 2, pads=[half] * 4, count_include_pad=1)
    x = draw.tensor((1, 4, 6, 6), symbols=0.0)
    return draw.model(draw.node("Conv", x, pooled, group=groups, pads=[half] * 4))


def mean_of_identity__padding_not_counted(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    kernel = draw.constant(structures.kernel(structures.IDENTITY, (2, 2, 3, 3)))
    pooled = draw.node("AveragePool", kernel, kernel_shape=[3, 3], pads=[1] * 4)
    return draw.model(draw.node("Conv", draw.tensor((1, 2, 4, 4), symbols=0.0), pooled, pads=[1] * 4))


def mean_of_identity__other_window(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    kernel = draw.constant(structures.kernel(structures.IDENTITY, (2, 2, 5, 5)).astype(np.float32))
    pooled = draw.node("AveragePool", kernel, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    return draw.model(draw.node("Conv", draw.tensor((1, 2, 4, 4), symbols=0.0), pooled, pads=[2] * 4))


def _merged(draw: Draw, groups: int, *, swapped: bool = False, axis: int = 1, other: bool = False) -> onnx.ModelProto:
    """A convolution of so many groups, two by two joined to one with zeros between."""
    inner, each = draw.integer(1, 2), draw.integer(1, 3)
    outputs = groups * each
    x = draw.tensor((1, groups * inner, 4, 3), symbols=0.0)
    w, v = (draw.tensor((outputs, inner, 2, 2), symbols=0.0) for _ in range(2))
    mask = np.zeros((outputs, 2 * inner, 1, 1), np.float32)
    for o in range(outputs):
        place = (o // each + swapped) % 2
        mask[o, place * inner : (place + 1) * inner] = 1
    joined = draw.node("Concat", w, v if other else w, axis=axis)
    return draw.model(_conv(draw, x, draw.node("Mul", joined, draw.constant(mask)), groups=groups // 2))


def merge_groups(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _merged(draw, draw.choice((2, 4)))


def merge_groups__swapped(draw: Draw) -> onnx.ModelProto:
    """Each group reads the channels of the other."""
    draw.versions(9)
    return _merged(draw, draw.choice((2, 4)), swapped=True)


def merge_groups__of_two_kernels(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _merged(draw, 2, other=True)


def merge_groups__other_blocks(draw: Draw) -> onnx.ModelProto:
    """The mask changes more often than the groups do."""
    draw.versions(9)
    x, w = draw.tensor((1, 4, 4, 3), symbols=0.0), draw.tensor((4, 2, 2, 2), symbols=0.0)
    rows = draw.choice(([[1, 1, 0, 0], [0, 0, 1, 1]] * 2, [[1, 1, 0, 0]] * 3 + [[0, 0, 1, 1]], [[1, 0, 1, 0]] * 4))
    mask = draw.constant(np.array(rows, np.float32)[:, :, None, None])
    return draw.model(_conv(draw, x, draw.node("Mul", draw.node("Concat", w, w, axis=1), mask)))
