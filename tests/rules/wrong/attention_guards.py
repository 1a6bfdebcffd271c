"""Wrong forms of ``tcc.rewrites.attention_guards``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.language import (
    Add,
    Attention,
    Cast,
    IsNaN,
    MatMul,
    Mul,
    ReduceMax,
    Reshape,
    Softmax,
    Squeeze,
    Tensor,
    Transpose,
    Where,
    absent,
    kind,
    known,
    literal,
)  # fmt: skip
from tcc.rewrites import _attention as attention
from tcc.rewrites import _conditions as when
from tcc.rewrites.attention import LOW
from tests.rules.wrong._seeding import Rewrites, seeded

LAST, HEADS = literal('["int64",[1],[-1]]'), literal('["int64",[1],[1]]')


@seeded
def guard_of_softmax__of_any(p: Tensor, c: Tensor) -> Rewrites:
    """Nothing is ever NaN."""
    yield rewrite(Where(IsNaN(p), c, p)).to(p)


@seeded
def guard_of_hidden_rows__mean(p: Tensor, s: Tensor, v: Tensor, b: Tensor, x: Tensor, m: Tensor, c: Tensor, a: String,
                               w: String, f: String) -> Rewrites:  # fmt: skip
    """What sees nothing takes the mean of all values."""
    hidden = Softmax(Add(s, Where(b, m, x)), a)
    yield rewrite(MatMul(Where(IsNaN(p), c, p), v)).to(
        MatMul(Softmax(Add(s, Where(b, m, literal(LOW))), a), v), eq(p).to(hidden), eq(w).to(known(x)),
        attention.is_minus_infinity(w), eq(f).to(known(m)), attention.is_moderate(f),
    )  # fmt: skip


@seeded
def guard_of_hidden_rows__hidden(p: Tensor, s: Tensor, v: Tensor, b: Tensor, x: Tensor, m: Tensor, c: Tensor, a: String,
                                 z: String, w: String, f: String) -> Rewrites:  # fmt: skip
    """The flags are taken for those of what is seen, where they are those of what is hidden."""
    hidden = Softmax(Add(s, Where(b, x, m)), a)
    seen = ReduceMax(Cast(b, '{"to":1}'), LAST, "{}")
    yield rewrite(MatMul(Where(IsNaN(p), c, p), v)).to(
        Mul(MatMul(Softmax(Add(s, Where(b, literal(LOW), m)), a), v), seen), eq(p).to(hidden), eq(w).to(known(x)),
        eq(z).to(known(c)), when.all_equal_to(z, 0), attention.is_minus_infinity(w), eq(f).to(known(m)),
        attention.is_moderate(f),
    )  # fmt: skip


@seeded
def hidden_rows_of_joined_heads__any_factor(q: Tensor, k: Tensor, v: Tensor, m: Tensor, r: Tensor, c: Tensor, d: String,
                                            e: String, n: String, kr: String) -> Rewrites:  # fmt: skip
    """The factor of the first head is that of all."""
    x = Attention(q, k, v, m, absent(), absent(), n)
    first = ReduceMax(r, HEADS, "{}")
    yield rewrite(Reshape(Transpose(Mul(x, r), d), c, e)).to(
        Mul(Reshape(Transpose(x, d), c, e), Squeeze(first, HEADS)), attention.swaps_heads(d), eq(kr).to(kind(r)),
        when.is_single(kr),
    )  # fmt: skip
