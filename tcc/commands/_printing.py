"""What the commands print: diagnostics on the error stream, tables of plain text on the output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from tcc.diagnostics import Diagnostic

_STYLES = {"error": "\033[1;31m", "warning": "\033[1;35m", "note": "\033[1;36m"}
_RESET = "\033[0m"


@dataclass(frozen=True)
class Printer:
    """How diagnostics are shown; ``color`` is ``auto``, ``always`` or ``never``."""

    json: bool = False
    color: str = "auto"
    verbosity: int = 0

    @staticmethod
    def of(arguments: Sequence[str]) -> Printer:
        """As the arguments say, told without parsing them: what is wrong with them has to be shown too."""
        pairs = [*(a.partition("=")[::2] for a in arguments), *pairwise(arguments)]
        colors = [value for option, value in pairs if option == "--color"]
        verbosity = sum(a.count("v") for a in arguments if a.strip("v") == "-") + arguments.count("--verbose")
        return Printer(("--diagnostics", "json") in pairs, colors[-1] if colors else "auto", verbosity)

    def show(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Print each diagnostic to the error stream."""
        for diagnostic in diagnostics:
            print(self._text(diagnostic), file=sys.stderr)  # noqa: T201 - what a command is for

    def _text(self, diagnostic: Diagnostic) -> str:
        if self.json:
            return diagnostic.as_json()
        text = diagnostic.text()
        if not self.colored(sys.stderr):
            return text
        word = f"{diagnostic.severity}: "
        return text.replace(word, f"{_STYLES[diagnostic.severity]}{word}{_RESET}", 1)

    def colored(self, stream: TextIO) -> bool:
        """Whether what goes to the stream has colours; https://no-color.org is heeded."""
        if self.color != "auto":
            return self.color == "always"
        return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write(text: str = "") -> None:
    """Print to the output."""
    print(text)  # noqa: T201 - what a command is for


def columns(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns, the first as wide as its longest cell."""
    kept = list(rows)
    width = max((len(first) for first, _ in kept), default=0)
    return "\n".join(f"{first.ljust(width)}  {second}".rstrip() for first, second in kept)
