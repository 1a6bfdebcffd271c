"""The options of a pass: its dataclass's fields, as texts spell them."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

if typing.TYPE_CHECKING:
    from tcc.passes.base import Pass

WORD = re.compile(r"[^\s,{}=\"]+")
"""A value that needs no quotes."""

_NONE = "none"
_KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _number(text: str) -> float:
    value = float(text)
    if math.isnan(value):  # unequal to itself: pipelines that hold it could not be compared
        raise ValueError(text)
    return value


_READERS: Mapping[type, Callable[[str], Any]] = {bool: _boolean, int: int, float: _number, str: str}


@dataclass(frozen=True)
class Option:
    """One option of a pass: a field of its dataclass.

    ``kinds`` are the types that it may have, ``choices`` the texts where only some are allowed;
    ``default`` is ``dataclasses.MISSING`` where it must be given.
    """

    field: str
    kinds: tuple[type, ...]
    choices: tuple[str, ...]
    default: Any

    @property
    def name(self) -> str:
        """The option's name in texts: words joined by hyphens."""
        return self.field.replace("_", "-")

    @property
    def expected(self) -> str:
        """What a value may be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return " or ".join(_NONE if kind is types.NoneType else _KINDS[kind] for kind in self.kinds)

    def value(self, text: str, *, quoted: bool) -> Any:
        """The value that ``text`` spells.

        Raises:
            ValueError: where it spells none.
        """
        if not quoted and text == _NONE and types.NoneType in self.kinds:
            return None
        if self.choices and text not in self.choices:
            raise ValueError(text)
        for kind in self.kinds:
            if kind is not types.NoneType and (not quoted or kind is str):
                try:
                    return _READERS[kind](text)
                except ValueError:
                    continue
        raise ValueError(text)

    def text(self, value: Any) -> str:
        """The text that ``value`` of this option reads back to."""
        if value is None:
            return _NONE
        if isinstance(value, bool):
            return str(value).lower()
        if not isinstance(value, str):
            return repr(value)
        ambiguous = len(self.kinds) > 1 or not WORD.fullmatch(value)
        return json.dumps(value) if ambiguous else value


@functools.cache
def options_of(cls: type[Pass]) -> tuple[Option, ...]:
    """The options of a pass, in the order of its fields.

    Raises:
        TypeError: where a field has a type that the text form cannot carry.
    """
    hints = typing.get_type_hints(cls)
    return tuple(_option(cls, item, hints[item.name]) for item in dataclasses.fields(cls) if item.init)


def _option(cls: type[Pass], item: dataclasses.Field[Any], hint: Any) -> Option:
    default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
    if typing.get_origin(hint) is typing.Literal:
        return Option(item.name, (str,), typing.get_args(hint), default)
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if union else (hint,)
    if unknown := [kind for kind in kinds if kind not in (*_KINDS, types.NoneType)]:
        message = f"{cls.__name__}.{item.name} is of {unknown[0]}, should be one of bool, int, float, str or optional"
        raise TypeError(message)
    return Option(item.name, kinds, (), default)
