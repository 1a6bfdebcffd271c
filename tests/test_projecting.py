"""Truncation is measured by itself: the probe does what the factors do, and its losses add up in a program."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from benchmarks import low_rank as bench
from tcc.frontends import load
from tcc.ir import probing, projecting
from tcc.ir.calibration import observe
from tcc.ir.execution import Runner
from tcc.ir.loss import Judge
from tcc.ir.projecting import Curve
from tcc.passes._sensitivity import Answers
from tests.test_low_rank import CASES, TARGET, correlated, made, node, rows, weight


def variance(before: Any, after: Any, feeds: list[dict[str, np.ndarray]]) -> float:
    """The unexplained variance of a program's outputs."""
    judge, runners = Judge(), [Runner(model.to_proto()) for model in (before, after)]
    for feed in feeds:
        judge.add(*(runner.run(feed) for runner in runners))
    return judge.energy


OTHER = {"gemm and a matrix", "gemm of opset 9", "window", "dilated window", "window in time"}
"""Cases without a projection: all forms of theirs are of another kind, or their opset has no probe."""


@pytest.mark.parametrize("name", sorted(CASES.keys() - OTHER))
def test_a_projection_loses_what_its_site_loses(name: str) -> None:
    proto, feeds = CASES[name]
    kept: dict[Any, Any] = {}
    found = bench.offered(load(proto), TARGET, feeds, kept)
    sites = list(found.projections)[::3]
    assert sites
    said = projecting.losses(load(proto), [found.projections[site] for site in sites], feeds)
    for site, loss in zip(sites, said, strict=True):
        model = load(proto)
        bench.take(model, bench.offered(model, TARGET, feeds, kept), [site])
        assert loss == pytest.approx(variance(load(proto), model, feeds), rel=0.02, abs=1e-5), site


def test_what_something_unknown_is_added_to_is_not_projected() -> None:
    proto, feeds = CASES["gemm and a matrix"]
    found = bench.offered(load(proto), TARGET, feeds)
    assert found.error
    assert found.projections == {}


def averaged() -> tuple[Any, list[dict[str, np.ndarray]]]:
    """Layers whose output is the mean over their rows: rounding averages out there, truncation does not."""
    names = [f"w{i}" for i in range(3)]
    nodes = []
    for i, name in enumerate(names):
        nodes += [node("MatMul", "x" if i == 0 else f"t{i - 1}", name, output=f"p{i}"),
                  node("Tanh", f"p{i}", output=f"t{i}")]  # fmt: skip
    nodes.append(node("ReduceMean", "t2", axes=[1], keepdims=0))
    feeds = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        # Rows of one sample are much alike.
        x = rows(24 * 20, 64).reshape(24, 20, 64) * 0.2 + random.standard_normal((24, 1, 64)).astype(np.float32)
        feeds.append({"x": x})
    return made(nodes, {name: correlated(weight(64, 64), 1) for name in names}, {"x": ["n", 20, 64]}), feeds


def test_losses_of_several_sites_add_up_to_what_a_program_loses() -> None:
    proto, feeds = averaged()
    kept: dict[Any, Any] = {}
    found = bench.offered(load(proto), TARGET, feeds, kept)
    chosen = projecting.chosen(list(found.projections.values()), pairs=True)
    curves = projecting.curves(chosen, projecting.losses(load(proto), chosen, feeds))
    losses = Answers({}, curves).losses(found)
    by_layer: dict[str, list[str]] = {}
    for site in found.projections:
        by_layer.setdefault(site.partition("@")[0], []).append(site)
    assert len(by_layer) == 3
    picked = [min(sites, key=lambda site: found.error[site]) for sites in by_layer.values()]
    model = load(proto)
    bench.take(model, bench.offered(model, TARGET, feeds, kept), picked)
    measured = variance(load(proto), model, feeds)
    # What a later layer leaves out, it leaves out of an earlier one's error too: the sum is no less than it should be.
    assert 0.8 < sum(losses[site] for site in picked) / measured < 2.0
    tapped = probing.taps(dict.fromkeys(found.where.values()), observe(load(proto), feeds))
    slopes = Answers(probing.slopes(load(proto), tapped, feeds)).losses(found)
    assert sum(slopes[site] for site in picked) < 0.25 * measured


def test_between_two_ranks_the_ratio_to_the_error_s_square_is_followed() -> None:
    curve = Curve(((0.1, 0.02), (0.2, 0.04)))
    assert curve.loss(0.1) == pytest.approx(0.02)
    assert curve.loss(0.2) == pytest.approx(0.04)
    assert curve.loss(0.05) == pytest.approx(0.02 / 4)
    assert 0.02 < curve.loss(math.sqrt(0.1 * 0.2)) < 0.04
    assert curve.loss(0.0) == 0.0


def test_few_samples_are_judged_by_what_more_of_them_vary() -> None:
    random = np.random.default_rng(0)
    expected = 10.0 + random.standard_normal((64, 8))
    actual = expected + 0.1 * random.standard_normal((64, 8))
    whole, few = Judge(), Judge()
    whole.add([expected], [actual])
    few.add([expected[:4]], [actual[:4]])
    assert whole.energy == pytest.approx(0.01, rel=0.2)
    assert few.energy < 1e-3
    assert few.unexplained(whole.varied) == pytest.approx(0.01, rel=0.5)
