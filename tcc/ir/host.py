"""Python functions called from within rules: over attribute keys, types and small values, all of them texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, lru_cache, wraps
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


BETWEEN = "\x1f"
"""Between the arguments of a call: names are quoted in the texts of facts, and JSON escapes it."""


def _caller(function: Callable[..., Any]) -> Callable[..., PyObject]:
    count = len(inspect.signature(function).parameters)

    def call(*arguments: Any) -> PyObject:
        from egglog import PyObject, String, join

        # As one text: the engine pickles and unpickles each argument of a call, at each call.
        texts = [a if isinstance(a, str | String) else _text(a) for a in arguments]
        parts = [part for text in texts for part in (String(BETWEEN), text)][1:]
        target = PyObject(_ByName(function.__module__, function.__qualname__))
        assert len(texts) == count
        return target(PyObject.from_string(join(*parts) if count > 1 else parts[0]))

    return call


def _text(number: Any) -> Any:
    return str(number) if isinstance(number, int) else number.to_string()


class _ByName:
    """Stands for the undecorated function of a module: the decorated one hides its name, by which egglog keeps it."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __reduce__(self) -> tuple[Callable[[str, str], Callable[[str], Any]], tuple[str, str]]:
        return of_one_text, (self.module, self.name)


@cache
def of_one_text(module: str, name: str) -> Callable[[str], Any]:
    """The function that a rule calls, of its arguments in one text; egglog asks for it at each call."""
    function = undecorated(module, name)
    numbers = [p.annotation in (int, "int") for p in inspect.signature(function).parameters.values()]

    @lru_cache(maxsize=65536)
    @wraps(function)
    def call(text: str) -> Any:
        arguments = text.split(BETWEEN) if len(numbers) > 1 else [text]
        return function(*(int(a) if number else a for a, number in zip(arguments, numbers, strict=True)))

    return call


def undecorated(module: str, name: str) -> Callable[..., Any]:
    """The function behind the form that rules use."""
    found: Callable[..., Any] = getattr(import_module(module), name)
    return getattr(found, "__wrapped__", found)
