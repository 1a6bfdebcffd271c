"""Finds the point on a path that meets a budget: of cost or of loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tcc.diagnostics import Exit, TccError, fail
from tcc.ir.channels import Group, Groups
from tcc.ir.channels.choosing import at_ratio
from tcc.passes._prune_path import Step, aligned

if TYPE_CHECKING:
    import numpy as np

_HALVINGS = 10
_MOST = 0.98
"""The largest ratio that is tried."""
_LISTED = 3
"""Groups that an error names."""


WORDS = {"macs": "the operations", "size": "the bytes", "latency": "the predicted latency"}
"""What each budget is on, as messages call it."""


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


def with_unproven(problem: TccError, unproven: Mapping[str, str]) -> TccError:
    """The error, with the groups that had to stay because their slices could not be proven."""
    if not unproven:
        return problem
    notes = tuple(f"{name} stays, it could not be proven: {why}" for name, why in list(unproven.items())[:_LISTED])
    first, *others = problem.diagnostics
    return TccError(problem.exit_code, [replace(first, notes=(*first.notes, *notes)), *others])


def missed(unproven: Mapping[str, str], count: int) -> dict[str, str]:
    """The fact that less goes than was asked for; nothing where all that was chosen goes."""
    if not unproven:
        return {}
    name, why = next(iter(unproven.items()))
    return {"missed": f"{len(unproven)} of {count} groups stay whole, they could not be proven ({name}: {why})"}


def by_loss(steps: Sequence[Step], most: float, loss: Callable[[Step], float]) -> int:
    """The last point, as bisection finds it, whose measured loss is within the budget; 0 where none is."""
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if loss(steps[middle]) <= most else (low, middle)
    return low


def evenly(
    groups: Groups,
    scores: Mapping[Group, np.ndarray],
    within: Callable[[dict[Group, np.ndarray]], bool],
    *,
    minimum: int,
    align: int,
) -> dict[Group, np.ndarray] | None:
    """The removal of the smallest ratio, the same of every group, that is within a budget; None where none is.

    Args:
        groups: what may shrink.
        scores: the ranking of each group's units.
        within: whether a removal is within the budget.
        minimum: indices that every axis keeps at least.
        align: kept units come in multiples of this, where a group has twice as many.
    """
    low, high, best = 0.0, _MOST, None
    for _ in range(_HALVINGS):
        ratio = (low + high) / 2
        chosen = at_ratio(groups, ratio, scores.__getitem__, minimum)
        removal = {g: aligned(removed, scores[g], align) for g, removed in chosen.items()}
        if within(removal):
            high, best = ratio, removal
        else:
            low = ratio
    return best
