"""Depth pruning: blocks that say little go, what is left is proven, and others stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tcc
from tcc import frontends
from tcc.diagnostics import TccError
from tcc.ir.channels.observing import observe
from tcc.ir.channels.proof import equal
from tcc.ir.execution import Runner
from tcc.passes._prune_blocks import Gated, blocks, masked, without
from tcc.passes.base import Context
from tcc.passes.prune_depth import PruneDepth
from tcc.targets import parse_target
from tests import channel_models

TOWER = """g (float[B,8] x, float[8,8] w0, float[8,8] w1, float[8,8] w2, float[8,8] v2, float[8,8] w3, float[8,4] h)
    => (float[B,4] y) { a = MatMul(x, w0)  b = Relu(a)
    c = MatMul(b, w1)  d = Tanh(c)  e = Add(d, b)
    f = MatMul(e, w2)  i = Relu(f)  j = MatMul(i, v2)  k = Sum(e, j)  l = Relu(k)
    m = MatMul(l, w3)  n = MatMul(b, w3)  o = Add(m, n)  y = MatMul(o, h) }"""


def tower(*small: str) -> tuple[onnx.ModelProto, tuple[dict[str, Any], ...]]:
    """Three sums, of which two are residual blocks; the named weights hardly count."""
    proto = channel_models.with_weights(onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + TOWER), {})
    for tensor in proto.graph.initializer:
        if tensor.name in small:
            array = onnx.numpy_helper.to_array(tensor) * np.float32(1e-3)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return proto, tuple(channel_models.feeds(proto, 40))


def pruned(step: PruneDepth, *small: str, max_loss: float = 0.01) -> Any:
    proto, feeds = tower(*small)
    context = Context(parse_target("x86-64-vnni"), feeds=feeds[:2], calibration=feeds, max_loss=max_loss)
    return step.run(frontends.load(proto), context)


def test_blocks_are_sums_with_what_they_are_computed_from() -> None:
    proto, feeds = tower()
    model = frontends.load(proto)
    found = blocks(model, observe(model, feeds[:1]).shapes)
    assert [(block.output, block.branch) for block in found] == [("e", 0), ("k", 1)]
    assert [b.output for b in channel_blocks("residual")] == ["d"]
    assert not channel_blocks("squeeze_excite")


def channel_blocks(case: str) -> Any:
    proto = channel_models.model(case)
    model = frontends.load(proto)
    return blocks(model, observe(model, channel_models.feeds(proto)).shapes)


def test_a_block_that_hardly_counts_goes_and_the_others_stay() -> None:
    result = pruned(PruneDepth(recover=False), "v2")
    assert result.facts["removed"] == ["k"]
    assert result.facts["proof"]["difference"] <= 1e-5
    assert result.facts["loss"] <= 0.01 < result.facts["losses"]["e"]
    assert sorted(result.model.graph.initializers) == ["h", "w0", "w1", "w3"]
    onnx.checker.check_model(result.model.to_proto(), full_check=True)


def test_without_a_small_one_nothing_goes() -> None:
    result = pruned(PruneDepth(), max_loss=1e-4)
    assert not result.changed
    assert "within the budget" in result.facts["declined"]["all"]


def test_as_many_go_as_are_asked_for_least_loss_first() -> None:
    assert pruned(PruneDepth(most=1), "w1").facts["removed"] == ["e"]
    assert sorted(pruned(PruneDepth(most=5), "w1").facts["removed"]) == ["e", "k"]
    with pytest.raises(ValueError, match="most"):
        PruneDepth(most=-1)


def test_recovery_brings_the_outputs_nearer() -> None:
    facts = pruned(PruneDepth(most=1), max_loss=1.0).facts
    assert facts["recovery"]["after"] < 0.9 * facts["recovery"]["before"]


def test_gates_masks_and_removal_agree() -> None:
    proto, feeds = tower()
    model = frontends.load(proto)
    found = blocks(model, observe(model, feeds[:1]).shapes)
    gated = Gated(model, found)
    for gone in (found[:1], found[1:], found):
        small = without(model, gone)
        assert equal(masked(model, gone), small, feeds[:2]).holds
        stripped, weights = small.stripped_proto()
        assert gated.run(feeds[0], gone)[0] == pytest.approx(Runner(stripped, weights=weights).run(feeds[0])[0])
    assert not equal(masked(model, found[:1]), without(model, found), feeds[:2]).holds


def test_a_sum_that_is_an_output_keeps_its_name() -> None:
    text = """g (float[B,8] x, float[8,8] w) => (float[B,8] y) { r = Relu(x)  a = MatMul(r, w)  y = Add(r, a) }"""
    proto = channel_models.with_weights(onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + text), {})
    feeds = tuple(channel_models.feeds(proto))
    context = Context(parse_target("x86-64-vnni"), feeds=feeds, calibration=feeds)
    result = PruneDepth(most=1).run(frontends.load(proto), context)
    assert [o.name for o in result.model.graph.outputs] == ["y"]
    assert not result.model.graph.initializers


def test_it_needs_data_and_stands_in_a_pipeline(digits: Path) -> None:
    given: dict[str, Any] = {"target": "x86-64-vnni", "calibration": digits / "digits_calib.npz", "max_loss": 1.0}
    made = tcc.compile(digits / "digits.onnx", passes="canonicalize,fold,prune-depth{most=1},simplify", **given)
    (record,) = (record for record in made.records if record.name == "prune-depth")
    assert len(record.facts["removed"]) == 1
    with pytest.raises(TccError) as raised:
        tcc.compile(digits / "digits.onnx", passes="canonicalize,prune-depth", target="x86-64-vnni")
    assert raised.value.diagnostics[0].code == "E0235"
