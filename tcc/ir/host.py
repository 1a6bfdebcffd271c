"""Python functions called from within rules: over attribute keys, types and small values, all of them texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Only who writes rules needs egglog's Python language: their texts are kept, and call these functions by name.
    from egglog import Fact, PyObject, String

DECLINED = ""
"""What a text function answers where it does not apply; ``given`` turns it into a failed match."""


def text_function(function: Callable[..., str]) -> Callable[..., String]:
    """The egglog form of a pure function of texts and integers that answers a text.

    The function must be importable by name: egglog keeps a reference to it, not a copy.
    """
    call = _caller(function)

    @wraps(function)
    def in_rule(*arguments: Any) -> String:
        result: String = call(*arguments).to_string()
        return result

    return in_rule


def condition(function: Callable[..., bool]) -> Callable[..., Fact]:
    """The egglog form of a pure predicate of texts and integers."""
    call = _caller(function)

    @wraps(function)
    def in_rule(*arguments: Any) -> Fact:
        from egglog import Bool, eq

        return eq(call(*arguments).to_bool()).to(Bool(True))

    return in_rule


def given(variable: String, computed: String) -> tuple[Fact, Any]:
    """The facts that bind ``variable`` to a computed text and require that it was not declined."""
    from egglog import String, eq, ne

    return eq(variable).to(computed), ne(variable).to(String(DECLINED))


def _caller(function: Callable[..., Any]) -> Callable[..., PyObject]:
    kinds = [p.annotation for p in inspect.signature(function).parameters.values()]

    def call(*arguments: Any) -> PyObject:
        from egglog import PyObject

        convert = [PyObject.from_int if kind in (int, "int") else PyObject.from_string for kind in kinds]
        target = PyObject(_ByName(function.__module__, function.__qualname__))
        return target(*(to(argument) for to, argument in zip(convert, arguments, strict=True)))

    return call


class _ByName:
    """Stands for the undecorated function of a module: the decorated one hides its name, by which egglog keeps it."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __reduce__(self) -> tuple[Callable[[str, str], Callable[..., Any]], tuple[str, str]]:
        return undecorated, (self.module, self.name)


@cache
def undecorated(module: str, name: str) -> Callable[..., Any]:
    """The function that a rule calls; egglog asks for it at each call."""
    found: Callable[..., Any] = getattr(import_module(module), name)
    return getattr(found, "__wrapped__", found)
