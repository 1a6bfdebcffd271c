"""Wrong forms of ``tcc.rewrites.transposes``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Concat,
    Div,
    Mul,
    ReduceSum,
    Reshape,
    Slice,
    Softmax,
    Sub,
    Tensor,
    Transpose,
    cons,
    constant,
    kind,
    known,
    literal,
    nil,
)  # fmt: skip
from tcc.rewrites import _transposes as order
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def transpose_past_operand__the_wrong_way(x: Tensor, y: Tensor, p: String, k: String, m: String,
                                          n: String) -> Rewrites:  # fmt: skip
    """The constant is moved as the tensor is, not back."""
    facts = constant(y), eq(k).to(kind(x)), eq(m).to(kind(y)), *given(n, order.full(m, k))
    for f in (Add, Sub, Mul, Div):
        moved = Transpose(Reshape(y, literal(n)), p)
        yield rewrite(f(Transpose(x, p), y)).to(Transpose(f(x, moved), p), *facts)
        yield rewrite(f(y, Transpose(x, p))).to(Transpose(f(moved, x), p), *facts)


@seeded
def transpose_of_operands__any_order(x: Tensor, y: Tensor, p: String, q: String) -> Rewrites:
    """The permutations may differ."""
    yield rewrite(Add(Transpose(x, p), Transpose(y, q))).to(Transpose(Add(x, y), p))


@seeded
def transpose_through_concat__same_axis(x: Tensor, y: Tensor, p: String, a: String) -> Rewrites:
    """The axis keeps its number."""
    parts = cons(Transpose(x, p), cons(Transpose(y, p), nil()))
    yield rewrite(Concat(parts, a)).to(Transpose(Concat(cons(x, cons(y, nil())), a), p))


@seeded
def transpose_through_parts__same_axes(x: Tensor, s: Tensor, e: Tensor, c: Tensor, d: Tensor, p: String,
                                       a: String) -> Rewrites:  # fmt: skip
    """The axes keep their numbers."""
    yield rewrite(Slice(Transpose(x, p), s, e, c, d, a)).to(Transpose(Slice(x, s, e, c, d, a), p))


@seeded
def transpose_through_reduction__same_axes(x: Tensor, s: Tensor, p: String, a: String) -> Rewrites:
    """The axes keep their numbers."""
    yield rewrite(ReduceSum(Transpose(x, p), s, a)).to(Transpose(ReduceSum(x, s, a), p))


@seeded
def transpose_through_reduction__dropped(x: Tensor, s: Tensor, p: String, a: String, k: String, v: String,
                                         n: String) -> Rewrites:  # fmt: skip
    """What is left may be in another order."""
    yield rewrite(ReduceSum(Transpose(x, p), s, a)).to(
        ReduceSum(x, literal(n), a), eq(k).to(kind(x)), eq(v).to(known(s)), *given(n, order.reduced_axes(v, p, k))
    )


@seeded
def transpose_through_last_axis__of_any(x: Tensor, p: String, a: String) -> Rewrites:
    """The last axis may move."""
    yield rewrite(Softmax(Transpose(x, p), a)).to(Transpose(Softmax(x, a), p))
