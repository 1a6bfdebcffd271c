"""Passes: one module each, found by its name; what a pass's file is called is what it is called in pipelines."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from tcc.diagnostics import Diagnostic, Exit, TccError

if TYPE_CHECKING:
    from tcc.passes.base import Pass

_INFRASTRUCTURE = frozenset({"base", "instruments", "manager", "pipeline", "reproducer", "verification"})
"""Modules of this folder that are no passes; helpers of a pass begin with an underscore instead."""


@cache
def available() -> tuple[str, ...]:
    """The names of all passes, sorted, words joined by hyphens."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    names = (name for name in modules if not name.startswith("_") and name not in _INFRASTRUCTURE)
    return tuple(sorted(name.replace("_", "-") for name in names))


@cache
def pass_class(name: str) -> type[Pass]:
    """The class of the pass called ``name``; underscores are taken for hyphens.

    Raises:
        TccError: exit USAGE, with the closest name, where there is none.
    """
    if name.replace("_", "-") not in available():
        raise TccError(Exit.USAGE, [unknown_pass(name)])
    from tcc.passes.base import Pass

    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    found = [
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Pass) and member.__module__ == module.__name__
    ]
    concrete = [member for member in found if not inspect.isabstract(member) and not member.__name__.startswith("_")]
    if len(concrete) != 1:
        message = f"{module.__name__} has {len(concrete)} passes, should have one"
        raise TypeError(message)
    return concrete[0]


def unknown_pass(name: str, where: str = "") -> Diagnostic:
    """What to say of a name that is no pass."""
    close = difflib.get_close_matches(name.replace("_", "-").lower(), available(), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return Diagnostic("E0231", f"unknown pass {name!r}", where, help=f"{hint}known: {', '.join(available())}")
