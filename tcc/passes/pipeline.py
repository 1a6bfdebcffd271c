"""The text form of a pipeline: ``simplify,prune{ratio=0.3},quantize{dtype=int8}``."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.passes import available, pass_class, unknown_pass
from tcc.passes._options import WORD, Option, options_of
from tcc.passes.base import Pass

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SEPARATORS = re.compile(r"[\s,]*")
_TO_BRACE = re.compile(r"[^}]*")
_TO_COMMA = re.compile(r"(?:[^,{]|\{[^}]*\}?)*")


def parse(text: str, known: Callable[[str], type[Pass]] = pass_class) -> tuple[Pass, ...]:
    """The passes that ``text`` names, with their options.

    A pass's options are its dataclass's fields, words joined by hyphens or underscores; options are separated
    by commas or spaces, and a value with either in it is quoted as in JSON. ``none`` is None where a field may be.

    Args:
        text: the pipeline; blank for none at all.
        known: the class of a name.

    Raises:
        TccError: exit USAGE, with every problem of the text and its position (the first character is 1).
    """
    parser = _Parser(text, known)
    passes = parser.pipeline()
    if parser.problems:
        raise TccError(Exit.USAGE, parser.problems)
    return tuple(passes)


def unparse(passes: Iterable[Pass]) -> str:
    """The text that gives these passes again: only options that are not at their defaults are written."""
    return ",".join(map(unparse_one, passes))


def unparse_one(step: Pass) -> str:
    """The text of one pass."""
    options = [
        f"{option.name}={option.text(value)}"
        for option in options_of(type(step))
        if not _same(value := getattr(step, option.field), option.default)
    ]
    return step.name + (f"{{{','.join(options)}}}" if options else "")


def _same(value: object, default: object) -> bool:
    # True == 1 == 1.0, but their texts differ.
    return type(value) is type(default) and value == default


@dataclass
class _Parser:
    """Reads a pipeline; goes on after a problem with the next pass, so that all are found."""

    text: str
    known: Callable[[str], type[Pass]]
    at: int = 0
    problems: list[Diagnostic] = field(default_factory=list)

    def pipeline(self) -> list[Pass]:
        passes: list[Pass] = []
        while self.text.strip():
            self._step(passes)
            self._skip(_SPACE)
            if self._next() not in ("", ","):
                self._report("E0232", f"unexpected {self._next()!r}", self.at, "separate passes by commas")
                self._skip(_TO_COMMA)
            if not self._next():
                break
            self.at += 1
        return passes

    def _step(self, passes: list[Pass]) -> None:
        self._skip(_SPACE)
        start = self.at
        name = self._take(_NAME)
        if not name:
            self._report("E0232", "a pass's name is missing", start, f"known passes: {', '.join(available())}")
            self._skip(_TO_COMMA)
            return
        try:
            cls = self.known(name)
        except TccError:
            self.problems.append(unknown_pass(name, self._where(start)))
            self._skip(_TO_COMMA)
            return
        before = len(self.problems)
        values = self._options(options_of(cls))
        if len(self.problems) == before and (made := self._make(cls, values, start)) is not None:
            passes.append(made)

    def _make(self, cls: type[Pass], values: dict[str, Any], start: int) -> Pass | None:
        missing = [o.name for o in options_of(cls) if o.default is dataclasses.MISSING and o.field not in values]
        if missing:
            self._report("E0233", f"{', '.join(missing)} must be given", start, "write name{option=value}")
            return None
        try:
            made = cls(**values)
            _ = made.promises
        except ValueError as error:
            self._report("E0234", str(error), start, f"its options are {_listed(options_of(cls))}")
            return None
        return made

    def _options(self, options: tuple[Option, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if self._next() != "{":
            return values
        opened, self.at = self.at, self.at + 1
        while True:
            self._skip(_SEPARATORS)
            if self._next() == "}":
                self.at += 1
                return values
            if not self._next():
                self._report("E0232", "'{' is not closed", opened, "end the options with '}'")
                return values
            if not self._pair(options, values):
                self._skip(_TO_BRACE)

    def _pair(self, options: tuple[Option, ...], values: dict[str, Any]) -> bool:
        """Read ``name=value``; whether the text can be read on from here."""
        start = self.at
        name = self._take(_NAME)
        if not name or self._next() != "=":
            self._report("E0232", "an option is malformed", start, "write name=value")
            return False
        self.at += 1
        placed = self.at
        quoted = self._take(_QUOTED)
        given = quoted or self._take(WORD)
        if not given:
            self._report("E0232", f"{name} has no value", placed, "write name=value, and quote a text with spaces")
            return False
        option = next((o for o in options if o.field == name.replace("-", "_")), None)
        if option is None:
            close = difflib.get_close_matches(name, [o.name for o in options], n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            self._report("E0233", f"unknown option {name!r}", start, f"{hint}known: {_listed(options)}")
        elif option.field in values:
            self._report("E0233", f"{option.name} is given more than once", start, "give it once")
        else:
            self._read(option, given, bool(quoted), placed, values)
        return True

    def _read(self, option: Option, given: str, quoted: bool, placed: int, values: dict[str, Any]) -> None:  # noqa: FBT001 - a fact on the text
        try:
            values[option.field] = option.value(json.loads(given) if quoted else given, quoted=quoted)
        except ValueError:
            values[option.field] = None
            self._report("E0234", f"{option.name} is {given!r}", placed, f"should be {option.expected}")

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match[0]

    def _next(self) -> str:
        """The next character; empty at the end."""
        return self.text[self.at : self.at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)

    def _where(self, at: int) -> str:
        return f"pipeline:{at + 1}"

    def _report(self, code: str, message: str, at: int, advice: str) -> None:
        self.problems.append(Diagnostic(code, message, self._where(at), (self.text, " " * at + "^"), advice))


def _listed(options: tuple[Option, ...]) -> str:
    return ", ".join(option.name for option in options) or "none"
