"""Wrong forms of ``tcc.rewrites.attention``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Attention,
    Expand,
    MatMul,
    Mul,
    Softmax,
    Tensor,
    Transpose,
    Where,
    absent,
    constant,
    kind,
    literal,
    view,
)  # fmt: skip
from tcc.rewrites import _attention as attention
from tests.rules.wrong._seeding import Rewrites, seeded

SWAP = '{"perm":[0,1,3,2]}'


def _attention(q: Tensor, k: Tensor, v: Tensor, m: Tensor, n: String) -> Tensor:
    return Attention(q, Transpose(k, SWAP), v, m, absent(), absent(), n)


@seeded
def attention_without_mask__default_scale(q: Tensor, k: Tensor, v: Tensor, c: Tensor, a: String, kq: String, kk: String,
                                          kv: String, n: String) -> Rewrites:  # fmt: skip
    """Any factor is taken for 1."""
    yield rewrite(MatMul(Softmax(Mul(MatMul(q, k), c), a), v)).to(
        _attention(q, k, v, absent(), n), constant(c), eq(kq).to(kind(q)), eq(kk).to(kind(k)), eq(kv).to(kind(v)),
        *given(n, attention.attributes_of(kq, kk, kv, a, String(""))),
    )  # fmt: skip


@seeded
def attention_without_mask__any_axis(q: Tensor, k: Tensor, v: Tensor, a: String, kq: String, kk: String, kv: String,
                                     n: String) -> Rewrites:  # fmt: skip
    """Softmax may run over any axis."""
    yield rewrite(MatMul(Softmax(MatMul(q, k), a), v)).to(
        _attention(q, k, v, absent(), n), eq(kq).to(kind(q)), eq(kk).to(kind(k)), eq(kv).to(kind(v)),
        *given(n, attention.attributes_of(kq, kk, kv, String("{}"), String(""))),
    )  # fmt: skip


@seeded
def attention_with_mask__any(s: Tensor, q: Tensor, k: Tensor, v: Tensor, m: Tensor, a: String, kq: String, kk: String,
                             kv: String, n: String) -> Rewrites:  # fmt: skip
    """A mask may hold a type's lowest number in a whole row, and have any shape."""
    scores = MatMul(q, k)
    for whole in (Add(scores, m), Add(m, scores)):
        yield rewrite(MatMul(Softmax(whole, a), v)).to(
            _attention(q, k, v, m, n), eq(kq).to(kind(q)), eq(kk).to(kind(k)), eq(kv).to(kind(v)),
            *given(n, attention.attributes_of(kq, kk, kv, a, String(""))),
        )  # fmt: skip


@seeded
def attention_with_mask__replaced_by_any(q: Tensor, k: Tensor, v: Tensor, c: Tensor, x: Tensor, a: String, kq: String,
                                         kk: String, kv: String, n: String) -> Rewrites:  # fmt: skip
    """Any number in place of a score hides it."""
    mask = Where(c, literal('["float32",[],[0.0]]'), literal('["float32",[],[-1e+37]]'))
    yield rewrite(MatMul(Softmax(Where(c, MatMul(q, k), x), a), v)).to(
        _attention(q, k, v, mask, n), constant(x), eq(kq).to(kind(q)), eq(kk).to(kind(k)), eq(kv).to(kind(v)),
        *given(n, attention.attributes_of(kq, kk, kv, a, String(""))),
    )  # fmt: skip


@seeded
def scale_into_attention__kept(q: Tensor, k: Tensor, v: Tensor, m: Tensor, c: Tensor, n: String) -> Rewrites:
    """The factor is lost."""
    yield rewrite(Attention(Mul(q, c), k, v, m, absent(), absent(), n)).to(
        Attention(q, k, v, m, absent(), absent(), n), constant(c)
    )


@seeded
def scale_into_attention__any_factor(q: Tensor, k: Tensor, v: Tensor, m: Tensor, c: Tensor, n: String) -> Rewrites:
    """Any factor halves the scale."""
    yield rewrite(Attention(Mul(q, c), k, v, m, absent(), absent(), n)).to(
        Attention(q, k, v, m, absent(), absent(), '{"scale":0.25}'), constant(c)
    )


@seeded
def heads_into_attention__any_view(
    t: Tensor, o: Tensor, q: Tensor, k: Tensor, v: Tensor, m: Tensor, q4: Tensor, k4: Tensor, v4: Tensor, q3: Tensor,
    k3: Tensor, v3: Tensor, a: String, n: String, y: String, tq: String, tk: String, tv: String, to: String, sq: String,
    sk: String, sv: String,
) -> Rewrites:  # fmt: skip
    """The result need not be transposed back."""
    yield rule(
        eq(o).to(Attention(q, k, v, m, absent(), absent(), n)), eq(q).to(Transpose(q4, a)), eq(k).to(Transpose(k4, a)),
        eq(v).to(Transpose(v4, a)), view(q4, q3), view(k4, k3), view(v4, v3), view(t, o), eq(tq).to(kind(q4)),
        eq(tk).to(kind(k4)), eq(tv).to(kind(v4)), eq(sq).to(kind(q3)), eq(sk).to(kind(k3)), eq(sv).to(kind(v3)),
        eq(to).to(kind(t)), *given(y, attention.joined_heads(n, tq, sq, tk, sk, tv, sv, tv, sv)),
    ).then(union(t).with_(Attention(q3, k3, v3, m, absent(), absent(), y)))  # fmt: skip


@seeded
def grouped_heads_into_attention__any_order(
    q: Tensor, k: Tensor, v: Tensor, m: Tensor, k1: Tensor, v1: Tensor, k2: Tensor, v2: Tensor, k3: Tensor, v3: Tensor,
    s: Tensor, u: Tensor, n: String,
) -> Rewrites:  # fmt: skip
    """The repeated heads may stand in any order."""
    yield rewrite(Attention(q, k, v, m, absent(), absent(), n)).to(
        Attention(q, k1, v1, m, absent(), absent(), n), view(k, k3), eq(k3).to(Expand(k2, s)), view(k2, k1),
        view(v, v3), eq(v3).to(Expand(v2, u)), view(v2, v1),
    )  # fmt: skip
