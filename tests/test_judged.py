"""With labelled data the user's own metric, and not a distance, says how far lossy passes may go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tcc
from tcc.compiler.accuracy import Judged, LossOf
from tcc.compiler.evaluation import Evaluation
from tcc.frontends import load
from tcc.ir.loss import Z95
from tcc.passes.manager import Snapshot
from tests.test_low_rank import CASES
from tests.test_projecting import averaged

_BUDGET = 0.001
PASSES = "compress{techniques=low-rank,objective=size,slower=true}"


def finite(outputs: list[Any], labels: Any) -> Any:
    """A metric that no error of these touches."""
    return np.isfinite(outputs[0].sum(-1)).astype(np.float64)[: len(labels)]


def nearness(outputs: list[Any], labels: Any) -> Any:
    """A metric that every error costs a lot."""
    return -np.square(outputs[0].sum(-1) - labels) * 100


def removed(metric: str) -> tuple[float, dict[str, Any]]:
    """The part of the parameters that a small budget removes, and the pass's facts."""
    proto, feeds = averaged()
    data: dict[str, Any] = {}
    if metric:
        x = np.concatenate([feed["x"] for feed in feeds])
        outputs = load(proto)
        found = Snapshot.of(outputs).runner().run({"x": x})[0].sum(-1)
        data = {"evaluation": {"x": x, "labels": found}}
        data["metric"] = f"tests.test_judged:{metric}"
    result = tcc.compile(proto, passes=PASSES, calibration=feeds, max_loss=_BUDGET, **data)
    (record,) = (record for record in result.records if record.name == "compress")
    before = load(proto).parameter_count
    return 1 - result.model.parameter_count / before, dict(record.facts)


def test_a_metric_that_does_not_mind_lets_more_go() -> None:
    (by_distance, _), (by_finite, facts) = removed(""), removed("finite")
    assert by_finite > by_distance + 0.05
    assert facts["loss"]["metric"].endswith("finite drop")
    assert facts["loss"]["value"] <= _BUDGET
    by_nearness, _ = removed("nearness")
    assert by_nearness <= by_distance + 1e-9
    # The metric was asked again and again, of a larger program each time.
    assert len(facts["rounds"]) > 1


def test_noise_counts_against_a_program() -> None:
    proto, feeds = CASES["gemm"]
    snapshot = Snapshot.of(load(proto))
    scores = iter([np.ones(100), np.r_[np.zeros(1), np.ones(99)]])
    evaluation = Evaluation((feeds[0],), (), lambda *_: next(scores), "made up")
    loss = Judged(LossOf(snapshot, (), evaluation))(snapshot.model())
    assert loss.value == pytest.approx(0.01)
    assert loss.upper == pytest.approx(0.01 + Z95 * np.sqrt(0.01 * 0.99 / 100))


def test_other_evaluation_data_is_another_key() -> None:
    _, feeds = CASES["gemm"]
    snapshot = Snapshot.of(load(CASES["gemm"][0]))
    keys = {
        Judged(LossOf(snapshot, (), Evaluation(tuple(feeds), (np.full(4, label),), None, name)), spent).key
        for label in (0, 1)
        for name in ("top1", "other")
        for spent in (0.0, 0.1)
    }
    assert len(keys) == 8
