"""Instances of the rules, found by name: one module a rule-set file, one function a rule.

``<rule>`` makes models that hold the rule's left side; ``<rule>__<what>`` is a near miss that violates one of its
conditions. A module's ``UNCONDITIONAL`` names the rules that have no condition to violate, ``COMPANIONS`` the rules
that have to run along because they make what a rule's left side names.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType, ModuleType

import onnx

from tests.rules.draw import Draw

Generator = Callable[[Draw], onnx.ModelProto]
MARK = "__"


@dataclass(frozen=True)
class Instances:
    """What generators there are for one rule: of its left side, and of near misses by name."""

    fitting: Generator | None = None
    near_misses: dict[str, Generator] = field(default_factory=dict)
    unconditional: bool = False
    companions: tuple[str, ...] = ()

    def generators(self) -> list[Generator]:
        """All of them."""
        return [generator for _, generator in self.items()]

    def items(self) -> Iterator[tuple[str, Generator]]:
        """All of them by name; the fitting one's is empty."""
        if self.fitting is not None:
            yield "", self.fitting
        yield from self.near_misses.items()


def _public(module: ModuleType) -> dict[str, Generator]:
    """The functions that a module defines, its helpers left out."""
    functions = {n: f for n, f in vars(module).items() if isinstance(f, FunctionType) and not n.startswith("_")}
    return {n: f for n, f in functions.items() if f.__module__ == module.__name__}


@cache
def instances() -> dict[str, Instances]:
    """The generators of every rule that has one, by the rule's name."""
    found: dict[str, Instances] = {}
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{info.name}")
        public = _public(module)
        for rule in dict.fromkeys(name.partition(MARK)[0] for name in public):
            misses = {n.removeprefix(rule + MARK): f for n, f in public.items() if n.startswith(rule + MARK)}
            found[rule] = Instances(
                public.get(rule), misses, rule in getattr(module, "UNCONDITIONAL", ()),
                getattr(module, "COMPANIONS", {}).get(rule, ()),
            )  # fmt: skip
    return found
