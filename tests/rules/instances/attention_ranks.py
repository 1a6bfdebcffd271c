"""Instances of ``tcc.rewrites.attention_ranks``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

_VIEWED = ("view_is_reshape", "view_of_own_shape")
COMPANIONS = {
    "scale_of_rows_into_queries": (),
    "transpose_of_view": _VIEWED,
    "product_of_views": _VIEWED,
    "softmax_of_view": _VIEWED,
    "sum_through_view": ("product_of_views", "transpose_of_view", *_VIEWED),
    "two_sums_through_view": (),
}


def _sizes(draw: Draw) -> tuple[int, int, int, int, int, int]:
    b, h, s, t, e, f = (draw.integer(2, 3) for _ in range(6))
    return b, h, s, t + 2, e + 4, f


def _three(draw: Draw, lead: tuple[int, ...], *, symbols: bool = False) -> tuple[Value, Value, Value]:
    _, _, s, t, e, f = _sizes(draw)
    names: list[str | int] = ["batch" if symbols else lead[0], *lead[1:]]
    q = draw.input_of(draw.array((*lead, s, e)), names=[*names, s, e])
    k = draw.input_of(draw.array((*lead, e, t)), names=[*names, e, t])
    v = draw.input_of(draw.array((*lead, t, f)), names=[*names, t, f])
    return q, k, v


def _scalar(draw: Draw, value: float) -> Value:
    return draw.constant(np.array(value, np.float32))


def attention_of_other_rank(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    lead = draw.choice(((3,), (2,), (2, 3, 2), (1, 2, 3), (2, 2, 1, 3)))
    q, k, v = _three(draw, lead, symbols=draw.chance(0.3))
    scores = draw.node("MatMul", q, k)
    if draw.chance(0.7):
        scores = draw.node("Mul", scores, _scalar(draw, draw.choice((0.5, 1.5))))
    if draw.chance(0.6):
        whole = (*lead, q.shape[-2], k.shape[-1])
        shapes = (whole, whole[-2:], (1, whole[-1]), (*lead, 1, whole[-1]), (*[1] * len(lead), *whole[-2:]))
        scores = draw.node("Add", *draw.shuffled((scores, draw.constant(draw.array(draw.choice(shapes))))))
    softmax = draw.node("Softmax", scores, axis=draw.choice((-1, len(lead) + 1)))
    return draw.model(draw.node("MatMul", softmax, v))


def attention_of_other_rank__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    q, k, v = _three(draw, draw.choice(((3,), (2, 3, 2))))
    softmax = draw.node("Softmax", draw.node("MatMul", q, k), axis=draw.choice((-2, 0, 1)))
    return draw.model(draw.node("MatMul", softmax, v))


def attention_of_other_rank__broadcast(draw: Draw) -> onnx.ModelProto:
    """An operand has other leading dimensions than the others, a mask has some of them."""
    draw.versions(23)
    lead = draw.choice(((3,), (2, 3, 2)))
    q, k, v = _three(draw, lead)
    e, t = k.shape[-2:]
    if draw.chance():
        k = draw.input((*[1] * len(lead), e, t), symbols=0.0)
        return draw.model(draw.node("MatMul", draw.node("Softmax", draw.node("MatMul", q, k), axis=-1), v))
    mask = draw.constant(draw.array((*[1] * (len(lead) - 1), lead[-1], q.shape[-2], t)))
    scores = draw.node("Add", draw.node("MatMul", q, k), mask)
    return draw.model(draw.node("MatMul", draw.node("Softmax", scores, axis=-1), v))


def attention_of_other_rank__scale(draw: Draw) -> onnx.ModelProto:
    """A scale that is negative."""
    draw.versions(23)
    q, k, v = _three(draw, draw.choice(((3,), (2, 3, 2))))
    scores = draw.node("Mul", draw.node("MatMul", q, k), _scalar(draw, -0.5))
    return draw.model(draw.node("MatMul", draw.node("Softmax", scores, axis=-1), v))


def scale_of_rows_into_queries(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    lead = draw.choice(((2, 3), (3,), (2, 3, 2)))
    q, k, _ = _three(draw, lead)
    shape = draw.choice(((lead[-1], 1, 1), (*lead, 1, 1)))
    c = draw.operand(draw.array(shape), constant=draw.chance())
    return draw.model(draw.node("Softmax", draw.node("Mul", *draw.shuffled((draw.node("MatMul", q, k), c))), axis=-1))


def scale_of_rows_into_queries__along_rows(draw: Draw) -> onnx.ModelProto:
    """The factor differs between keys or queries, or widens the scores."""
    draw.versions(23)
    q, k, _ = _three(draw, (1, 3))
    s, t = q.shape[-2], k.shape[-1]
    shape = draw.choice(((t,), (s, 1), (3, s, 1), (2, 1, 1, 1), (2, 1, 1, 1, 1)))
    c = draw.constant(draw.array(shape))
    return draw.model(draw.node("Softmax", draw.node("Mul", draw.node("MatMul", q, k), c), axis=-1))


def _merged(draw: Draw, x: Value) -> Value:
    """A view of three dimensions of a tensor of four."""
    b, h, s, e = x.shape
    target = draw.choice(([b * h, s, e], [-1, s, e]))
    made = draw.node("Reshape", x, draw.constant(np.array(target, np.int64)))
    return Value(made.name, "float32", (b * h, s, e))


def _four(draw: Draw) -> tuple[Value, Value, Value]:
    b, h, *_ = _sizes(draw)
    return _three(draw, (b, h))


def transpose_of_view(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    q, _, _ = _four(draw)
    turned = draw.node("Transpose", _merged(draw, q), perm=[0, 2, 1])
    other = draw.input((q.shape[0] * q.shape[1], q.shape[2], 3), symbols=0.0)
    return draw.model(draw.node("Softmax", draw.node("MatMul", turned, other), axis=-1), turned)


def transpose_of_view__of_others(draw: Draw) -> onnx.ModelProto:
    """Other axes are exchanged, or the matrices are not kept."""
    draw.versions(23)
    q, _, _ = _four(draw)
    b, h, s, e = q.shape
    if draw.chance():
        x = draw.node("Reshape", q, draw.constant(np.array([b, s, h * e], np.int64)))
        turned, rows, columns = draw.node("Transpose", x, perm=[0, 2, 1]), b, s
    else:
        turned, rows, columns = draw.node("Transpose", _merged(draw, q), perm=[1, 0, 2]), s, e
    other = draw.input((rows, columns, 3), symbols=0.0)
    return draw.model(draw.node("Softmax", draw.node("MatMul", turned, other), axis=-1), turned)


def product_of_views(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    q, k, _ = _four(draw)
    scores = draw.node("MatMul", _merged(draw, q), _merged(draw, k))
    return draw.model(draw.node("Softmax", scores, axis=-1), scores)


def product_of_views__of_others(draw: Draw) -> onnx.ModelProto:
    """The leading dimensions are split in two ways, or one operand's are 1."""
    draw.versions(23)
    _, _, s, t, e, _ = _sizes(draw)
    first, second = draw.choice((((2, 1), (1, 2)), ((1, 3), (3, 1)), ((2, 3), (1, 1))))
    q, k = draw.input((*first, s, e), symbols=0.0), draw.input((*second, e, t), symbols=0.0)
    scores = draw.node("MatMul", _merged(draw, q), _merged(draw, k))
    return draw.model(draw.node("Softmax", scores, axis=-1), scores)


def softmax_of_view(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    q, k, _ = _four(draw)
    scores = draw.node("MatMul", q, k)
    scores = Value(scores.name, "float32", (*q.shape[:3], k.shape[3]))
    return draw.model(draw.node("Softmax", _merged(draw, scores), axis=draw.choice((-1, 2))))


def softmax_of_view__of_others(draw: Draw) -> onnx.ModelProto:
    """Softmax runs over another axis, or the view does not keep the last."""
    draw.versions(23)
    q, k, _ = _four(draw)
    scores = draw.node("MatMul", q, k)
    b, h, s = q.shape[:3]
    if draw.chance():
        merged = _merged(draw, Value(scores.name, "float32", (b, h, s, k.shape[3])))
        return draw.model(draw.node("Softmax", merged, axis=draw.choice((0, 1, -2))))
    joined = draw.node("Reshape", scores, draw.constant(np.array([b, h, -1], np.int64)))
    return draw.model(draw.node("Softmax", joined, axis=-1))


def sum_through_view(draw: Draw) -> onnx.ModelProto:
    """Something is added to scores under a view of three or of five dimensions."""
    draw.versions(23)
    q, k, _ = _four(draw)
    b, h, s, _ = q.shape
    t = k.shape[3]
    whole = draw.constant(np.array([b, h, s, t], np.int64))
    if draw.chance():
        scores = draw.node("MatMul", _merged(draw, q), _merged(draw, k))
        shape = draw.choice(((b * h, 1, t), (b * h, s, t), (1, s, t), (s, t), (t,), (b * h, s, 1)))
    else:
        scores = draw.node("MatMul", q, k)
        scores = draw.node("Reshape", scores, draw.constant(np.array([1, b, h, s, t], np.int64)))
        shape = draw.choice(((1, b, 1, s, t), (b, h, s, t), (1, 1, 1, s, t), (1, s, t), (h, 1, t)))
    total = draw.node("Add", *draw.shuffled((scores, draw.constant(draw.array(shape)))))
    return draw.model(draw.node("Softmax", draw.node("Reshape", total, whole), axis=-1))


def sum_through_view__of_part(draw: Draw) -> onnx.ModelProto:
    """What is added has some of the dimensions that the view puts together, or widens the scores."""
    draw.versions(23)
    q, k, _ = _three(draw, (6, 2))
    _, h, s, _ = q.shape
    t = k.shape[3]
    scores = draw.node("MatMul", q, k)
    split = draw.node("Reshape", scores, draw.constant(np.array([2, 3, h, s, t], np.int64)))
    mask = draw.constant(draw.array(draw.choice(((2, 1, 1, s, t), (1, 3, 1, 1, t), (3, h, s, t)))))
    total = draw.node("Reshape", draw.node("Add", split, mask), draw.constant(np.array([6, h, s, t], np.int64)))
    return draw.model(draw.node("Softmax", total, axis=-1))


def _two_sums(draw: Draw, first: tuple[int, ...], second: tuple[int, ...]) -> onnx.ModelProto:
    """Scores of [6, 4, 6] with something added to them as [6, 2, 2, 2, 3], and something else."""
    draw.versions(23)
    q, k = draw.input((6, 4, 5), symbols=0.0), draw.input((6, 5, 6), symbols=0.0)
    scores = draw.node("MatMul", q, k)
    apart = draw.node("Reshape", scores, draw.constant(np.array([6, 2, 2, 2, 3], np.int64)))
    total = draw.node("Add", *draw.shuffled((apart, draw.input(first, symbols=0.0))))
    total = draw.node("Add", *draw.shuffled((total, draw.input(second, symbols=0.0))))
    back = draw.node("Reshape", total, draw.constant(np.array([6, 4, draw.choice((6, -1))], np.int64)))
    return draw.model(draw.node("Softmax", back, axis=-1))


def two_sums_through_view(draw: Draw) -> onnx.ModelProto:
    parts = draw.choice((((6, 2, 2, 2, 1), (6, 2, 2, 1, 3)), ((6, 1, 2, 2, 1), (1, 2, 1, 1, 3))))
    return _two_sums(draw, *draw.shuffled(parts))


def two_sums_through_view__of_part(draw: Draw) -> onnx.ModelProto:
    """Both together are smaller than the scores."""
    return _two_sums(draw, *draw.choice((((6, 2, 2, 1, 1), (6, 2, 1, 1, 3)), ((2, 1, 1, 3), (6, 2, 2, 1, 3)))))
