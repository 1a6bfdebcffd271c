"""How a wrong rule is declared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from egglog import RewriteOrRule

from tcc.rewrites import rules
from tcc.rewrites.laws import laws
from tcc.rewrites.rule import Patterns, Rule

Rewrites = Iterator[RewriteOrRule]
_REAL = {rule.name: rule for rule in (*rules(), *laws())}


def seeded(patterns: Patterns) -> Rule:
    """A wrong rule with the promise of the real one, which the part of its name before two underscores names.

    Its docstring says what is wrong.
    """
    real = _REAL[patterns.__name__.partition("__")[0]]
    return replace(real, name=patterns.__name__, algebra=patterns.__doc__ or "", patterns=patterns)
