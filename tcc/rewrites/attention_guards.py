"""Attention whose softmax is guarded against NaN: a query that sees no key gives zeros."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule, union

from tcc.ir.language import (
    Add,
    Attention,
    Cast,
    IsNaN,
    MatMul,
    Mul,
    Not,
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
    masked,
)  # fmt: skip
from tcc.rewrites import _attention as attention
from tcc.rewrites import _conditions as when
from tcc.rewrites import _folds as folds
from tcc.rewrites.attention import ATTENTION, FIRST, LOW
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
LAST, HEADS = literal('["int64",[1],[-1]]'), literal('["int64",[1],[1]]')
SINGLE = '{"to":1}'


@exact(Equality.VALUE, "softmax of finite scores is a number", "Softmax", "IsNaN", "Where")
def guard_of_softmax(
    p: Tensor, t: Tensor, s: Tensor, q: Tensor, k: Tensor, m: Tensor, c: Tensor, d: Tensor, a: String, z: String
) -> Rewrites:
    """Where(IsNaN(P), 0, P) = P for P = Softmax(c Q Kt + M), if no number of M is infinite."""
    for scores in (MatMul(q, k), Mul(MatMul(q, k), d)):
        yield rewrite(Where(IsNaN(p), c, p)).to(
            p, eq(z).to(known(c)), when.all_equal_to(z, 0), eq(p).to(Softmax(t, a)), masked(t, s, m), eq(s).to(scores)
        )


@exact(Equality.VALUE, "softmax of minus infinities alone is NaN", "Softmax", "IsNaN", "Where", first_opset=FIRST)
def guard_of_hidden_rows(
    y: Tensor, p: Tensor, t: Tensor, s: Tensor, q: Tensor, k: Tensor, v: Tensor, b: Tensor, x: Tensor, m: Tensor,
    c: Tensor, d: Tensor, e: Tensor, a: String, z: String, w: String, f: String, ks: String,
) -> Rewrites:  # fmt: skip
    """P' V = any(B) (Softmax(S + (0 where B, else lowest)) V), P' the softmax of S + (0 where B, else -inf), NaN as 0.

    A row of scores that B hides altogether is NaN, and then zeros; one of lowest numbers is their mean, times zero.
    """
    low = literal(LOW)
    single = eq(ks).to(kind(s)), when.is_single(ks), folds.softmax_is_last(a, ks)
    infinite = eq(w).to(known(x)), attention.is_minus_infinity(w)
    moderate = eq(f).to(known(m)), attention.is_moderate(f)
    for scores in (MatMul(q, k), Mul(MatMul(q, k), d)):
        guarded = (
            eq(y).to(MatMul(Where(IsNaN(p), c, p), v)), eq(z).to(known(c)), when.all_equal_to(z, 0),
            eq(p).to(Softmax(t, a)), eq(s).to(scores), *single, *infinite,
        )  # fmt: skip
        for seen, chosen, kept in (
            (b, Where(b, m, x), Where(b, m, low)),
            (Not(b), Where(b, x, m), Where(b, low, m)),
        ):
            made = Mul(MatMul(Softmax(Add(s, kept), a), v), ReduceMax(Cast(seen, SINGLE), LAST, "{}"))
            for total in (Add(s, e), Add(e, s)):
                yield rule(*guarded, eq(t).to(total), eq(e).to(chosen), *moderate).then(union(y).with_(made))
        for seen, chosen, kept in (
            (b, Where(b, s, x), Where(b, s, low)),
            (Not(b), Where(b, x, s), Where(b, low, s)),
        ):
            made = Mul(MatMul(Softmax(kept, a), v), ReduceMax(Cast(seen, SINGLE), LAST, "{}"))
            yield rule(*guarded, eq(t).to(chosen)).then(union(y).with_(made))


@exact(Equality.VALUE, ATTENTION, "Softmax", "IsNaN", "Where", first_opset=FIRST)
def hidden_rows_of_joined_heads(
    t: Tensor, o: Tensor, w: Tensor, x: Tensor, r: Tensor, q: Tensor, k: Tensor, v: Tensor, m: Tensor, c: Tensor,
    d: String, e: String, n: String, kr: String, kw: String, kt: String,
) -> Rewrites:  # fmt: skip
    """Attention times a factor of each query, heads joined, is the factor times attention with the heads joined."""
    yield rule(
        eq(t).to(Reshape(o, c, e)), eq(o).to(Transpose(w, d)), eq(w).to(Mul(x, r)),
        eq(x).to(Attention(q, k, v, m, absent(), absent(), n)), attention.swaps_heads(d), eq(kr).to(kind(r)),
        eq(kw).to(kind(w)), eq(kt).to(kind(t)), attention.is_factor_of_queries(kr, kw, kt),
    ).then(union(t).with_(Mul(Reshape(Transpose(x, d), c, e), Squeeze(r, HEADS))))  # fmt: skip
