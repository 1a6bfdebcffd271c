"""Rule sets as data: every module here is one, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from tcc.rewrites.rule import Equality, Rule, is_rule

__all__ = ["Equality", "Rule", "rules"]
_HELPERS = frozenset({"rule"})


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule of every rule set, by file name, then in the order of declaration.

    Raises:
        ValueError: two rules share a name.
    """
    found: dict[str, Rule] = {}
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        if info.ispkg or info.name.startswith("_") or info.name in _HELPERS:
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        for rule in filter(is_rule, vars(module).values()):
            if found.setdefault(rule.name, rule) is not rule:
                message = f"two rules are called {rule.name}"
                raise ValueError(message)
    return tuple(found.values())
