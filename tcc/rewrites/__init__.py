"""Rule sets as data: every module here is one, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

from tcc.cache import kept
from tcc.ir import translated
from tcc.ir.queries import Query
from tcc.rewrites.rule import Equality, Rule, Stored, is_rule

__all__ = ["Equality", "Rule", "Stored", "find", "rules", "stored"]
_HELPERS = frozenset({"rule"})


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule of every rule set, by file name, then in the order of declaration.

    Raises:
        ValueError: two rules share a name.
    """
    return find(__name__, list(__path__))


def find(package: str, path: list[str]) -> tuple[Rule, ...]:
    """The rules of a package's modules, by file name, then in the order of declaration.

    Raises:
        ValueError: two rules share a name.
    """
    found: dict[str, Rule] = {}
    for info in sorted(pkgutil.iter_modules(path), key=lambda info: info.name):
        if info.ispkg or info.name.startswith("_") or info.name in _HELPERS:
            continue
        module = importlib.import_module(f"{package}.{info.name}")
        for rule in filter(is_rule, vars(module).values()):
            if found.setdefault(rule.name, rule) is not rule:
                message = f"two rules are called {rule.name}"
                raise ValueError(message)
    return tuple(found.values())


@cache
def stored() -> tuple[Stored, ...]:
    """Every rule as compilations use it, translated once: from the user's cache where the sources are the same."""
    sources = [*translated.sources(), Path(__file__).parent]
    return tuple(_stored(*kept_rule) for kept_rule in kept("rules", sources, _translate))


def _stored(name: str, equality: str, needs: Any, first: int, last: int, mentions: Any, queries: Any) -> Stored:
    read = tuple(Query(*query) for query in queries)
    return Stored(name, Equality(equality), tuple(map(frozenset, needs)), first, last, frozenset(mentions), read)


def _translate() -> list[tuple[Any, ...]]:
    found = [rule.stored for rule in rules()]
    return [
        (r.name, r.equality.value, [*map(sorted, r.needs)], r.first_opset, r.last_opset, sorted(r.mentions),
         [tuple(query) for query in r.queries])
        for r in found
    ]  # fmt: skip
