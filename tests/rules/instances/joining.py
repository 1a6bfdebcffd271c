"""Instances of ``tcc.rewrites.joining``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.rules import operators as op
from tests.rules.draw import Draw

if TYPE_CHECKING:
    import onnx


def _cut(draw: Draw, sizes: Sequence[int], cuts: Sequence[int], axes: tuple[int, int]) -> onnx.ModelProto:
    """A Concat of tensors of these sizes along one axis, split along another one; all parts are used."""
    shape = [6, 6]
    parts = []
    for size in sizes:
        shape[axes[0]] = size
        parts.append(draw.tensor(tuple(shape), symbols=0.0))
    joined = draw.node("Concat", *parts, axis=axes[0] - draw.choice((0, 2)))
    taken = op.split(draw, joined, axes[1] - draw.choice((0, 2)), cuts)
    return draw.model(*(draw.node("Neg", part) for part in taken))


def split_of_concat(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    sizes, axis = [draw.integer(1, 3) for _ in range(draw.integer(2, 4))], draw.integer(0, 1)
    return _cut(draw, sizes, sizes, (axis, axis))


def split_of_concat__elsewhere(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    sizes, axis = draw.choice((([1, 3], [3, 1]), ([2, 4], [4, 2]), ([1, 2, 1], [2, 1, 1]))), draw.integer(0, 1)
    return _cut(draw, *sizes, (axis, axis))


def split_of_concat__even(draw: Draw) -> onnx.ModelProto:
    """No sizes stated: equal parts of unequal ones."""
    draw.versions(9, 17)
    joined = draw.node("Concat", draw.tensor((1, 2), symbols=0.0), draw.tensor((3, 2), symbols=0.0), axis=0)
    return draw.model(*(draw.node("Neg", part) for part in draw.nodes("Split", 2, joined, axis=0)))


def split_of_concat__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    return _cut(draw, [3, 3], [3, 3], draw.choice(((0, 1), (1, 0))))


def split_of_concat__more_parts(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    return _cut(draw, [2, 2], [2, 1, 1], (0, 0))
