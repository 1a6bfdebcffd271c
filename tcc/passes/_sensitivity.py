"""How much a model's outputs answer to an error at each site, measured on some of the calibration data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tcc.cost_models.roofline import Roofline
from tcc.diagnostics import TccError
from tcc.ir import probing
from tcc.ir.calibration import Observation
from tcc.ir.model import Model
from tcc.passes.base import Context

_OPERATIONS = 3e11
"""Arithmetic that the measurement may take; a core does it in about ten seconds."""
_LEAST_RUN = 2e7
"""Operations that a run counts as at least: a session costs time whatever it computes."""
_FEWEST, _MOST = 4, 16


def slopes(
    model: Model,
    values: Sequence[str],
    observed: Mapping[str, Observation],
    feeds: Sequence[Mapping[str, Any]],
    context: Context,
) -> dict[str, float]:
    """The slope at each value by name; none where the probe model does not run.

    The number of samples follows from the model's arithmetic, so that the same command measures the same.
    """
    tapped = probing.taps(dict.fromkeys(values), observed)
    count = round(_OPERATIONS / (max(_operations(model, context), _LEAST_RUN) * (len(tapped) + 1)))
    chosen = spread(feeds, min(max(count, _FEWEST), _MOST))
    try:
        return probing.slopes(model, tapped, chosen)
    except TccError as error:
        context.log(f"sensitivities are not measured: {error.diagnostics[0].message}", 1)
        return {}


def spread(feeds: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """At most that many samples, evenly spread."""
    step = max(1, len(feeds) // count)
    return [feeds[i] for i in range(0, len(feeds), step)][:count]


def _operations(model: Model, context: Context) -> float:
    prices = Roofline(context.target, context.symbols)
    return sum(prices.price_of(node).operations for node in model.graph)
