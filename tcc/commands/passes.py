"""``tcc passes``: what a pipeline can be made of."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
from typing import TYPE_CHECKING

from tcc.commands._printing import columns, write
from tcc.diagnostics import Exit

if TYPE_CHECKING:
    from tcc.passes.base import Pass

DESCRIPTION = "List the passes, or tell all about one."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a pass")


def run(arguments: argparse.Namespace) -> int:
    """Print the list, or one pass's options."""
    from tcc.passes import available, pass_class

    if arguments.name is None:
        write(columns((name, _summary(pass_class(name))) for name in available()))
    else:
        write(_reference(arguments.name.replace("_", "-"), pass_class(arguments.name)))
    return int(Exit.DONE)


def _summary(cls: type[Pass]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _reference(name: str, cls: type[Pass]) -> str:
    from tcc.passes._options import options_of

    text = f"{name}: {inspect.getdoc(cls)}\n\npromises: {cls.effect.value}"
    if cls.needs:
        text += f"\nneeds: {', '.join(sorted(cls.needs))}"
    options = [
        (f"  {option.name}", f"{option.expected} (default: {_default(option.default)})") for option in options_of(cls)
    ]
    return text + (f"\noptions:\n{columns(options)}" if options else "\noptions: none")


def _default(value: object) -> str:
    if value is dataclasses.MISSING:
        return "must be given"
    return str(value).lower() if isinstance(value, bool) or value is None else repr(value)
