"""Instances of ``tcc.rewrites.attention_turned``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx


def _swapped(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]


def _scores(draw: Draw, stack: Sequence[int]) -> Value:
    scores = draw.node("MatMul", draw.input((*stack, 3, 4), symbols=0.0), draw.input((*stack, 4, 2), symbols=0.0))
    for _ in range(draw.integer(0, 2)):
        if draw.chance():
            scores = draw.node("Mul", *draw.shuffled((scores, draw.constant(np.array(0.5, np.float32)))))
        else:
            scores = draw.node("Add", *draw.shuffled((scores, draw.input((*stack, 3, 2), symbols=0.0))))
    return scores


def _turned(draw: Draw, axis: int, order: Sequence[int] | None = None) -> onnx.ModelProto:
    draw.versions(13)
    stack = [draw.integer(1, 2) for _ in range(draw.integer(0, 2) if order is None else len(order) - 2)]
    rank = 2 + len(stack)
    shares = draw.node("Softmax", _scores(draw, stack), axis=axis + rank if draw.chance() else axis)
    return draw.model(draw.node("Transpose", shares, perm=list(order or _swapped(rank))))


def softmax_over_rows(draw: Draw) -> onnx.ModelProto:
    return _turned(draw, -2)


def softmax_over_rows__last_axis(draw: Draw) -> onnx.ModelProto:
    return _turned(draw, -1)


def softmax_over_rows__other_order(draw: Draw) -> onnx.ModelProto:
    return _turned(draw, -2, draw.choice(([2, 0, 1], [1, 0, 2], [2, 1, 0])))
