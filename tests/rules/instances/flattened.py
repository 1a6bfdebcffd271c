"""Instances of ``tcc.rewrites.flattened``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rules import operators as op
from tests.rules.draw import Draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

COMPANIONS = {"bias_of_split_columns": ("view_is_reshape",)}


def _product(
    draw: Draw, before: Sequence[int], flat: Sequence[int], after: Sequence[int], columns: int
) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.tensor(before, symbols=0.0)
    w = draw.operand(draw.array((flat[-1], columns)), constant=draw.chance(0.7))
    return draw.model(op.reshape(draw, draw.node("MatMul", op.reshape(draw, x, flat), w), after))


def product_of_flattened_rows(draw: Draw) -> onnx.ModelProto:
    stack = [draw.integer(1, 3) for _ in range(draw.integer(2, 3))]
    depth, columns = draw.integer(1, 4), draw.integer(1, 4)
    return _product(draw, [*stack, depth], [-1, depth], [*stack, columns], columns)


def product_of_flattened_rows__other_rows(draw: Draw) -> onnx.ModelProto:
    """The rows are cut elsewhere than they were."""
    return _product(draw, [2, 3, 4], [4, 6], [2, 2, 5], 5)


def product_of_flattened_rows__other_stack(draw: Draw) -> onnx.ModelProto:
    return _product(draw, [2, 3, 4], [-1, 4], draw.choice(([3, 2, 5], [6, 5], [1, 6, 5], [2, 3, 5, 1])), 5)


def _biased(
    draw: Draw, flat: Sequence[int], view: Sequence[int], bias: Sequence[int], *, constant: bool = True
) -> onnx.ModelProto:
    draw.versions(9)
    y = draw.tensor(flat, symbols=0.0)
    c = draw.operand(draw.array(bias), constant=constant)
    return draw.model(draw.node("Add", *draw.shuffled((op.reshape(draw, y, view), c))))


def bias_of_split_columns(draw: Draw) -> onnx.ModelProto:
    rows, heads, width = draw.integer(1, 3), draw.integer(2, 3), draw.integer(1, 4)
    if draw.chance(0.3):
        return _biased(draw, [2 * rows, 3], [2, rows, 3], draw.choice(([3], [1, 3])))
    return _biased(draw, [2 * rows, heads * width], [2, rows, heads, width], [heads, width])


def bias_of_split_columns__of_rows(draw: Draw) -> onnx.ModelProto:
    return _biased(draw, [6, 4], [2, 3, 2, 2], draw.choice(([3, 2, 2], [2], [2, 1], [3, 1, 1])))


def bias_of_split_columns__fed(draw: Draw) -> onnx.ModelProto:
    return _biased(draw, [6, 4], [2, 3, 2, 2], [2, 2], constant=False)
