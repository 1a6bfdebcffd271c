"""The latency budget: a search over measured points that ends where it was asked to, or says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tcc import frontends
from tcc.diagnostics import TccError
from tcc.passes import _prune_latency
from tcc.passes._prune_latency import TOLERANCE, Search, Stopwatch
from tcc.passes.base import Context
from tcc.passes.prune import Prune
from tcc.targets import parse_target
from tests import channel_models

if TYPE_CHECKING:
    from tcc.ir.model import Model

PREDICTED = list(np.linspace(1.0, 0.1, 91))


def searched(part: float, truth: Callable[[float], float], noise: float = 0.0) -> tuple[float, int]:
    """The true ratio of the point that is found, and how often something was measured."""
    rng, runs = np.random.default_rng(0), []

    def measure(at: int, sessions: int) -> float:
        runs.append(at)
        return truth(PREDICTED[at]) * float(1 + noise * rng.standard_normal() / np.sqrt(sessions))

    found = Search(part, PREDICTED, measure).run()
    return truth(PREDICTED[found]), len(runs)


TRUTHS: dict[str, Callable[[float], float]] = {
    "as predicted": lambda p: p,
    "a fixed part": lambda p: 0.4 + 0.6 * p,
    "better than predicted": lambda p: p**2,
    "slower at first": lambda p: 1.15 if p > 0.92 else p,
    "in steps": lambda p: np.ceil(p * 20) / 20,
}


@pytest.mark.parametrize("truth", sorted(TRUTHS))
@pytest.mark.parametrize("part", [0.9, 0.7, 0.5])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_what_is_asked_for_is_found_whatever_the_prediction_is_worth(truth: str, part: float, noise: float) -> None:
    found, runs = searched(part, TRUTHS[truth], noise)
    assert abs(found / part - 1) <= TOLERANCE + 2 * noise
    assert runs <= 14


def test_a_jump_over_what_is_asked_for_ends_on_its_fast_side() -> None:
    found, _ = searched(0.7, lambda p: 0.9 if p > 0.5 else 0.45)
    assert found == 0.45


def test_what_no_point_reaches_is_infeasible_with_the_fastest() -> None:
    with pytest.raises(TccError) as raised:
        searched(0.5, lambda p: 0.6 + 0.4 * p)
    assert raised.value.exit_code == 5
    assert "the best point is 0.64" in raised.value.diagnostics[0].message


def pruned(monkeypatch: pytest.MonkeyPatch, part: float) -> Any:
    """A model under a latency budget, on a machine whose time is the number of parameters."""

    def counted(self: Stopwatch, model: Model, *, sessions: int = 1) -> float:
        assert sessions in {1, _prune_latency.LONG}
        return model.parameter_count / self.original.parameter_count

    monkeypatch.setattr(Stopwatch, "ratio", counted)
    proto = channel_models.model("flattened")
    context = Context(parse_target("native,threads=1"), feeds=tuple(channel_models.feeds(proto)))
    return Prune(latency=part).run(frontends.load(proto), context)


def test_the_pass_says_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    result = pruned(monkeypatch, 0.5)
    assert result.facts["latency"]["asked"] == 0.5
    assert abs(result.facts["latency"]["measured"] / 0.5 - 1) <= TOLERANCE
    before, after = result.facts["parameters"]
    assert after / before == pytest.approx(result.facts["latency"]["measured"], abs=0.01)


def test_a_model_takes_as_long_as_itself() -> None:
    proto = channel_models.model("residual")
    model = frontends.load(proto)
    ratio = Stopwatch(model, channel_models.feeds(proto)[0], 1).ratio(model)
    assert 0.7 < ratio < 1.4
