"""Instances of ``tcc.rewrites.rotary``: the forms that exporters write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

OPEN = 2**63 - 1


@dataclass
class _Case:
    """Sizes and the layout of one instance."""

    b: int
    h: int
    s: int
    d: int
    heads_first: bool
    lead: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.b, self.h, self.s, self.d) if self.heads_first else (self.b, self.s, self.h, self.d)

    def angles(self, width: int) -> tuple[int, ...]:
        return (self.lead, 1, self.s, width) if self.heads_first else (self.lead, self.s, 1, width)


def _case(draw: Draw) -> _Case:
    b = draw.integer(1, 3)
    heads_first = draw.chance()
    return _Case(b, draw.integer(2, 3), draw.integer(4, 5), 2 * draw.integer(2, 4), heads_first, draw.choice((1, b)))


def _input(draw: Draw, case: _Case) -> Value:
    names = [f"n{case.b}" if draw.chance(0.3) and case.lead == case.b else case.b, *case.shape[1:]]
    if draw.chance(0.3) and names[0] == case.b and case.lead == 1:
        return draw.input(case.shape, symbols=0.0)
    return draw.input_of(draw.array(case.shape), names=names)


def _angle(draw: Draw, case: _Case, width: int) -> np.ndarray:
    found = draw.array(case.angles(width))
    while case.lead == 1 and found.ndim > 2 and found.shape[0] == 1 and draw.chance():
        found = found[0]
    return found


def _doubled(draw: Draw, half: np.ndarray, *, pairs: bool) -> tuple[Value, Value]:
    """Cosines and sines with each angle twice: constants, or computed in one of the ways that exporters write."""
    if draw.chance(0.4):
        made = [np.repeat(f(half), 2, -1) if pairs else np.concatenate([f(half)] * 2, -1) for f in (np.cos, np.sin)]
        return draw.constant(made[0]), draw.constant(made[1])
    x = draw.input(half.shape, symbols=0.0)
    draw.feeds[x.name] = half
    if not pairs:
        whole = draw.node("Concat", x, x, axis=draw.choice((-1, half.ndim - 1)))
        scale = draw.constant(np.array(0.5, np.float32))
        return draw.node("Cos", whole), draw.node("Mul", *draw.shuffled((draw.node("Sin", whole), scale)))
    column = op.reshape(draw, x, (*half.shape, 1))
    way = draw.choice(("Expand", "Tile", "Concat"))
    if way == "Concat":
        spread = draw.node("Concat", column, column, axis=-1)
    else:
        repeats = np.array([*(half.shape if way == "Expand" else (1,) * half.ndim), 2], np.int64)
        spread = draw.node(way, column, draw.constant(repeats))
    whole = op.reshape(draw, spread, (*half.shape[:-1], 2 * half.shape[-1]))
    return draw.node("Cos", whole), draw.node("Sin", whole)


def _halves(draw: Draw, x: Value, case: _Case) -> list[Value]:
    """Both halves of the last axis."""
    if draw.chance():
        return op.split(draw, x, draw.choice((-1, 3)), [case.d // 2] * 2)
    axis, h = draw.choice((-1, 3)), case.d // 2
    return [op.slice_(draw, x, [0], [h], [axis]), op.slice_(draw, x, [h], [draw.choice((OPEN, case.d))], [axis])]


def _pairs(draw: Draw, x: Value, case: _Case) -> list[Value]:
    """Elements of even and of odd places."""
    return [op.slice_(draw, x, [i], [OPEN], [-1], steps=[2]) for i in (0, 1)]


def _stacked(draw: Draw, parts: list[Value], case: _Case) -> Value:
    columns = [op.unsqueeze(draw, part, [draw.choice((-1, 4))]) for part in parts]
    return draw.node("Concat", *columns, axis=draw.choice((-1, 4)))


def _sum(draw: Draw, operator: str, a: tuple[Value, Value], b: tuple[Value, Value]) -> Value:
    products = [draw.node("Mul", *draw.shuffled(pair)) for pair in (a, b)]
    return draw.node(operator, *(products if operator == "Sub" else draw.shuffled(products)))


def _whole(draw: Draw, case: _Case, *, pairs: bool, twice: bool = True, sign: int = 1) -> onnx.ModelProto:
    """x cos + (-x2, x1) sin."""
    x = _input(draw, case)
    half = _angle(draw, case, case.d // 2)
    c, s = (
        _doubled(draw, half, pairs=pairs)
        if twice
        else [draw.constant(draw.array((*half.shape[:-1], case.d))) for _ in range(2)]
    )
    first, second = (_pairs if pairs else _halves)(draw, x, case)
    turned = [draw.node("Neg", second), first] if sign > 0 else [second, draw.node("Neg", first)]
    if pairs:
        across = op.reshape(draw, _stacked(draw, turned, case), case.shape)
    else:
        across = draw.node("Concat", *turned, axis=draw.choice((-1, 3)))
    return draw.model(_sum(draw, "Add", (x, c), (across, s)))


def _by_parts(draw: Draw, case: _Case, form: str, *, sign: str = "Sub") -> onnx.ModelProto:
    """(x1 cos - x2 sin, x1 sin + x2 cos)."""
    half = case.d // 2
    angles = _angle(draw, case, half)
    c, s = draw.constant(np.cos(angles)), draw.constant(np.sin(angles))
    if form == "apart":
        x = draw.input((*case.shape[:3], half, 2), symbols=0.0)
        if draw.chance():
            parts = [draw.node("Gather", x, draw.constant(np.array(i)), axis=draw.choice((4, -1))) for i in (0, 1)]
        else:
            parts = [op.squeeze(draw, p, [4]) for p in op.split(draw, x, -1, [1, 1])]
    else:
        x = _input(draw, case)
        parts = (_pairs if form == "pairs" else _halves)(draw, x, case)
    p, q = parts
    made = [_sum(draw, sign, (p, c), (q, s)), _sum(draw, "Add", (p, s), (q, c))]
    if form == "halves":
        return draw.model(draw.node("Concat", *made, axis=draw.choice((-1, 3))))
    stacked = _stacked(draw, made, case)
    return draw.model(op.reshape(draw, stacked, case.shape) if form == "pairs" or draw.chance() else stacked)


def rotary_embedding(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    case = _case(draw)
    if draw.chance():
        return _whole(draw, case, pairs=draw.chance())
    return _by_parts(draw, case, draw.choice(("halves", "pairs", "apart")))


def rotary_embedding__angles_differ(draw: Draw) -> onnx.ModelProto:
    """The two elements of a pair are turned by different angles."""
    draw.versions(23)
    return _whole(draw, _case(draw), pairs=draw.chance(), twice=False)


def rotary_embedding__other_direction(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    case = _case(draw)
    return _whole(draw, case, pairs=draw.chance(), sign=-1)


def rotary_embedding__sum_of_parts(draw: Draw) -> onnx.ModelProto:
    """The real part is a sum."""
    draw.versions(23)
    case = _case(draw)
    return _by_parts(draw, case, draw.choice(("halves", "pairs", "apart")), sign="Add")


def rotary_embedding__angles_of_heads(draw: Draw) -> onnx.ModelProto:
    """Angles that differ from head to head, or are the same for all places."""
    draw.versions(23)
    case = _case(draw)
    x = draw.input(case.shape, symbols=0.0)
    half = draw.array(draw.choice(((1, *case.shape[1:3], case.d // 2), (1, 1, 1, case.d // 2))))
    c, s = (draw.constant(np.concatenate([f(half)] * 2, -1)) for f in (np.cos, np.sin))
    first, second = _halves(draw, x, case)
    across = draw.node("Concat", draw.node("Neg", second), first, axis=-1)
    return draw.model(_sum(draw, "Add", (x, c), (across, s)))


def _cache(draw: Draw, case: _Case, width: int) -> tuple[Value, Value]:
    angles = draw.array((case.b, case.s, width))
    return draw.constant(np.cos(angles)), draw.constant(np.sin(angles))


def rotary_embedding_of_moved_heads(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    case = _case(draw)
    x = draw.input((case.b, case.s, case.h, case.d), symbols=0.0)
    c, s = _cache(draw, case, case.d // 2)
    y = draw.node("Transpose", x, perm=[0, 2, 1, 3])
    return draw.model(draw.node("RotaryEmbedding", y, c, s, interleaved=draw.choice((None, 0, 1))))


def rotary_embedding_of_moved_heads__other_order(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    case = _case(draw)
    c, s = _cache(draw, case, case.d // 2)
    shape, perm = draw.choice((((case.h, case.b, case.s, case.d), [1, 0, 2, 3]),
                               ((case.b, case.h, case.d, case.s), [0, 1, 3, 2])))  # fmt: skip
    y = draw.node("Transpose", draw.input(shape, symbols=0.0), perm=perm)
    return draw.model(draw.node("RotaryEmbedding", y, c, s))


def _led(draw: Draw, width: int, start: int) -> onnx.ModelProto:
    case = _case(draw)
    x = draw.input((case.b, case.h, case.s, 10), symbols=0.0)
    c, s = _cache(draw, case, width // 2)
    axis = draw.choice((-1, 3))
    first = draw.node("RotaryEmbedding", op.slice_(draw, x, [0], [width], [axis]), c, s,
                      interleaved=draw.choice((None, 1)))  # fmt: skip
    return draw.model(draw.node("Concat", first, op.slice_(draw, x, [start], [OPEN], [axis]), axis=axis))


def rotary_embedding_of_leading_part(draw: Draw) -> onnx.ModelProto:
    draw.versions(23)
    width = draw.choice((2, 4, 6, 8))
    return _led(draw, width, width)


def rotary_embedding_of_leading_part__gap(draw: Draw) -> onnx.ModelProto:
    """What follows does not begin where the first elements end."""
    draw.versions(23)
    return _led(draw, 4, draw.choice((2, 6)))
