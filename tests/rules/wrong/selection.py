"""Wrong forms of ``tcc.rewrites.selection``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import Concat, Gather, Slice, Tensor, Tensors, cons, kind, known, literal, view
from tcc.rewrites import _selection as picked
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def gather_of_gather__any_axis(x: Tensor, i: Tensor, j: Tensor, a: String, b: String, k: String, v: String, w: String,
                               n: String) -> Rewrites:  # fmt: skip
    """The axes may differ."""
    facts = eq(k).to(kind(x)), eq(v).to(known(i)), eq(w).to(known(j)), *given(n, picked.of_picked(k, a, v, a, w))
    yield rewrite(Gather(Gather(x, i, a), j, b)).to(Gather(x, literal(n), a), *facts)


@seeded
def gather_of_slice__from_the_front(x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, i: Tensor, a: String,
                                    b: String) -> Rewrites:  # fmt: skip
    """Where the slice starts is forgotten."""
    yield rewrite(Gather(Slice(x, s, e, c, p, a), i, b)).to(Gather(x, i, b))


@seeded
def gather_of_run__two_dimensions(x: Tensor, i: Tensor, b: String, k: String, v: String, n0: String, n1: String,
                                  n2: String, n3: String) -> Rewrites:  # fmt: skip
    """The axis is the first."""
    parts = n0, n1, n2, n3
    made = [fact for at, n in enumerate(parts) for fact in given(n, picked.run(at, k, "{}", v))]
    yield rewrite(Gather(x, i, b)).to(
        Slice(x, *(literal(n) for n in parts)), eq(k).to(kind(x)), eq(v).to(known(i)), *made
    )


@seeded
def one_without_its_axis__first(t: Tensor, x: Tensor, s: Tensor, b: String, k: String, m: String,
                                ks: String, n: String) -> Rewrites:  # fmt: skip
    """Any element may be the first one."""
    types = eq(k).to(kind(x)), eq(m).to(kind(t)), eq(ks).to(known(s))
    yield rule(view(t, Gather(x, s, b)), *types, *given(n, picked.one_gathered(k, m, b, ks))).then(
        union(t).with_(Gather(x, literal('["int64",[],[0]]'), b))
    )


@seeded
def concat_of_slices__any(x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, t: Tensor, f: Tensor, d: Tensor,
                          q: Tensor, xs: Tensors, a: String) -> Rewrites:  # fmt: skip
    """They need not touch."""
    yield rewrite(Concat(cons(Slice(x, s, e, c, p), cons(Slice(x, t, f, d, q), xs)), a)).to(
        Concat(cons(Slice(x, s, f, c, p), xs), a)
    )
