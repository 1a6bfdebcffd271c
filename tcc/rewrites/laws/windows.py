"""Convolutions and pools are linear."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, birewrite, eq, rewrite, rule, set_

from tcc.ir.host import given
from tcc.ir.language import Add, AveragePool, Concat, Conv, Mul, Tensor, absent, cons, kind, nil, structure
from tcc.rewrites import _conditions as when
from tcc.rewrites import _joins as joins
from tcc.rewrites import _kernels as kernels
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
TASO = "TASO, SOSP 2019, table 2"


@exact(Equality.VALUE, TASO, "Conv", "Mul")
def scale_convolution(x: Tensor, w: Tensor, c: Tensor, a: String, q: String) -> Rewrites:
    """c Conv(x, w) = Conv(c x, w) = Conv(x, c w) for a scalar c."""
    scalar = eq(q).to(kind(c)), when.rank_is(q, 0)
    yield birewrite(Mul(Conv(x, w, absent(), a), c)).to(Conv(Mul(x, c), w, absent(), a), *scalar)
    yield birewrite(Mul(Conv(x, w, absent(), a), c)).to(Conv(x, Mul(w, c), absent(), a), *scalar)


@exact(Equality.VALUE, TASO, "Conv", "Add")
def distribute_convolution(x: Tensor, y: Tensor, z: Tensor, a: String, k: String, m: String) -> Rewrites:
    """Conv(y + z, x) = Conv(y, x) + Conv(z, x) and Conv(x, y + z) = Conv(x, y) + Conv(x, z), y and z of one type."""
    types = eq(k).to(kind(y)), eq(m).to(kind(z)), when.same_kind(k, m)
    yield birewrite(Conv(Add(y, z), x, absent(), a)).to(Add(Conv(y, x, absent(), a), Conv(z, x, absent(), a)), *types)
    yield birewrite(Conv(x, Add(y, z), absent(), a)).to(Add(Conv(x, y, absent(), a), Conv(x, z, absent(), a)), *types)


@exact(Equality.VALUE, TASO, "AveragePool", "Mul|Add")
def linear_pool(x: Tensor, y: Tensor, c: Tensor, a: String, k: String, m: String, q: String) -> Rewrites:
    """AveragePool(x + y) = AveragePool(x) + AveragePool(y) for x and y of one type; scalar factors likewise."""
    types = eq(k).to(kind(x)), eq(m).to(kind(y)), when.same_kind(k, m)
    yield birewrite(AveragePool(Add(x, y), a)).to(Add(AveragePool(x, a), AveragePool(y, a)), *types)
    yield birewrite(AveragePool(Mul(x, c), a)).to(Mul(AveragePool(x, a), c), eq(q).to(kind(c)), when.rank_is(q, 0))


@exact(Equality.VALUE, TASO, "AveragePool")
def mean_of_identity(w: Tensor, t: Tensor, a: String, s: String, k: String, n: String) -> Rewrites:
    """The average pool, padding counted, of the kernel of an identity as wide as the pool is the kernel of a mean."""
    yield rule(
        eq(t).to(AveragePool(w, a)), eq(s).to(structure(w)), eq(k).to(kind(w)), *given(n, kernels.pooled(s, k, a))
    ).then(set_(structure(t)).to(n))


@exact(Equality.VALUE, f"{TASO}: merging of groups", "Conv", "Mul", "Concat")
def merge_groups(x: Tensor, w: Tensor, m: Tensor, a: String, b: String, n: String, s: String, k: String, q: String,
                 ) -> Rewrites:  # fmt: skip
    """Conv(x, w) of g groups = Conv(x, [w w] m) of g / 2, the mask m zero where the other group's channels stand."""
    joined = Mul(Concat(cons(w, cons(w, nil())), b), m)
    yield rewrite(Conv(x, joined, absent(), a)).to(
        Conv(x, w, absent(), n), eq(s).to(structure(m)), eq(k).to(kind(m)), eq(q).to(kind(w)),
        joins.joins_along(b, q, 1), *given(n, kernels.unmerged(s, k, q, a)),
    )  # fmt: skip
