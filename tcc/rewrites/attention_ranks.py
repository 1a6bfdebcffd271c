"""Attention of three or more than four dimensions, or whose scores change their rank on the way to the softmax."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import Fact, RewriteOrRule, String, eq, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Attention,
    Concat,
    Expand,
    MatMul,
    Mul,
    Reshape,
    Softmax,
    Tensor,
    Transpose,
    absent,
    cons,
    entry,
    kind,
    known,
    literal,
    masked,
    nil,
    view,
)  # fmt: skip
from tcc.rewrites import _attention as attention
from tcc.rewrites import _conditions as when
from tcc.rewrites import _folds as folds
from tcc.rewrites import _numbers as number
from tcc.rewrites.attention import ATTENTION, FIRST, SWAP
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification"
VIEWS = "Reshape|Squeeze|Unsqueeze|Flatten"


@exact(Equality.VALUE, ATTENTION, "Softmax", "MatMul", first_opset=FIRST)
def attention_of_other_rank(
    y: Tensor, t: Tensor, s: Tensor, q: Tensor, k: Tensor, v: Tensor, c: Tensor, m: Tensor, a: String, n: String,
    z: String, kq: String, kk: String, kv: String, ks: String, ky: String, km: String, fq: String, fk: String,
    fv: String, rq: String, rk: String, rv: String, ry: String, rm: String, ro: String,
) -> Rewrites:  # fmt: skip
    """Softmax(c Q Kt + M) V = Attention(Q, K, V, M) under views of four dimensions, for three and for more than four.

    Of three, the heads are one; of more, all dimensions between the first and the matrices are the heads.
    """
    types: tuple[Fact, ...] = (
        eq(kq).to(kind(q)), eq(kk).to(kind(k)), eq(kv).to(kind(v)), eq(ks).to(kind(s)), eq(ky).to(kind(y)),
        folds.softmax_is_last(a, ks), *given(fq, folds.folded(kq)), *given(fk, folds.folded(kk)),
        *given(fv, folds.folded(kv)), *given(rq, folds.folding(kq)), *given(rk, folds.folding(kk)),
        *given(rv, folds.folding(kv)), *given(ry, folds.unfolding(ky)),
    )  # fmt: skip
    last = String("{}")
    scaled: tuple[Fact, ...] = (eq(z).to(known(c)), number.is_positive(z))
    q4, v4 = Reshape(q, literal(rq)), Reshape(v, literal(rv))
    k4 = Transpose(Reshape(k, literal(rk)), SWAP)
    m4 = Reshape(m, literal(rm))
    forms = (
        (MatMul(q, k), given(n, attention.attributes_of(fq, fk, fv, last, String("")))),
        (Mul(MatMul(q, k), c), (*scaled, *given(n, attention.attributes_of(fq, fk, fv, last, z)))),
    )
    for scores, key in forms:
        made = Reshape(Attention(q4, k4, v4, absent(), absent(), absent(), n), literal(ry))
        plain = eq(y).to(MatMul(Softmax(s, a), v)), eq(s).to(scores)
        yield rule(*plain, *types, *key).then(union(y).with_(made))
        whole = eq(y).to(MatMul(Softmax(t, a), v)), masked(t, s, m), eq(s).to(scores)
        added = eq(km).to(kind(m)), *given(rm, folds.folding_mask(km, ks))
        made = Reshape(Attention(q4, k4, v4, m4, absent(), absent(), n), literal(ry))
        yield rule(*whole, *added, *types, *key).then(union(y).with_(made))
        row = eq(km).to(kind(m)), *given(rm, folds.folding_row(km, ks)), *given(ro, folds.rows_of(ks))
        made = Reshape(Attention(q4, k4, v4, Expand(m4, literal(ro)), absent(), absent(), n), literal(ry))
        yield rule(*whole, *row, *types, *key).then(union(y).with_(made))


@exact(Equality.VALUE, "distributive law", "Softmax", "MatMul", "Mul", first_opset=FIRST)
def scale_of_rows_into_queries(
    p: Tensor, s: Tensor, t: Tensor, q: Tensor, k: Tensor, c: Tensor, m: Tensor, a: String, kc: String, ks: String
) -> Rewrites:
    """c (Q Kt) = (c Q) Kt in a softmax, for a c that is the same along the last two dimensions and no scalar."""
    for product in (Mul(MatMul(q, k), c), Mul(c, MatMul(q, k))):
        facts = eq(s).to(product), eq(kc).to(kind(c)), eq(ks).to(kind(s)), folds.scales_rows(kc, ks)
        yield rule(eq(p).to(Softmax(s, a)), *facts).then(union(s).with_(MatMul(Mul(q, c), k)))
        yield rule(masked(t, s, m), *facts).then(union(s).with_(MatMul(Mul(q, c), k)))


@exact(Equality.BITS, ONNX, "Softmax", "MatMul", "Transpose", VIEWS, first_opset=FIRST)
def transpose_of_view(t: Tensor, x: Tensor, y: Tensor, a: String, k: String, w: String) -> Rewrites:
    """The matrices of a view that keeps the matrices, transposed, are a view of the transposed matrices."""
    yield rule(
        eq(t).to(Transpose(x, a)), view(x, y), eq(k).to(kind(x)), eq(w).to(kind(y)), folds.exchanges_matrices(a, k),
        folds.keeps_matrices(k, w),
    ).then(view(t, Transpose(y, SWAP)))  # fmt: skip


@exact(Equality.VALUE, ONNX, "Softmax", "MatMul", VIEWS, first_opset=FIRST)
def product_of_views(
    t: Tensor, x: Tensor, y: Tensor, x4: Tensor, y4: Tensor, k: String, w: String, k4: String, w4: String
) -> Rewrites:
    """MatMul of views that keep the matrices is a view of the MatMul of four dimensions."""
    types = eq(k).to(kind(x)), eq(w).to(kind(y)), eq(k4).to(kind(x4)), eq(w4).to(kind(y4))
    yield rule(
        eq(t).to(MatMul(x, y)), view(x, x4), view(y, y4), *types, folds.keeps_matrices(k, k4),
        folds.keeps_matrices(w, w4), folds.share_leading(k, w), folds.share_leading(k4, w4),
    ).then(view(t, MatMul(x4, y4)))  # fmt: skip


@exact(Equality.VALUE, ONNX, "Softmax", "MatMul", VIEWS, first_opset=FIRST)
def softmax_of_view(t: Tensor, x: Tensor, y: Tensor, a: String, k: String, w: String) -> Rewrites:
    """Softmax over the last dimension of a view that keeps it is a view of the softmax."""
    yield rule(
        eq(t).to(Softmax(x, a)), view(x, y), eq(k).to(kind(x)), eq(w).to(kind(y)), folds.softmax_is_last(a, k),
        folds.keeps_last(k, w),
    ).then(view(t, Softmax(y, '{"axis":-1}')))  # fmt: skip


@exact(Equality.VALUE, ONNX, "Softmax", "Add", "MatMul", VIEWS, first_opset=FIRST)
def sum_through_view(
    p: Tensor, t: Tensor, s: Tensor, x: Tensor, y: Tensor, z: Tensor, m: Tensor, a: String, kt: String, ks: String,
    kx: String, ky: String, kz: String, n: String, e: String, f: String, g: String, h: String,
) -> Rewrites:  # fmt: skip
    """A view of x + y in a softmax is z + y', z the view of x of the same shape and y' what y is under the view."""
    entries = nil()
    for size in (h, g, f, e):
        entries = cons(entry(size), entries)
    sizes = [fact for i, size in enumerate((e, f, g, h)) for fact in given(size, folds.moved_size(i, ky, ks, kt))]
    for total in (Add(x, y), Add(y, x)):
        types = eq(kt).to(kind(t)), eq(ks).to(kind(s)), eq(ky).to(kind(y)), eq(kz).to(kind(z)), eq(kx).to(kind(x))
        facts = view(t, s), eq(s).to(total), view(x, z), *types, when.same_kind(kt, kz), when.same_kind(kx, ks)
        for used in (eq(p).to(Softmax(t, a)), masked(p, t, m)):
            yield rule(used, *facts, *given(n, folds.moved_shape(ky, ks, kt))).then(
                union(t).with_(Add(z, Reshape(y, literal(n))))
            )
            yield rule(used, *facts, *sizes).then(union(t).with_(Add(z, Reshape(y, Concat(entries, '{"axis":0}')))))


@exact(Equality.VALUE, "associative law", "Softmax", "Add", "MatMul", VIEWS, first_opset=FIRST)
def two_sums_through_view(
    p: Tensor, t: Tensor, s: Tensor, u: Tensor, x: Tensor, y: Tensor, w: Tensor, z: Tensor, m: Tensor, a: String,
    kt: String, ks: String, kx: String, ky: String, kw: String, kz: String, n: String,
) -> Rewrites:  # fmt: skip
    """A view of (x + y) + w in a softmax is z + (y + w) under that view, if x has z's under it, and y + w x's shape.

    So are positions in two directions added, each the same for all places in the other one.
    """
    types = (
        eq(kt).to(kind(t)), eq(ks).to(kind(s)), eq(kx).to(kind(x)), eq(ky).to(kind(y)), eq(kw).to(kind(w)),
        eq(kz).to(kind(z)), when.same_kind(kt, kz), when.same_kind(kx, ks), *given(n, folds.of_both(ky, kw, ks, kt)),
    )  # fmt: skip
    for inner in (Add(x, y), Add(y, x)):
        for outer in (Add(u, w), Add(w, u)):
            facts = view(t, s), eq(s).to(outer), eq(u).to(inner), view(x, z), *types
            for used in (eq(p).to(Softmax(t, a)), masked(p, t, m)):
                yield rule(used, *facts).then(union(t).with_(Add(z, Reshape(Add(y, w), literal(n)))))
