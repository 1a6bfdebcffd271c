"""Recovery: what is left is fitted to the original, in the order of the graph, on samples drawn from everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from tcc import frontends
from tcc.ir.channels import Groups, sliced
from tcc.ir.channels.slicing import kept
from tcc.ir.model import Model
from tcc.passes._prune_consumers import added_to, consumers
from tcc.passes._prune_recovery import recover
from tcc.passes._prune_taps import joined
from tcc.passes.base import Context
from tcc.passes.prune import Prune, groups_of
from tcc.targets import parse_target
from tests import channel_models

RESIDUAL = """g (float[B,12] x, float[12,24] w0, float[24] b0, float[24,24] w1, float[24] b1,
    float[24,5] w2, float[5] b2) => (float[B,5] y) { a = Gemm(x, w0, b0)  r = Relu(a)  c = Gemm(r, w1, b1)
    d = Add(c, a)  e = Relu(d)
    y = Gemm(e, w2, b2) }"""
OVER_TIME = """g (float[T,1,12] x, int64 axis) => (float[T,1,12] y) { y = CumSum(x, axis) }"""


def model(text: str, **constants: Any) -> Model:
    proto = onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + text)
    return frontends.load(channel_models.with_weights(proto, constants))


def samples(classes: int = 6, each: int = 100) -> list[dict[str, np.ndarray]]:
    """One feed a class, each around a middle of its own."""
    drawn = np.random.default_rng(3)
    middles = drawn.normal(size=(classes, 1, 12))
    return [{"x": (m + 0.5 * drawn.normal(size=(each, 12))).astype(np.float32)} for m in middles]


def by_hand() -> tuple[Groups, Model, dict[Any, np.ndarray], tuple[Any, ...]]:
    """The groups, a slice without the first third of each, what is kept, and data."""
    feeds = samples()
    groups, _ = groups_of(model(RESIDUAL), feeds[:1])
    removal = {g: np.arange(g.size) < g.size // 3 for g in groups.groups}
    return groups, sliced(groups, removal), kept(removal), joined(groups.network.model, feeds)


def run(step: Prune, feeds: Sequence[Any]) -> Any:
    context = Context(parse_target("x86-64-vnni"), feeds=tuple(feeds[:1]), calibration=tuple(feeds))
    return step.run(model(RESIDUAL), context)


def test_batches_are_drawn_from_all_samples() -> None:
    feeds = samples()
    batches = joined(model(RESIDUAL), feeds)
    assert sum(len(batch["x"]) for batch in batches) == 600
    whole = np.concatenate([feed["x"] for feed in feeds]).mean(axis=0)
    spread = max(float(np.linalg.norm(feed["x"].mean(axis=0) - whole)) for feed in feeds)
    assert all(np.linalg.norm(batch["x"].mean(axis=0) - whole) < 0.5 * spread for batch in batches[:-1])
    together = np.concatenate([batch["x"] for batch in batches])
    assert np.array_equal(np.sort(together, axis=0), np.sort(np.concatenate([f["x"] for f in feeds]), axis=0))


def test_an_axis_of_time_is_not_cut() -> None:
    feeds = [{"x": np.ones((7, 1, 12), np.float32)} for _ in range(3)]
    assert joined(model(OVER_TIME, axis=np.array(0)), feeds) == tuple(feeds)


def test_what_a_residual_is_added_to_is_found() -> None:
    groups, *_ = by_hand()
    found = {c.name: added_to(c, c.site.node) for c in consumers(groups)}
    assert {name: value and value.name for name, value in found.items()} == {"w0": None, "w1": "a", "w2": None}


def test_fitting_again_counts_no_bias_twice() -> None:
    groups, small, keep, data = by_hand()
    original = groups.network.model
    first = recover(original, small, list(consumers(groups)), keep, data)
    second = recover(original, small, list(consumers(groups)), keep, data)
    assert first["after"] < 0.7 * first["before"]
    assert second["before"] == pytest.approx(first["after"])
    assert second["after"] <= first["after"]
    assert second["step"] in {0.0, 0.5} or second["after"] > 0.5 * first["after"]


def test_the_nearest_of_several_shapes_is_taken() -> None:
    facts = run(Prune(macs=0.5), samples()).facts
    assert len(facts["tried"]) == 3
    assert facts["recovery"]["after"] == min(facts["tried"])
    before, after = facts["operations"]
    assert after <= 0.5 * before
    assert "tried" not in run(Prune(macs=0.5, recover=False), samples()).facts
    assert len(run(Prune(macs=0.5, importance="l2"), samples()).facts["tried"]) == 2
