"""Rows of a table by their indices: products with one-hot vectors, and indices of indices."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule

from tcc.ir.host import given
from tcc.ir.language import (
    ArgMax,
    ArgMin,
    Cast,
    Clip,
    Equal,
    Gather,
    GatherND,
    MatMul,
    OneHot,
    Squeeze,
    Tensor,
    form,
    kind,
    known,
    literal,
    view,
)  # fmt: skip
from tcc.rewrites import _lookups as lookup
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification"
LAST = literal('["int64",[1],[-1]]')
INDEX, ONE = map(String, ("index within", "one where index"))
"""Steps: integers within bounds; a last axis of zeros, with a one at the place of an index within bounds."""


@exact(Equality.VALUE, f"{ONNX}, OneHot", "OneHot|Equal", "MatMul")
def product_with_one_hot(
    t: Tensor, x: Tensor, w: Tensor, i: Tensor, u: Tensor, d: Tensor, v: Tensor, a: String, b: String, k: String,
    m: String, n: String, q: String, z: String,
) -> Rewrites:  # fmt: skip
    """MatMul(OneHot(i), w) = Gather(w, i) for indices i that are within bounds, as those of ArgMax are."""
    for place in (ArgMax(x, a), ArgMin(x, a)):
        yield rule(eq(i).to(place), eq(k).to(kind(x)), *given(n, lookup.of_place(k, a))).then(form(i, i, INDEX, n))
    clipped = eq(k).to(kind(i)), lookup.holds_indices(k), eq(m).to(known(d)), eq(z).to(known(v))
    yield rule(eq(i).to(Clip(x, d, v)), *clipped, *given(n, lookup.of_clip(m, z))).then(form(i, i, INDEX, n))
    same = form(x, x, INDEX, n), eq(k).to(kind(i)), lookup.holds_indices(k)
    yield rule(eq(i).to(Cast(x, a)), *same).then(form(i, i, INDEX, n))
    yield rule(view(i, x), *same).then(form(i, i, INDEX, n))
    yield rule(
        eq(t).to(OneHot(i, d, v, a)), eq(k).to(kind(t)), eq(m).to(known(d)), eq(z).to(known(v)),
        *given(n, lookup.of_one_hot(k, a, m, z)),
    ).then(form(t, i, ONE, n))  # fmt: skip
    types = eq(k).to(kind(i)), eq(m).to(kind(u)), eq(z).to(known(v)), eq(q).to(kind(t))
    for compared in (Equal(u, v), Equal(v, u)):
        yield rule(eq(t).to(Cast(compared, a)), view(u, i), *types, *given(n, lookup.of_comparison(k, m, z, q))).then(
            form(t, i, ONE, n)
        )
    yield rewrite(MatMul(t, w)).to(
        Gather(w, i), form(t, i, ONE, n), form(i, i, INDEX, b), eq(k).to(kind(w)), lookup.looks_up(b, n, k)
    )


@exact(Equality.BITS, f"{ONNX}, Gather", "Gather")
def gather_by_gathered(
    x: Tensor, i: Tensor, j: Tensor, a: String, b: String, k: String, m: String, n: String
) -> Rewrites:
    """Gather(Gather(x, i), j) = Gather(x, Gather(i, j)) where j picks of what i has picked, whatever they are."""
    yield rewrite(Gather(Gather(x, i, a), j, b)).to(
        Gather(x, Gather(i, j, n), a), eq(k).to(kind(x)), eq(m).to(kind(i)), *given(n, lookup.within(b, a, k, m))
    )


@exact(Equality.BITS, f"{ONNX}, GatherND", "GatherND", first_opset=13)
def gather_nd_of_rows(x: Tensor, i: Tensor, a: String, k: String) -> Rewrites:
    """GatherND(x, i) = Gather(x, i) along the first axis for an i that ends in vectors of one index."""
    yield rewrite(GatherND(x, i, a)).to(Gather(x, Squeeze(i, LAST)), eq(k).to(kind(i)), lookup.picks_rows(a, k))
