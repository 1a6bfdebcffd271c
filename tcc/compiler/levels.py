"""The -O levels: each is a name for a pipeline."""

from __future__ import annotations

from tcc.diagnostics import Exit, fail

_CLEAN = "canonicalize,inline,canonicalize,fold,inline,canonicalize,fold"
"""What folds may decide branches, and a branch put in its place may hold more to fold."""

LEVELS = {
    "0": "",
    "1": f"{_CLEAN},simplify{{equality=bits}},strip",
    "2": f"{_CLEAN},simplify,strip",
    "3": f"{_CLEAN},simplify,compress,strip",
    "s": f"{_CLEAN},simplify,compress{{objective=size}},strip",
    "z": f"{_CLEAN},simplify,compress{{objective=size,slower=true}},strip",
}
"""The pipeline of each level."""

PROMISES = {
    "0": "a validated, canonical copy; weights byte for byte",
    "1": "bit-exact simplification",
    "2": "value-safe simplification, within 1e-5 relative (default)",
    "3": "lossy under the loss budget",
    "s": "smallest under the loss budget",
    "z": "smallest under the loss budget, however slow",
}
"""What each level promises, in a line."""

PRUNED = tuple(f"prune{{macs={share}}},simplify" for share in (0.9, 0.75, 0.5, 0.3))
"""What the search of a lossy level tries before the level's lossy passes, in the order of growing loss."""

OBJECTIVES = {"3": "latency", "s": "size", "z": "size"}
"""What each lossy level minimises."""

AIMS = ("energy", "latency", "size")
"""What can be minimised."""

EXACT = frozenset("012")
"""Levels that only rewrite: what was illegal on the target in the input may stay so, with a warning."""


def pipeline_text(level: int | str) -> str:
    """The pipeline of a level, ``0`` to ``3``, ``s`` or ``z``.

    Raises:
        TccError: exit USAGE for any other.
    """
    if (name := str(level)) not in LEVELS:
        raise fail(Exit.USAGE, "E0236", f"unknown level {name!r}", help=f"known: {', '.join(LEVELS)}")
    return LEVELS[name]


def objective(name: str, level: int | str) -> str:
    """What is minimised: ``name``, or where that is empty what the level does.

    Raises:
        TccError: exit USAGE for an unknown one.
    """
    if name and name not in AIMS:
        raise fail(Exit.USAGE, "E0242", f"unknown objective {name!r}", help=f"known: {', '.join(AIMS)}")
    return name or OBJECTIVES.get(str(level), "latency")
