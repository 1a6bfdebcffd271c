"""Wrong forms of ``tcc.rewrites.broadcasting``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite, rule, union

from tcc.ir.language import Add, Expand, ReduceSum, Tensor, Where, kind, view
from tcc.rewrites import _conditions as when
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def expand_before_elementwise__alone(x: Tensor, y: Tensor, s: Tensor, a: String, b: String) -> Rewrites:
    """The other operand need not be as wide."""
    yield rewrite(Add(Expand(x, s, a), y, b)).to(Add(x, y, b))


@seeded
def expand_before_where__alone(c: Tensor, x: Tensor, y: Tensor, s: Tensor, a: String) -> Rewrites:
    """The others need not be as wide."""
    yield rewrite(Where(Expand(c, s, a), x, y)).to(Where(c, x, y))


@seeded
def expand_of_expand__last_shape(x: Tensor, s: Tensor, r: Tensor, a: String, b: String) -> Rewrites:
    """The last shape may be narrower than the first."""
    yield rewrite(Expand(Expand(x, s, a), r, b)).to(Expand(x, r, b))


@seeded
def reduce_with_dimensions__anywhere(t: Tensor, x: Tensor, s: Tensor, a: String, k: String, m: String) -> Rewrites:
    """The dimensions may come back anywhere."""
    yield rule(
        view(t, ReduceSum(x, s, a)), eq(k).to(kind(t)), eq(m).to(kind(x)), when.rank_at_least_that_of(k, m)
    ).then(union(t).with_(ReduceSum(x, s)))
