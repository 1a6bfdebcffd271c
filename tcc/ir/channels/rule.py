"""Rules: what is said of an operator, by its name; every file of ``rules`` adds to the table."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tcc.ir.channels.links import Link
from tcc.ir.channels.site import Site

if TYPE_CHECKING:
    from tcc.ir.channels.resizing import Resizing

MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Rule:
    """What is said of an operator.

    Args:
        links: which indices of its operands go together.
        resize: adapts what the node says about sizes (attributes, shapes) to the indices that are kept; None where a
            node says nothing about them.
        parametric: whether its constant operands are weights whose axes are channels.
        mask_all: whether one masked operand does not mask the others, as where a bias is added inside.
        zero_points: for ports of quantized operands, the port of the number that stands for 0.
    """

    links: Callable[[Site], Iterable[Link]]
    resize: Callable[[Resizing], None] | None = None
    parametric: bool = False
    mask_all: bool = False
    zero_points: Mapping[int, int] = field(default_factory=dict)


Table = Mapping[tuple[str, str] | str, Rule]
"""Rules by operator; one outside the default domain by (domain, operator)."""


@functools.cache
def table() -> dict[tuple[str, str], Rule]:
    """All rules, by domain and operator."""
    found: dict[tuple[str, str], Rule] = {}
    package = importlib.import_module("tcc.ir.channels.rules")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        if module.name.startswith("_"):
            continue
        rules: Table = importlib.import_module(f"{package.__name__}.{module.name}").RULES
        for name, rule in rules.items():
            key = ("", name) if isinstance(name, str) else name
            if key in found:
                message = f"two rules for {key}"
                raise ValueError(message)
            found[key] = rule
    return found
