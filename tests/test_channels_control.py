"""Channel groups through the bodies of If, Loop and Scan: the slice equals the mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tcc import frontends
from tcc.ir import channels
from tcc.ir.channels.choosing import at_ratio
from tcc.ir.execution import Runner
from tcc.ir.model import Model
from tcc.passes._hoisting import hoist
from tcc.passes.base import Context
from tcc.passes.canonicalize import Canonicalize
from tcc.passes.prune import Prune
from tcc.targets import parse_target
from tests import channel_models


def loaded(text: str, opset: int = 17, **numbers: Any) -> tuple[Model, list[dict[str, Any]]]:
    proto = channel_models.with_weights(
        onnx.parser.parse_model(channel_models.HEAD.format(opset=opset) + text), numbers
    )
    model = Canonicalize().run(frontends.load(proto), None).model  # type: ignore[arg-type]
    hoist(model)
    return model, channel_models.feeds(proto)


def halved(groups: channels.Groups) -> dict[channels.Group, np.ndarray]:
    return at_ratio(groups, 0.5, lambda group: np.random.default_rng(group.size).random(group.size))


BRANCHES = """g (float[B,3,6,6] x, float[8,3,1,1] w0, float[8,8,1,1] w1, float[8,8,1,1] w2, float[4,8,1,1] w3,
    float zero) => (float[B,4,6,6] y) { a = Conv(x, w0)  s = ReduceMean<keepdims=0>(x)  f = Greater(s, zero)
    c = If(f) <then_branch = t () => (float[B,8,6,6] p) { p0 = Conv(a, w1)  p = Relu(p0) },
    else_branch = e () => (float[B,8,6,6] q) { q0 = Conv(a, w2)  q = Tanh(q0) }>  y = Conv(c, w3) }"""
LOOP = """g (float[B,5] x, float[5,8] w0, float[8,8] w1, float[8,4] w2, float[8,3] w3, int64 many, bool on)
    => (float[B,4] y, float[3,B,3] z) { h0 = MatMul(x, w0)
    h, all = Loop(many, on, h0) <body = b (int64 i, bool go, float[B,8] h1) => (bool more, float[B,8] h2,
        float[B,8] out) { more = Identity(go)  m = MatMul(h1, w1)  t = Tanh(m)  h2 = Add(h1, t)  out = Relu(h2) }>
    y = MatMul(h, w2)  z = MatMul(all, w3) }"""
SCAN = """g (float[6,5] x, float[5,8] w0, float[8,8] w1, float[8,4] w2, float[8] h0) => (float[6,4] y, float[4] z) {
    a = MatMul(x, w0)
    h, all = Scan(h0, a) <num_scan_inputs = 1, body = b (float[8] h1, float[8] each) => (float[8] h2, float[8] out) {
        m = MatMul(h1, w1)  s = Add(m, each)  h2 = Tanh(s)  out = Relu(h2) }>
    y = MatMul(all, w2)  z = MatMul(h, w2) }"""
NESTED = """g (float[B,5] x, float[5,8] w0, float[8,8] w1, float[8,4] w2, int64 many, bool on, float zero)
    => (float[B,4] y) { h0 = MatMul(x, w0)
    h = Loop(many, on, h0) <body = b (int64 i, bool go, float[B,8] h1) => (bool more, float[B,8] h2) {
        more = Identity(go)  s = ReduceMean<keepdims=0>(h1)  f = Greater(s, zero)
        h2 = If(f) <then_branch = t () => (float[B,8] p) { p0 = MatMul(h1, w1)  p = Neg(p0) },
            else_branch = e () => (float[B,8] q) { q = Sigmoid(h1) }> }>
    y = MatMul(h, w2) }"""
INSIDE = """g (float[B,5] x, float zero) => (float[B,4] y) {
    m = ReduceMean<keepdims=0>(x)  f = Greater(m, zero)
    y = If(f) <then_branch = t () => (float[B,4] p) { v = Constant<value = float[5,8] {VALUES5}>()
        w = Constant<value = float[8,4] {VALUES4}>()  a = MatMul(x, v)  r = Relu(a)
        s = Shape(r)  o = ConstantOfShape(s)  d = Add(r, o)  p = MatMul(d, w) },
    else_branch = e () => (float[B,4] q) { v = Constant<value = float[5,4] {VALUES3}>()  q = MatMul(x, v) }> }"""


def drawn(count: int) -> str:
    return ", ".join(f"{n:.3f}" for n in np.random.default_rng(count).standard_normal(count))


INSIDE = INSIDE.replace("VALUES5", drawn(40)).replace("VALUES4", drawn(32)).replace("VALUES3", drawn(20))


REVERSED = """g (float[4,2,5] x, float[5,8] w0, float[8,4] w1, int64[2] lengths) => (float[4,2,4] y) {
    a = MatMul(x, w0)  r = ReverseSequence<batch_axis=1, time_axis=0>(a, lengths)  y = MatMul(r, w1) }"""


CASES: dict[str, tuple[str, dict[str, Any], list[int]]] = {
    "branches": (BRANCHES, {"zero": 0.0}, [8, 8]),
    "loop": (LOOP, {"many": 3, "on": True}, [8]),
    "scan": (SCAN, {}, [8]),
    "nested": (NESTED, {"many": 4, "on": True, "zero": 0.0}, [8]),
    "reversed": (REVERSED, {"lengths": [3, 4]}, [8]),
    "inside": (INSIDE, {"zero": 0.0}, [8]),
}


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize("case", CASES)
def test_the_slice_equals_the_mask_through_bodies(case: str, opset: int) -> None:
    text, numbers, sizes = CASES[case]
    model, feeds = loaded(text, opset, **numbers)
    if case in {"branches", "inside"}:
        feeds = [{"x": np.abs(feeds[0]["x"])}, {"x": -np.abs(feeds[0]["x"])}]
    groups = channels.find(model, feeds)
    assert [g.size for g in groups.groups] == sizes, groups.frozen
    proof, small = channels.prove(groups, halved(groups), feeds)
    assert proof.holds, proof.reason
    assert small is not None
    assert small.parameter_count < 0.8 * model.parameter_count
    onnx.checker.check_model(small.to_proto(), full_check=True)


def test_a_branch_that_no_input_takes_stays_as_it_is() -> None:
    model, feeds = loaded(BRANCHES, zero=0.0)
    feeds = [{"x": np.abs(feed["x"])} for feed in feeds]
    groups = channels.find(model, feeds)
    assert not groups.groups
    assert any("not computed" in reason for reason in groups.unknown().values())


def test_a_wrong_slice_in_a_body_is_caught() -> None:
    text, numbers, _ = CASES["loop"]
    model, feeds = loaded(text, **numbers)
    groups = channels.find(model, feeds)
    (group,) = groups.groups
    wrong = {key: units[::-1].copy() if key == _axis(group, "w1", 0) else u for key, u in group.slices.items()
             for units in [u]}  # fmt: skip
    broken = channels.Group(group.name, group.size, wrong)
    proof, _ = channels.prove(channels.Groups(groups.network, (broken,), {}), {broken: np.arange(8) < 3}, feeds)
    assert not proof.holds


def _axis(group: channels.Group, name: str, axis: int) -> Any:
    return next(key for key in group.slices if key[0].name == name and key[1] == axis)


def test_a_pruned_body_leaves_the_other_branch_alone() -> None:
    model, feeds = loaded(INSIDE, zero=0.0)
    feeds = [{"x": np.abs(feed["x"])} for feed in feeds]
    groups = channels.find(model, feeds)
    proof, small = channels.prove(groups, halved(groups), feeds)
    assert proof.holds, proof.reason
    assert small is not None
    other = {"x": -feeds[0]["x"]}
    before, after = (Runner(m.to_proto()).run(other)[0] for m in (model, small))
    assert np.array_equal(before, after)


def test_the_pass_takes_weights_out_of_bodies() -> None:
    proto = channel_models.with_weights(
        onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + INSIDE), {"zero": 0.0}
    )
    feeds = [{"x": np.abs(feed["x"])} for feed in channel_models.feeds(proto)]
    result = Prune(ratio=0.5).run(frontends.load(proto), Context(parse_target("x86-64-vnni"), feeds=tuple(feeds)))
    assert result.facts["removed"] == {"v/hoisted[1]": [4, 8]}
    assert result.facts["proof"]["difference"] <= 1e-5
    after = Runner(result.model.to_proto()).run(feeds[0])[0]
    assert after.shape == Runner(proto).run(feeds[0])[0].shape
