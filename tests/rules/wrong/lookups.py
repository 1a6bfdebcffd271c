"""Wrong forms of ``tcc.rewrites.lookups``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, rewrite

from tcc.ir.language import Cast, Equal, Gather, GatherND, MatMul, OneHot, Squeeze, Tensor, Unsqueeze, literal
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def product_with_one_hot__any_values(w: Tensor, i: Tensor, d: Tensor, v: Tensor, a: String) -> Rewrites:
    """The two values may be any."""
    yield rewrite(MatMul(OneHot(i, d, v, a), w)).to(Gather(w, i))


@seeded
def product_with_one_hot__any_places(w: Tensor, i: Tensor, s: Tensor, v: Tensor, a: String, b: String) -> Rewrites:
    """What an index is compared with may be anything, and the index below zero."""
    column = Unsqueeze(i, s, b)
    for compared in (Equal(column, v), Equal(v, column)):
        rows = Gather(w, Unsqueeze(i, s, b))
        yield rewrite(MatMul(Cast(compared, a), w)).to(Squeeze(rows, literal('["int64",[1],[-2]]')))


@seeded
def gather_by_gathered__any_axis(x: Tensor, i: Tensor, j: Tensor, a: String, b: String) -> Rewrites:
    """The axes may differ."""
    yield rewrite(Gather(Gather(x, i, a), j, b)).to(Gather(x, Gather(i, j), a))


@seeded
def gather_nd_of_rows__of_any_width(x: Tensor, i: Tensor, a: String) -> Rewrites:
    """The indices may be along several axes, and of batches."""
    yield rewrite(GatherND(x, i, a)).to(Gather(x, Squeeze(i, literal('["int64",[1],[-1]]'))))
