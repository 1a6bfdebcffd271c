"""Importance by measuring: a unit's score is what the outputs lose without it, or to first order."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tcc import frontends
from tcc.ir import channels
from tcc.ir.channels.slicing import replace_constant
from tcc.ir.execution import Runner
from tcc.ir.loss import Judge
from tcc.passes._prune_probe import LEVELS, Probe, measured
from tcc.passes.canonicalize import Canonicalize
from tests import channel_models


def found(case: str) -> tuple[channels.Groups, list[dict[str, Any]]]:
    proto = channel_models.model(case)
    feeds = channel_models.feeds(proto)
    model = Canonicalize().run(frontends.load(proto), None).model  # type: ignore[arg-type]
    return channels.find(model, feeds), feeds


@pytest.mark.parametrize(
    "case", ["residual", "grouped", "transposed", "flattened", "attention", "einsum", "tied_vocabulary"]
)
def test_what_is_measured_is_what_the_masked_original_loses(case: str) -> None:
    """The probe's masks and the slice are two computations of the same."""
    groups, feeds = found(case)
    probe = Probe(groups)
    assert probe.masked
    scores = measured(groups, feeds, LEVELS["mask"])
    expected = [probe.run(feed) for feed in feeds]
    group = probe.masked[0]
    for unit in range(min(group.size, 3)):
        removed = np.arange(group.size) == unit
        small = channels.sliced(groups, {group: removed})
        proto, weights = small.stripped_proto()
        runner = Runner(proto, weights=weights)
        judge = Judge()
        for feed, outputs in zip(feeds, expected, strict=True):
            judge.add(outputs, runner.run(feed))
        assert scores[group][unit] == pytest.approx(judge.energy, rel=1e-3, abs=1e-7)


def test_of_a_linear_model_the_first_order_is_all_there_is() -> None:
    text = """g (float[B,6] x, float[6,10] w0, float[10,4] w1) => (float[B,4] y) {
        a = MatMul(x, w0)  y = MatMul(a, w1) }"""
    proto = channel_models.with_weights(onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + text), {})
    feeds = channel_models.feeds(proto)
    groups = channels.find(frontends.load(proto), feeds)
    whole, first = (measured(groups, feeds, LEVELS[name]) for name in ("mask", "taylor"))
    (group,) = groups.groups
    assert whole[group] == pytest.approx(first[group], rel=1e-3)


def test_dead_units_are_worth_nothing() -> None:
    groups, feeds = found("flattened")
    group = groups.groups[1]
    weight = next(v for (v, axis), _ in group.weights() if axis == 1 and v.name == "w2")
    array = np.array(weight.const_value.numpy())  # type: ignore[union-attr]
    array[:, 4] = 0
    replace_constant(weight, array)
    for level in LEVELS.values():
        scores = measured(groups, feeds, level)[group]
        assert scores[4] == 0
        assert np.argmin(scores) == 4
