"""The names by which ``-Werror=`` calls warnings, and the errors that they become."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from tcc.diagnostics import Diagnostic, Exit, TccError, fail

NAMES = {
    "W0411": "illegal", "W0412": "illegal", "W0413": "illegal",
    "W0701": "unverified", "W0702": "insensitive", "W0703": "tolerance", "W0704": "larger", "W0705": "slower",
    "W0706": "random", "W0707": "misdeclared",
    "W0801": "fallback", "W0802": "fallback", "W0813": "unchecked", "W0821": "profile",
}  # fmt: skip
"""The name of each warning's code."""


def known() -> tuple[str, ...]:
    """The names of all warnings."""
    return tuple(dict.fromkeys(NAMES.values()))


def check_names(names: Collection[str]) -> None:
    """Check that warnings have these names.

    Raises:
        TccError: exit USAGE.
    """
    if unknown := [name for name in names if name not in ("all", *known())]:
        message = f"unknown warning {', '.join(map(repr, unknown))}"
        raise fail(Exit.USAGE, "E0237", message, help=f"known: all, {', '.join(known())}")


def raise_errors(diagnostics: Iterable[Diagnostic], names: Collection[str]) -> None:
    """Raise the warnings of these names as errors.

    Raises:
        TccError: with the exit code that the first one's code says.
    """
    found = [
        replace(d, code=f"E{d.code[1:]}")
        for d in diagnostics
        if d.severity == "warning" and ("all" in names or NAMES.get(d.code) in names)
    ]
    if found:
        raise TccError(Exit(int(found[0].code[1:3])), found)
