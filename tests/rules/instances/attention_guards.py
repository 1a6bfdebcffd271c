"""Instances of ``tcc.rewrites.attention_guards``: attention whose softmax is guarded against NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules.draw import Draw, Value
from tests.rules.instances.attention import LOWEST, _hidden, _scalar, _scores, _sizes, _softmax, _three

if TYPE_CHECKING:
    import onnx

COMPANIONS = {
    "guard_of_softmax": ("attention_with_mask",),
    "hidden_rows_of_joined_heads": ("guard_of_hidden_rows", "attention_with_mask", "transpose_of_transpose"),
}


def guard_of_softmax(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    sizes = _sizes(draw)
    q, k, v = _three(draw, sizes)
    p = _softmax(draw, draw.node("Add", _scores(draw, q, k), draw.constant(draw.array(sizes[2:4]))))
    guarded = draw.node("Where", draw.node("IsNaN", p), _scalar(draw, 0), p)
    return draw.model(draw.node("MatMul", guarded, v))


def guard_of_softmax__infinite(draw: Draw) -> onnx.ModelProto:
    """A row of minus infinities, which softmax makes NaN of."""
    draw.versions(23)
    q, k, v = _three(draw, (2, 2, 3, 4, 4, 2))
    array = np.zeros((3, 4), np.float32)
    array[1] = -np.inf
    p = _softmax(draw, draw.node("Add", _scores(draw, q, k), draw.operand(array, constant=draw.chance())))
    return draw.model(draw.node("MatMul", draw.node("Where", draw.node("IsNaN", p), _scalar(draw, 0), p), v))


def guard_of_softmax__of_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    x = draw.input_of(np.array([[np.nan, 1, 2], [0, np.nan, 3]], np.float32), symbols=0.0)
    return draw.model(draw.node("Where", draw.node("IsNaN", x), _scalar(draw, 0), x))


def _guarded(draw: Draw, p: Value, zero: float = 0.0) -> Value:
    return draw.node("Where", draw.node("IsNaN", p), _scalar(draw, zero), p)


def _seen(draw: Draw, shape: tuple[int, ...]) -> Value:
    """Which keys are seen; the first query sees none."""
    flags = _hidden(draw, shape)
    flags[..., 0, :] = False
    return draw.input_of(flags, symbols=0.0)


def _hiding(draw: Draw, scores: Value, flags: Value, low: float = -np.inf) -> Value:
    """Scores of which those that the flags do not name are hidden; or those that they do."""
    number = _scalar(draw, low)
    if draw.chance():
        return draw.node("Where", flags, *draw.shuffled((scores, number)))
    mask = draw.node("Where", flags, *draw.shuffled((_scalar(draw, 0), number)))
    return draw.node("Add", *draw.shuffled((scores, mask)))


def guard_of_hidden_rows(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    sizes = _sizes(draw)
    b, h, s, t, _, _ = sizes
    q, k, v = _three(draw, sizes)
    flags = _seen(draw, draw.choice(((s, t), (1, s, t), (b, 1, s, t), (b, h, s, t), (b, 1, 1, t))))
    return draw.model(draw.node("MatMul", _guarded(draw, _softmax(draw, _hiding(draw, _scores(draw, q, k), flags))), v))


def guard_of_hidden_rows__unguarded(draw: Draw) -> onnx.ModelProto:
    """A row that sees nothing is NaN, and stays so; or another number is put there."""
    draw.versions(23)
    q, k, v = _three(draw, (2, 2, 3, 4, 4, 2))
    p = _softmax(draw, _hiding(draw, _scores(draw, q, k), _seen(draw, (3, 4))))
    return draw.model(draw.node("MatMul", _guarded(draw, p, 1.0) if draw.chance() else p, v))


def guard_of_hidden_rows__lowest(draw: Draw) -> onnx.ModelProto:
    """A row of a type's lowest number is the mean of the values, and no NaN."""
    draw.versions(23)
    q, k, v = _three(draw, (2, 2, 3, 4, 4, 2))
    p = _softmax(draw, _hiding(draw, _scores(draw, q, k), _seen(draw, (3, 4)), LOWEST))
    return draw.model(draw.node("MatMul", _guarded(draw, p), v))


def hidden_rows_of_joined_heads(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    sizes = _sizes(draw)
    b, h, s, t, _, f = sizes
    q, k, v = _three(draw, sizes)
    scores = _hiding(draw, _scores(draw, q, k), _seen(draw, draw.choice(((1, 1, s, t), (b, 1, s, t)))))
    y = draw.node("MatMul", _guarded(draw, _softmax(draw, scores)), v)
    y = draw.node("Transpose", y, perm=[0, 2, 1, 3])
    return draw.model(draw.node("Reshape", y, draw.constant(np.array([b, s, h * f], np.int64))))


def hidden_rows_of_joined_heads__other_view(draw: Draw) -> onnx.ModelProto:
    """The view joins batch and queries, or the factor differs from head to head."""
    draw.versions(23)
    q, k, v = _three(draw, (2, 2, 3, 4, 4, 2))
    shape, joined = draw.choice((((2, 1, 3, 4), [6, 4]), ((2, 2, 3, 4), [2, 3, 4])))
    y = draw.node("MatMul", _guarded(draw, _softmax(draw, _hiding(draw, _scores(draw, q, k), _seen(draw, shape)))), v)
    y = draw.node("Transpose", y, perm=[0, 2, 1, 3])
    return draw.model(draw.node("Reshape", y, draw.constant(np.array(joined, np.int64))))
