"""Wrong forms of ``tcc.rewrites.attention_ranks``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Attention,
    MatMul,
    Mul,
    Reshape,
    Softmax,
    Tensor,
    Transpose,
    absent,
    kind,
    literal,
    view,
)  # fmt: skip
from tcc.rewrites import _attention as attention
from tcc.rewrites import _conditions as when
from tcc.rewrites import _folds as folds
from tests.rules.wrong._seeding import Rewrites, seeded

SWAP = '{"perm":[0,1,3,2]}'


@seeded
def attention_of_other_rank__any_axis(
    y: Tensor, s: Tensor, q: Tensor, k: Tensor, v: Tensor, a: String, n: String, kq: String, kk: String, kv: String,
    ky: String, fq: String, fk: String, fv: String, rq: String, rk: String, rv: String, ry: String,
) -> Rewrites:  # fmt: skip
    """Softmax may run over any axis."""
    types = (
        eq(kq).to(kind(q)), eq(kk).to(kind(k)), eq(kv).to(kind(v)), eq(ky).to(kind(y)), *given(fq, folds.folded(kq)),
        *given(fk, folds.folded(kk)), *given(fv, folds.folded(kv)), *given(rq, folds.folding(kq)),
        *given(rk, folds.folding(kk)), *given(rv, folds.folding(kv)), *given(ry, folds.unfolding(ky)),
        *given(n, attention.attributes_of(fq, fk, fv, String("{}"), String(""))),
    )  # fmt: skip
    q4, v4 = Reshape(q, literal(rq)), Reshape(v, literal(rv))
    made = Attention(q4, Transpose(Reshape(k, literal(rk)), SWAP), v4, absent(), absent(), absent(), n)
    yield rule(eq(y).to(MatMul(Softmax(s, a), v)), eq(s).to(MatMul(q, k)), *types).then(
        union(y).with_(Reshape(made, literal(ry)))
    )


@seeded
def scale_of_rows_into_queries__any_shape(p: Tensor, s: Tensor, q: Tensor, k: Tensor, c: Tensor, a: String) -> Rewrites:
    """The factor may have any shape."""
    for product in (Mul(MatMul(q, k), c), Mul(c, MatMul(q, k))):
        yield rule(eq(p).to(Softmax(s, a)), eq(s).to(product)).then(union(s).with_(MatMul(Mul(q, c), k)))


@seeded
def transpose_of_view__any_axes(t: Tensor, x: Tensor, y: Tensor, a: String, k: String, w: String) -> Rewrites:
    """Any axes may be exchanged."""
    yield rule(
        eq(t).to(Transpose(x, a)), view(x, y), eq(k).to(kind(x)), eq(w).to(kind(y)), folds.keeps_matrices(k, w)
    ).then(view(t, Transpose(y, SWAP)))


@seeded
def transpose_of_view__any_view(t: Tensor, x: Tensor, y: Tensor, a: String, k: String, w: String) -> Rewrites:
    """The view need not keep the matrices."""
    yield rule(
        eq(t).to(Transpose(x, a)), view(x, y), eq(k).to(kind(x)), eq(w).to(kind(y)), folds.exchanges_matrices(a, k),
        when.rank_is(w, 4),
    ).then(view(t, Transpose(y, SWAP)))  # fmt: skip


@seeded
def product_of_views__any_leading(
    t: Tensor, x: Tensor, y: Tensor, x4: Tensor, y4: Tensor, k: String, w: String, k4: String, w4: String
) -> Rewrites:
    """The leading dimensions of the operands need not be the same."""
    types = eq(k).to(kind(x)), eq(w).to(kind(y)), eq(k4).to(kind(x4)), eq(w4).to(kind(y4))
    yield rule(
        eq(t).to(MatMul(x, y)), view(x, x4), view(y, y4), *types, folds.keeps_matrices(k, k4),
        folds.keeps_matrices(w, w4),
    ).then(view(t, MatMul(x4, y4)))  # fmt: skip


@seeded
def softmax_of_view__any_axis(t: Tensor, x: Tensor, y: Tensor, a: String, k: String, w: String) -> Rewrites:
    """Softmax may run over any axis."""
    yield rule(eq(t).to(Softmax(x, a)), view(x, y), eq(k).to(kind(x)), eq(w).to(kind(y)), folds.keeps_last(k, w)).then(
        view(t, Softmax(y, '{"axis":-1}'))
    )


@seeded
def softmax_of_view__any_view(t: Tensor, x: Tensor, y: Tensor, a: String, k: String, w: String) -> Rewrites:
    """The view need not keep the last dimension."""
    yield rule(
        eq(t).to(Softmax(x, a)), view(x, y), eq(k).to(kind(x)), eq(w).to(kind(y)), folds.softmax_is_last(a, k),
        when.rank_is(w, 4),
    ).then(view(t, Softmax(y, '{"axis":-1}')))  # fmt: skip


@seeded
def sum_through_view__as_it_is(
    p: Tensor, t: Tensor, s: Tensor, x: Tensor, y: Tensor, z: Tensor, a: String, kt: String, kz: String
) -> Rewrites:
    """What is added needs no view of its own."""
    for total in (Add(x, y), Add(y, x)):
        yield rule(
            eq(p).to(Softmax(t, a)), view(t, s), eq(s).to(total), view(x, z), eq(kt).to(kind(t)), eq(kz).to(kind(z)),
            when.same_kind(kt, kz),
        ).then(union(t).with_(Add(z, y)))  # fmt: skip
