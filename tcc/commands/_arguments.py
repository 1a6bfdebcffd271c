"""The argument parser of all commands: its errors are diagnostics, and it reads ``@file``."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from tcc.commands import _config
from tcc.diagnostics import Exit, fail

_OPTIONAL_VALUE = {"--print-ir-after": "--print-ir-after="}
"""Options whose value may be left out; only ``--option=value`` gives one, so that they take no file name by mistake."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises ``TccError`` (usage) where argparse would exit."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **options,
            allow_abbrev=False,
            fromfile_prefix_chars="@",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; an optional value that is left out is empty."""
        given = None if args is None else [_OPTIONAL_VALUE.get(argument, argument) for argument in _config.expand(args)]
        return super().parse_known_args(given, namespace)

    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        """The arguments of a line of an ``@file``, quoted as in a shell; ``#`` begins a comment."""
        return shlex.split(arg_line, comments=True)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse has to say."""
        words = re.findall(r"(?<=\s)-[-\w]+", message.partition("unrecognized arguments:")[2])
        close = [f"{word} might be {near}" for word in words for near in self._near(word)]
        advice = "; ".join([*close, f"see {self.prog} --help"])
        raise fail(Exit.USAGE, "E0230", message, help=advice)

    def _near(self, word: str) -> list[str]:
        return difflib.get_close_matches(word, self._option_string_actions, n=1)


def percentage(text: str) -> float:
    """``1%`` or ``0.01`` as 0.01."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        message = f"{text!r} is no part of the whole: write 1% or 0.01"
        raise argparse.ArgumentTypeError(message) from None


def seconds(text: str) -> float:
    """A positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        message = f"{text!r} is no time: write a positive number of seconds"
        raise argparse.ArgumentTypeError(message)
    return value


def dimension(text: str) -> tuple[str, int]:
    """``batch=8`` as a name and a size."""
    name, _, size = text.partition("=")
    if not name or not size.isdecimal() or int(size) < 1:
        message = f"{text!r} is no size: write NAME=SIZE, as in batch=8"
        raise argparse.ArgumentTypeError(message)
    return name, int(size)


def add_model_on_inputs(parser: argparse.ArgumentParser) -> None:
    """Declare the model of a command that runs it, and what it is run on."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="an ONNX file")
    parser.add_argument("--inputs", type=Path, metavar="F.NPZ", help="run on these inputs in place of generated ones")
    parser.add_argument(
        "--dim", type=dimension, action="append", default=[], metavar="NAME=SIZE",
        help="the size of a symbolic dimension, for generated inputs",
    )  # fmt: skip


def error_names(values: Iterable[str]) -> tuple[str, ...]:
    """The names of ``-Werror`` (all) and ``-Werror=NAME[,NAME]``, from what follows each ``-W``."""
    names: list[str] = []
    for value in values:
        kind, _, listed = value.partition("=")
        if kind != "error":
            raise fail(Exit.USAGE, "E0230", f"unknown warning option -W{value}", help="write -Werror or -Werror=NAME")
        names += listed.split(",") if listed else ["all"]
    return tuple(names)


def names(text: str) -> list[str]:
    """Names joined by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
