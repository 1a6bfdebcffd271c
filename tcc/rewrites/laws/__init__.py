"""Laws of tensor algebra: equalities in both directions, for deriving others; no level searches with them.

Commutativity, associativity and distributivity make an e-graph of a real model grow without bound, and what they
reach that pays is reached by rules of ``tcc.rewrites`` that go one way under a condition.
"""

from __future__ import annotations

from functools import cache

from tcc.rewrites import find
from tcc.rewrites.rule import Rule

__all__ = ["laws"]


@cache
def laws() -> tuple[Rule, ...]:
    """Every law, by file name, then in the order of declaration."""
    return find(__name__, list(__path__))
