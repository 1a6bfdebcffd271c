"""What a compilation can do without, so that its part in the result shows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tcc.diagnostics import Exit, fail
from tcc.passes._attempt import PARTS
from tcc.passes.base import Pass
from tcc.passes.compress import Compress

PRUNING = "prune"
"""The shapes that the search tries."""


def known() -> tuple[str, ...]:
    """All that can be left out: lossy techniques, repairs, pruning, hardware-aware prices, the integer program."""
    from tcc.rewrites.lossy import techniques
    from tcc.rewrites.lossy._repairs import REPAIRS

    return (*sorted(techniques()), *REPAIRS, PRUNING, *PARTS)


def check(names: Collection[str]) -> None:
    """Check the names.

    Raises:
        TccError: exit USAGE for unknown ones.
    """
    if unknown := [name for name in names if name not in known()]:
        message = f"nothing can be left out that is called {', '.join(map(repr, unknown))}"
        raise fail(Exit.USAGE, "E0249", message, help=f"known: {', '.join(known())}")


def without(step: Pass, names: Collection[str]) -> Pass:
    """The pass without what is named."""
    left_out = "+".join(name for name in known() if name in names and name != PRUNING)
    return replace(step, without=left_out) if left_out and isinstance(step, Compress) else step
