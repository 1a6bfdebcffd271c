"""Command lines as TOML files: ``--config`` reads one, ``--save-config`` writes what was asked for."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tcc.diagnostics import Exit, fail

_FLAG, _SAVE, _INPUT, _LEVEL = "--config", "--save-config", "input", "level"


def expand(arguments: Sequence[str]) -> list[str]:
    """The arguments with each ``--config FILE`` replaced by what the file says; what follows overrides it.

    Raises:
        TccError: exit USAGE for a file that cannot be read or is no such file.
    """
    found: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name != _FLAG:
            found.append(argument)
            continue
        path = value if equals else next(rest, "")
        if not path:
            raise fail(Exit.USAGE, "E0230", f"{_FLAG} has no file", help=f"write {_FLAG} model.tcc.toml")
        found += _tokens(Path(path))
    return found


def _tokens(path: Path) -> Iterator[str]:
    for key, value in _read(path).items():
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, str | int | float):
                raise fail(
                    Exit.USAGE, "E0244", f"{key} is a {type(item).__name__}", where=str(path),
                    help="values are texts, numbers, true, or lists of them",
                )  # fmt: skip
            if key == _INPUT:
                yield str(item)
            elif key == _LEVEL:
                yield f"-O{item}"
            elif item is True:
                yield f"--{key}"
            elif item is not False:
                yield f"--{key}={item}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        advice = "a configuration is TOML: one line an option, as in target = 'jetson'"
        raise fail(Exit.USAGE, "E0244", f"cannot be read: {error}", where=str(path), help=advice) from error


def text(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> str:
    """What was asked for, as a configuration: the options that are not at their defaults."""
    lines = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of what it declares
        name = next((option for option in action.option_strings if option.startswith("--")), "")
        if action.dest not in vars(arguments) or name in (_SAVE, "--report") or action.dest == "output":
            continue
        value = getattr(arguments, action.dest)
        if value != action.default:
            key = name.removeprefix("--") or action.dest
            lines.append(f"{key} = {_value(value)}")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, tuple):  # --dim NAME=SIZE
        return json.dumps("=".join(map(str, value)))
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)
