"""Finds the point on a path that meets a budget: of cost or of loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tcc.diagnostics import Exit, TccError, fail
from tcc.passes._prune_path import Step


def by_cost(steps: Sequence[Step], part: float, measure: Callable[[Step], float], what: str) -> int:
    """The first point whose cost is at most ``part`` of the whole model's.

    Raises:
        TccError: E0502 where there is none, with the best.
    """
    whole = measure(steps[0])
    found = next((i for i, step in enumerate(steps) if measure(step) <= part * whole * (1 + 1e-9)), None)
    if found is None:
        raise infeasible(what, part, measure(steps[-1]) / whole)
    return found


def infeasible(what: str, part: float, best: float) -> TccError:
    """What is said where no point meets the budget."""
    message = f"pruning cannot bring {what} to {part:.3g} of the model's; the best point is {best:.3g}"
    return fail(Exit.INFEASIBLE, "E0502", message, help="allow more, or leave fewer groups out")


def by_loss(steps: Sequence[Step], most: float, loss: Callable[[Step], float]) -> int:
    """The last point, as bisection finds it, whose measured loss is within the budget; 0 where none is."""
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if loss(steps[middle]) <= most else (low, middle)
    return low
