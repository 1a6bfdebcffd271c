"""Broadcasting that is written out: operators broadcast by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    And,
    Div,
    Equal,
    Expand,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Mul,
    Or,
    ReduceMax,
    ReduceMean,
    ReduceSum,
    Sub,
    Tensor,
    Where,
    kind,
    known,
    literal,
    view,
)  # fmt: skip
from tcc.rewrites import _broadcasting as broadcast
from tcc.rewrites import _conditions as when
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification, broadcasting"
BINARY = Add, Sub, Mul, Div, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, And, Or
NAMES = "Add|Sub|Mul|Div|Equal|Greater|GreaterOrEqual|Less|LessOrEqual|And|Or"


@exact(Equality.BITS, ONNX, "Expand", NAMES, first_opset=7)
def expand_before_elementwise(
    x: Tensor, y: Tensor, s: Tensor, a: String, b: String, k: String, m: String, t: String
) -> Rewrites:
    """f(Expand(x), y) = f(x, y) where y alone makes the result as wide, for operators of two elements."""
    types = eq(k).to(kind(x)), eq(m).to(kind(y))
    for f in BINARY:
        left, right = f(Expand(x, s, a), y, b), f(y, Expand(x, s, a), b)
        yield rewrite(left).to(f(x, y, b), *types, eq(t).to(kind(left)), broadcast.reach(k, m, t))
        yield rewrite(right).to(f(y, x, b), *types, eq(t).to(kind(right)), broadcast.reach(k, m, t))


@exact(Equality.BITS, ONNX, "Expand", "Where", first_opset=9)
def expand_before_where(
    c: Tensor, x: Tensor, y: Tensor, s: Tensor, a: String, q: String, k: String, m: String, t: String
) -> Rewrites:
    """Where(c, Expand(x), y) = Where(c, x, y) where the others make the result as wide; for each of the three."""
    types = eq(q).to(kind(c)), eq(k).to(kind(x)), eq(m).to(kind(y))
    for operands in ((Expand(c, s, a), x, y), (c, Expand(x, s, a), y), (c, x, Expand(y, s, a))):
        wide = Where(*operands)
        yield rewrite(wide).to(Where(c, x, y), *types, eq(t).to(kind(wide)), broadcast.reach_three(q, k, m, t))


@exact(Equality.BITS, ONNX, "Expand")
def expand_of_expand(x: Tensor, s: Tensor, r: Tensor, a: String, b: String, k: String, n: String) -> Rewrites:
    """Expand(Expand(x)) = Expand(x) to the shape of the result, where that is known."""
    wide = Expand(Expand(x, s, a), r, b)
    yield rewrite(wide).to(Expand(x, literal(n), b), eq(k).to(kind(wide)), *given(n, when.static_shape(k)))


@exact(Equality.BITS, "ONNX operator specification, reductions: keepdims", "ReduceMean|ReduceSum|ReduceMax",
       "Reshape|Unsqueeze|Flatten|Squeeze")  # fmt: skip
def reduce_with_dimensions(
    t: Tensor, x: Tensor, s: Tensor, a: String, b: String, k: String, m: String, v: String
) -> Rewrites:
    """A view that puts the dimensions back that a reduction dropped is the reduction with keepdims=1."""
    for reduce in (ReduceMean, ReduceSum, ReduceMax):
        facts = eq(k).to(kind(t)), eq(m).to(kind(x)), eq(v).to(known(s))
        yield rule(view(t, reduce(x, s, a)), *facts, *given(b, broadcast.with_kept(a, v, k, m))).then(
            union(t).with_(reduce(x, s, b))
        )
