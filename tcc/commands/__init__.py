"""Commands: one module each, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import argparse

DEFAULT = "compile"
"""The command that runs where none is named."""


class Command(Protocol):
    """What a module of this package has."""

    DESCRIPTION: str
    """What it does, for its help."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments; imports nothing heavy."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, and return the exit code.

        Raises:
            TccError: what the user can act on.
        """


def names() -> tuple[str, ...]:
    """The names of all commands, sorted; modules with a leading underscore are their helpers."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def command(name: str) -> Command:
    """The command of that name, which has to be one of ``names()``."""
    return cast("Command", importlib.import_module(f"{__name__}.{name}"))
