"""What picks parts of a tensor: slices and gathers of each other, and what joins the parts again."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Concat,
    Gather,
    Slice,
    Tensor,
    Tensors,
    cons,
    kind,
    known,
    literal,
    view,
)  # fmt: skip
from tcc.rewrites import _selection as picked
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification"
VIEWS = "Reshape|Flatten|Squeeze|Unsqueeze"


@exact(Equality.BITS, ONNX, "Gather")
def gather_of_gather(
    x: Tensor, i: Tensor, j: Tensor, a: String, b: String, k: String, v: String, w: String, n: String
) -> Rewrites:
    """Gather(Gather(x, i), j) = Gather(x, i[j]) along one axis, for known i and j."""
    facts = eq(k).to(kind(x)), eq(v).to(known(i)), eq(w).to(known(j)), *given(n, picked.of_picked(k, a, v, b, w))
    yield rewrite(Gather(Gather(x, i, a), j, b)).to(Gather(x, literal(n), a), *facts)


@exact(Equality.BITS, ONNX, "Gather", "Slice", first_opset=10)
def gather_of_slice(
    x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, i: Tensor, a: String, k: String, w: String, ks: String,
    ke: String, kc: String, kp: String, b: String, n: String,
) -> Rewrites:  # fmt: skip
    """Gather(Slice(x), i) = Gather(x, start + step i) for known i, along the only axis that is sliced."""
    facts = eq(ks).to(known(s)), eq(ke).to(known(e)), eq(kc).to(known(c)), eq(kp).to(known(p))
    yield rewrite(Gather(Slice(x, s, e, c, p, a), i, b)).to(
        Gather(x, literal(n), b), *facts, eq(k).to(kind(x)), eq(w).to(known(i)),
        *given(n, picked.of_sliced(k, ks, ke, kc, kp, b, w)),
    )  # fmt: skip


@exact(Equality.BITS, ONNX, "Gather", first_opset=10)
def gather_of_run(
    x: Tensor, i: Tensor, b: String, k: String, v: String, n0: String, n1: String, n2: String, n3: String
) -> Rewrites:
    """Gather(x, [s, s + p, ...]) is a Slice."""
    parts = n0, n1, n2, n3
    made = [fact for at, n in enumerate(parts) for fact in given(n, picked.run(at, k, b, v))]
    yield rewrite(Gather(x, i, b)).to(
        Slice(x, *(literal(n) for n in parts)), eq(k).to(kind(x)), eq(v).to(known(i)), *made
    )


@exact(Equality.BITS, ONNX, "Slice|Gather", VIEWS, first_opset=10)
def one_without_its_axis(
    t: Tensor, x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, a: String, k: String, m: String, ks: String,
    ke: String, kc: String, kp: String, n: String, b: String,
) -> Rewrites:  # fmt: skip
    """A view that drops the axis on which one element was taken is a Gather of this element."""
    types = eq(k).to(kind(x)), eq(m).to(kind(t))
    facts = eq(ks).to(known(s)), eq(ke).to(known(e)), eq(kc).to(known(c)), eq(kp).to(known(p))
    yield rule(
        view(t, Slice(x, s, e, c, p, a)), *types, *facts, *given(n, picked.one(0, k, m, ks, ke, kc, kp)),
        *given(b, picked.one(1, k, m, ks, ke, kc, kp)),
    ).then(union(t).with_(Gather(x, literal(n), b)))  # fmt: skip
    yield rule(view(t, Gather(x, s, b)), *types, eq(ks).to(known(s)), *given(n, picked.one_gathered(k, m, b, ks))).then(
        union(t).with_(Gather(x, literal(n), b))
    )


@exact(Equality.BITS, ONNX, "Concat", "Slice", first_opset=10)
def concat_of_slices(
    x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, t: Tensor, f: Tensor, d: Tensor, q: Tensor, xs: Tensors,
    a: String, k: String, ks: String, ke: String, kc: String, kp: String, kt: String, kf: String, kd: String,
    kq: String, m0: String, m1: String, m2: String, m3: String,
) -> Rewrites:  # fmt: skip
    """Concat(x[s:m], x[m:e], ...) = Concat(x[s:e], ...) along the axis that is sliced."""
    first = eq(ks).to(known(s)), eq(ke).to(known(e)), eq(kc).to(known(c)), eq(kp).to(known(p)), eq(k).to(kind(x))
    second = eq(kt).to(known(t)), eq(kf).to(known(f)), eq(kd).to(known(d)), eq(kq).to(known(q))
    parts = m0, m1, m2, m3
    made = [g for i, m in enumerate(parts) for g in given(m, picked.joined(i, a, k, ks, ke, kc, kp, kt, kf, kd, kq))]
    whole = Slice(x, *(literal(m) for m in parts))
    yield rewrite(Concat(cons(Slice(x, s, e, c, p), cons(Slice(x, t, f, d, q), xs)), a)).to(
        Concat(cons(whole, xs), a), *first, *second, *made
    )
