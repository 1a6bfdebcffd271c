"""What tcc says when something is wrong: one diagnostic a problem, one exit code a kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Literal

Severity = Literal["error", "warning", "note"]


class Exit(IntEnum):
    """The exit codes of the command; every error a user can cause has one."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    BAD_MODEL = 3
    UNSUPPORTED = 4
    INFEASIBLE = 5
    DATA = 6
    VERIFICATION = 7
    BACKEND = 8
    LIMIT = 9
    INTERRUPTED = 130


@dataclass(frozen=True)
class Diagnostic:
    """One problem: what, where (``file:/node [Operator]``), and what to do about it.

    ``code`` is a letter and four digits: E errors, W warnings, N notes; the first digits are the exit
    code's kind (E03xx bad model, E02xx usage, ...).
    """

    code: str
    message: str
    where: str = ""
    notes: tuple[str, ...] = ()
    help: str = ""

    @property
    def severity(self) -> Severity:
        """The severity that the code's letter names."""
        return {"E": "error", "W": "warning", "N": "note"}[self.code[0]]  # type: ignore[return-value]

    def text(self) -> str:
        """The diagnostic as the terminal shows it; one line, then indented notes and help."""
        head = f"{self.where}: " if self.where else "tcc: "
        lines = [f"{head}{self.severity}: {self.code} {self.message}"]
        lines += [f"  note: {note}" for note in self.notes]
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)

    def as_json(self) -> str:
        """The diagnostic as one line of JSON."""
        return json.dumps({"severity": self.severity, **asdict(self)})


class TccError(Exception):
    """A failure with its exit code and all its diagnostics, reported together."""

    def __init__(self, exit_code: Exit, diagnostics: Sequence[Diagnostic]) -> None:
        self.exit_code = exit_code
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(d.text() for d in self.diagnostics))


def fail(
    exit_code: Exit, code: str, message: str, *, where: str = "", notes: Iterable[str] = (), help: str = ""
) -> TccError:
    """A ``TccError`` of one diagnostic, to be raised by the caller."""
    return TccError(exit_code, [Diagnostic(code, message, where, tuple(notes), help)])


def node_location(file: str, name: str, operator: str) -> str:
    """Where a node stands, as diagnostics print it: ``model.onnx:/backbone/Conv_12 [Conv]``."""
    return f"{file}:{name or '<unnamed>'} [{operator}]"
