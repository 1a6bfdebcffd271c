"""Wrong forms of ``tcc.rewrites.casts``."""

from __future__ import annotations

from egglog import String, rewrite

from tcc.ir.language import Cast, Tensor
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def cast_of_cast__of_any(x: Tensor, a: String, b: String) -> Rewrites:
    """The type in between may hold less."""
    yield rewrite(Cast(Cast(x, a), b)).to(Cast(x, b))
