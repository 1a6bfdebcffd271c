"""Instances of ``tcc.rewrites.attention``: the forms that exporters write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

Sizes = tuple[int, int, int, int, int, int]
"""Batch, heads, queries, keys, head size, value size."""
LOWEST = float(np.finfo(np.float32).min)
COMPANIONS = {
    "scale_into_attention": ("attention_without_mask",),
    "heads_into_attention": ("attention_without_mask", "transpose_of_transpose"),
    "grouped_heads_into_attention": ("attention_without_mask", "transpose_of_transpose", "transpose_nothing"),
}


def _sizes(draw: Draw) -> Sizes:
    b, h, s, t, e, f = (draw.integer(1, 3) for _ in range(6))
    return b, h, s, t, e + 1, f


def _three(draw: Draw, sizes: Sizes, symbols: float = 0.0) -> tuple[Value, Value, Value]:
    b, h, s, t, e, f = sizes
    names: list[str | int] = ["batch" if symbols and draw.chance() else b, h]
    rows = "queries" if symbols and s > 1 else s
    q = draw.input_of(draw.array((b, h, s, e)), names=[*names, rows, e])
    k = draw.input_of(draw.array((b, h, e, t)), names=[*names, e, t])
    v = draw.input_of(draw.array((b, h, t, f)), names=[*names, t, f])
    return q, k, v


def _scalar(draw: Draw, value: float) -> Value:
    return draw.constant(np.array(value, np.float32))


def _scores(draw: Draw, q: Value, k: Value) -> Value:
    product = draw.node("MatMul", q, k)
    return draw.node("Mul", product, _scalar(draw, draw.choice((0.25, 0.5, 1.5)))) if draw.chance(0.7) else product


def _softmax(draw: Draw, x: Value, axis: int | None = None) -> Value:
    return draw.node("Softmax", x, axis=draw.choice((-1, 3)) if axis is None else axis)


def attention_without_mask(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    q, k, v = _three(draw, _sizes(draw), symbols=draw.choice((0.0, 1.0)))
    return draw.model(draw.node("MatMul", _softmax(draw, _scores(draw, q, k)), v))


def attention_without_mask__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    q, k, v = _three(draw, (2, 2, 3, 3, 4, 2))
    return draw.model(draw.node("MatMul", _softmax(draw, _scores(draw, q, k), draw.choice((1, 2, -2))), v))


def attention_without_mask__broadcast(draw: Draw) -> onnx.ModelProto:
    """Batch or heads of one operand are 1."""
    draw.versions(23)
    shapes = [[2, 3, 4, 5], [2, 3, 5, 6], [2, 3, 6, 2]]
    for shape in draw.subset(shapes, 1)[:2]:
        shape[draw.integer(0, 1)] = 1
    q, k, v = (draw.input(shape, symbols=0.0) for shape in shapes)
    return draw.model(draw.node("MatMul", _softmax(draw, _scores(draw, q, k)), v))


def attention_without_mask__of_one_head(draw: Draw) -> onnx.ModelProto:
    """All queries share one head of keys and values, as in multi-query attention."""
    draw.versions(23)
    shapes = [[2, 3, 4, 5], [2, 1, 5, 6], [2, 1, 6, 2]]
    q, k, v = (draw.input(shape, symbols=0.0) for shape in shapes)
    return draw.model(draw.node("MatMul", _softmax(draw, _scores(draw, q, k)), v))


def attention_without_mask__of_pixels(draw: Draw) -> onnx.ModelProto:
    """Channels that attend to each other: a score sums up all pixels."""
    draw.versions(23)
    q, k, v = (draw.input(shape, symbols=0.0) for shape in ((1, 1, 2, 1300), (1, 1, 1300, 3), (1, 1, 3, 4)))
    return draw.model(draw.node("MatMul", _softmax(draw, _scores(draw, q, k)), v))


def attention_without_mask__scale(draw: Draw) -> onnx.ModelProto:
    """A scale that is negative, or a vector."""
    draw.versions(23)
    q, k, v = _three(draw, (2, 2, 3, 3, 4, 2))
    c = draw.choice((np.float32(-0.5), np.array([0.5, 1, 2], np.float32), np.array([[[0.5]], [[2]]], np.float32)))
    return draw.model(
        draw.node("MatMul", _softmax(draw, draw.node("Mul", draw.node("MatMul", q, k), draw.constant(c))), v)
    )


def attention_without_mask__of_rank(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    lead = draw.choice(((), (2,), (1, 2, 2)))
    q, k, v = (draw.input((*lead, *shape), symbols=0.0) for shape in ((3, 4), (4, 5), (5, 2)))
    return draw.model(draw.node("MatMul", draw.node("Softmax", _scores(draw, q, k), axis=-1), v))


def _hidden(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Which keys a query sees; at times none."""
    return np.asarray(draw.rng.random(shape) < 0.6)


def _mask(draw: Draw, sizes: Sizes) -> Value:
    b, h, s, t, _, _ = sizes
    shape = draw.choice(((s, t), (1, s, t), (h, s, t), (1, 1, s, t), (b, 1, s, t), (b, h, s, t), (b, 1, 1, t), (1, t)))
    form = draw.integer(0, 6)
    if form == 6:
        flags = draw.input_of(_hidden(draw, (b, 1, s, t)), symbols=0.0)
        bias, low = draw.constant(draw.array((1, h, s, t))), draw.choice((LOWEST, -1e4, 0.5))
        return draw.node("Where", flags, *draw.shuffled((bias, _scalar(draw, low))))
    if form == 0:
        return draw.constant(draw.array(shape))
    if form == 1:
        flags = draw.input_of(_hidden(draw, shape), symbols=0.0)
        low = draw.choice((LOWEST, -1e4, -1e9))
        values = (_scalar(draw, 0), _scalar(draw, low))
        return draw.node("Where", flags, *draw.shuffled(values))
    if form == 2:
        flags = draw.node("Cast", draw.input_of(_hidden(draw, shape).astype(np.int64), symbols=0.0), to=1)
        return draw.node("Mul", draw.node("Sub", _scalar(draw, 1), flags), _scalar(draw, draw.choice((LOWEST, -1e4))))
    if form == 4:
        low = draw.choice((LOWEST, -np.inf)) if s <= t else LOWEST
        whole = draw.node("Expand", _scalar(draw, low), draw.input_of(np.array([s, t], np.int64), symbols=0.0))
        return draw.node("Trilu", draw.declare(whole, (s, t)), draw.constant(np.array(draw.integer(1, 2), np.int64)))
    if form == 5:
        return draw.node("Mul", draw.constant(draw.array((h, 1, 1))), draw.constant(draw.array((1, s, t))))
    causal = np.where(np.tril(np.ones((s, t))), 0, draw.choice((LOWEST, -np.inf))).astype(np.float32)
    return draw.constant(causal)


def attention_with_mask(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    sizes = _sizes(draw)
    q, k, v = _three(draw, sizes, symbols=draw.choice((0.0, 1.0)))
    scores = _scores(draw, q, k)
    if draw.chance(0.7):
        scores = draw.node("Add", *draw.shuffled((scores, _mask(draw, sizes))))
    else:
        flags = draw.input_of(
            _hidden(draw, draw.choice(((sizes[2], sizes[3]), (sizes[0], 1, sizes[2], sizes[3])))), symbols=0.0
        )
        low = _scalar(draw, draw.choice((LOWEST, -1e9)))
        scores = draw.node("Where", flags, *draw.shuffled((scores, low)))
        if draw.chance():
            scores = draw.node("Add", scores, _mask(draw, sizes))
    return draw.model(draw.node("MatMul", _softmax(draw, scores), v))


def attention_with_mask__scaled_behind(draw: Draw) -> onnx.ModelProto:
    """The masked scores are scaled: by a factor that shrinks them, or by one that is negative or too small."""
    draw.versions(23)
    sizes = _sizes(draw)
    q, k, v = _three(draw, sizes)
    scores = draw.node("MatMul", q, k)
    if draw.chance():
        scores = draw.node("Add", *draw.shuffled((scores, _mask(draw, sizes))))
    else:
        flags = draw.input_of(_hidden(draw, (sizes[2], sizes[3])), symbols=0.0)
        scores = draw.node("Where", flags, *draw.shuffled((scores, _scalar(draw, draw.choice((LOWEST, -1e9, 3))))))
    factor = _scalar(draw, draw.choice((0.5, 0.125, 0.25, -0.5, 2, 1e-6)))
    return draw.model(draw.node("MatMul", _softmax(draw, draw.node("Mul", scores, factor)), v))


def attention_with_mask__widens(draw: Draw) -> onnx.ModelProto:
    """The mask makes the scores larger."""
    draw.versions(23)
    q, k, v = _three(draw, (1, 1, 1, 3, 4, 2))
    shape = draw.choice(((2, 3), (2, 1, 1, 3), (1, 2, 1, 3), (2, 1, 3)))
    scores = draw.node("Add", _scores(draw, q, k), draw.constant(draw.array(shape)))
    return draw.model(draw.node("MatMul", _softmax(draw, scores), v))


def attention_with_mask__of_one_key(draw: Draw) -> onnx.ModelProto:
    """The mask is the same for all keys, or has one dimension."""
    draw.versions(23)
    q, k, v = _three(draw, (2, 2, 3, 4, 4, 2))
    shape = draw.choice(((3, 1), (2, 1, 3, 1), (4,), (1,), ()))
    scores = draw.node("Add", _scores(draw, q, k), draw.constant(draw.array(shape)))
    return draw.model(draw.node("MatMul", _softmax(draw, scores), v))


def attention_with_mask__fed(draw: Draw) -> onnx.ModelProto:
    """Nobody knows how low the numbers of the mask are: a row of the lowest one hides nothing."""
    draw.versions(23)
    q, k, v = _three(draw, (2, 2, 3, 4, 4, 2))
    array = np.where(_hidden(draw, (3, 4)), 0, LOWEST).astype(np.float32)
    array[0] = LOWEST
    scores = draw.node("Add", _scores(draw, q, k), draw.operand(array, constant=draw.chance()))
    return draw.model(draw.node("MatMul", _softmax(draw, scores), v))


def attention_with_mask__rows_hidden(draw: Draw) -> onnx.ModelProto:
    """A triangle of minus infinities that may hide a whole row: its softmax is no number."""
    draw.versions(23)
    q, k, v = _three(draw, (2, 2, 3, 4, 4, 2))
    shape = draw.input_of(np.array([3, 4], np.int64), symbols=0.0)
    whole = draw.declare(draw.node("Expand", _scalar(draw, -np.inf), shape), (3, 4))
    upper, diagonal = draw.choice(((1, 0), (1, -1), (0, -1), (0, 3)))
    mask = draw.node("Trilu", whole, draw.constant(np.array(diagonal, np.int64)), upper=upper)
    return draw.model(draw.node("MatMul", _softmax(draw, draw.node("Add", _scores(draw, q, k), mask)), v))


def attention_with_mask__replaced_by(draw: Draw) -> onnx.ModelProto:
    """Scores that are replaced by a number that does not hide."""
    draw.versions(23)
    q, k, v = _three(draw, (2, 2, 3, 4, 4, 2))
    flags = draw.input_of(_hidden(draw, (3, 4)), symbols=0.0)
    low = _scalar(draw, draw.choice((-1.0, 0.0, -5.0, 2.0)))
    scores = draw.node("Where", flags, *draw.shuffled((_scores(draw, q, k), low)))
    return draw.model(draw.node("MatMul", _softmax(draw, scores), v))


def scale_into_attention(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    b, h, s, t, e, f = _sizes(draw)
    q, k = draw.input((b, h, s, e), symbols=0.0), draw.input((b, h, t, e), symbols=0.0)
    v = draw.input((b, h, t, f), symbols=0.0)
    which = draw.integer(0, 2)
    if which != 1:
        q = draw.node("Mul", q, _scalar(draw, 0.5))
    if which != 0:
        k = draw.node("Mul", k, _scalar(draw, 0.7))
    return draw.model(draw.node("Attention", q, k, v, scale=0.5))


def scale_into_attention__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    q, k, v = (draw.input((2, 2, 3, 4), symbols=0.0) for _ in range(3))
    c = draw.choice((np.array([0.5, 1, 2, 3], np.float32), np.array([[[0.5]], [[2]]], np.float32), np.float32(-0.5)))
    scaled = draw.node("Mul", draw.choice((q, k)), draw.constant(c))
    operands = (scaled, k) if draw.chance() else (q, scaled)
    return draw.model(draw.node("Attention", *operands, v, scale=0.5))


def _split(draw: Draw, x: Value, sizes: tuple[int, int, int, int], perm: tuple[int, ...] = (0, 2, 1, 3)) -> Value:
    """``[B, S, H E]`` as ``[B, H, S, E]``."""
    return draw.node("Transpose", op.reshape(draw, x, sizes), perm=list(perm))


def _split_attention(
    draw: Draw, sizes: Sizes, perm: tuple[int, ...] = (0, 2, 1, 3), *, twist: bool = False
) -> onnx.ModelProto:
    b, h, s, t, e, f = sizes
    q, k, v = (draw.input((b, n, h * d), symbols=0.0) for n, d in ((s, e), (t, e), (t, f)))
    k4 = _split(draw, k, (b, t, h, e), (0, 2, 3, 1))
    scores = _scores(draw, _split(draw, q, (b, s, h, e)), k4)
    product = draw.node("MatMul", _softmax(draw, scores), _split(draw, v, (b, t, h, f)))
    joined = draw.node("Transpose", product, perm=list(perm))
    return draw.model(op.reshape(draw, joined, (b, h * f, s) if twist else (b, s, h * f)))


def heads_into_attention(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    return _split_attention(draw, _sizes(draw))


def heads_into_attention__not_joined(draw: Draw) -> onnx.ModelProto:
    """What comes out is not transposed back, or seen as another shape."""
    draw.versions(23)
    if draw.chance():
        return _split_attention(draw, (2, 2, 3, 4, 5, 2), twist=True)
    return _split_attention(draw, (2, 2, 3, 4, 5, 2), (0, 1, 2, 3))


def heads_into_attention__other_view(draw: Draw) -> onnx.ModelProto:
    """The heads come before the sequence in the input."""
    draw.versions(23)
    b, h, s, e = 2, 3, 3, 4
    q, k, v = (draw.input((b, s, h * e), symbols=0.0) for _ in range(3))
    q4, k4, v4 = (op.reshape(draw, x, (b, h, s, e)) for x in (q, k, v))
    scores = _scores(draw, q4, draw.node("Transpose", k4, perm=[0, 1, 3, 2]))
    product = draw.node("MatMul", _softmax(draw, scores), v4)
    return draw.model(op.reshape(draw, draw.node("Transpose", product, perm=[0, 2, 1, 3]), (b, s, h * e)))


def _repeated(draw: Draw, x: Value, sizes: tuple[int, int, int, int], count: int, *, inner: bool = True) -> Value:
    b, h, t, e = sizes
    shape = (b, h, count, t, e) if inner else (b, count, h, t, e)
    apart = op.unsqueeze(draw, x, [2 if inner else 1])
    return op.reshape(draw, draw.node("Expand", apart, draw.constant(np.array(shape))), (b, h * count, t, e))


def _grouped(draw: Draw, *, inner: bool) -> onnx.ModelProto:
    b, h, n, s, t, e, f = 2, draw.integer(1, 3) + (not inner), draw.integer(2, 3), 2, 3, 4, 5
    q = draw.input((b, h * n, s, e), symbols=0.0)
    k, v = draw.input((b, h, t, e), symbols=0.0), draw.input((b, h, t, f), symbols=0.0)
    k, v = (_repeated(draw, x, (b, h, t, d), n, inner=inner) for x, d in ((k, e), (v, f)))
    scores = _scores(draw, q, draw.node("Transpose", k, perm=[0, 1, 3, 2]))
    return draw.model(draw.node("MatMul", _softmax(draw, scores), v))


def grouped_heads_into_attention(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    return _grouped(draw, inner=True)


def grouped_heads_into_attention__interleaved(draw: Draw) -> onnx.ModelProto:
    """All heads one after another, and again: not the groups that Attention means."""
    draw.versions(23)
    return _grouped(draw, inner=False)
