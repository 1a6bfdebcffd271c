"""Python functions called from within rules: over attribute keys, types and small values, all of them texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from egglog import Bool, Fact, PyObject, String, eq, ne

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
        return eq(call(*arguments).to_bool()).to(Bool(True))

    return in_rule


def given(variable: String, computed: String) -> tuple[Fact, Any]:
    """The facts that bind ``variable`` to a computed text and require that it was not declined."""
    return eq(variable).to(computed), ne(variable).to(String(DECLINED))


def _caller(function: Callable[..., Any]) -> Callable[..., PyObject]:
    # The wrapper hides the function's own name in its module, so egglog is given a plain by-name forwarder.
    target = PyObject(_Forward(function.__module__, function.__qualname__))
    kinds = [p.annotation for p in inspect.signature(function).parameters.values()]
    convert = [PyObject.from_int if kind in (int, "int") else PyObject.from_string for kind in kinds]

    def call(*arguments: Any) -> PyObject:
        return target(*(to(argument) for to, argument in zip(convert, arguments, strict=True)))

    return call


class _Forward:
    """Calls the undecorated function of a module by its name."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name
        self.function: Callable[..., Any] | None = None

    def __getstate__(self) -> tuple[str, str]:
        return self.module, self.name

    def __setstate__(self, state: tuple[str, str]) -> None:
        self.module, self.name = state
        self.function = None

    def __call__(self, *arguments: Any) -> Any:
        if self.function is None:
            from importlib import import_module

            found = getattr(import_module(self.module), self.name)
            self.function = getattr(found, "__wrapped__", found)
        return self.function(*arguments)
