"""Wrong forms of ``tcc.rewrites.choices``."""

# A rule's parameters are its pattern variables.
from __future__ import annotations

from egglog import rewrite

from tcc.ir.language import Not, Tensor, Where
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def where_not__unchanged(c: Tensor, x: Tensor, y: Tensor) -> Rewrites:
    """The branches stay where they are."""
    yield rewrite(Where(Not(c), x, y)).to(Where(c, x, y))


@seeded
def where_decided_before__other_branch(c: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Rewrites:
    """What was not chosen before is chosen now."""
    yield rewrite(Where(c, x, Where(c, y, z))).to(Where(c, x, y))


@seeded
def where_decided_before__by_any(c: Tensor, d: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Rewrites:
    """The conditions may differ."""
    yield rewrite(Where(c, x, Where(d, y, z))).to(Where(c, x, z))
