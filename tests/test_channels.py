"""Channel groups: what goes together in each kind of graph, and slices that equal their masked originals."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tcc import frontends
from tcc.ir import channels
from tcc.ir.channels.choosing import at_ratio
from tcc.ir.channels.slicing import kept
from tcc.ir.model import Model
from tcc.passes.canonicalize import Canonicalize
from tests import channel_models

SIZES = {
    "residual": [8], "grouped": [4, 4, 6], "depthwise": [12], "transposed": [2, 4, 3], "shuffle": [2, 8],
    "strided_view": [8],
    "concat_slice_split": [4], "squeeze_excite": [2, 8], "flattened": [8, 10], "attention": [3, 4, 4],
    "computed_shapes": [3, 4], "grouped_queries": [2, 3, 4], "rotary": [4], "layer_norm": [8, 12],
    "written_out_norm": [12], "group_norm": [3, 4], "channel_softmax": [12], "pixel_shuffle": [6],
    "experts_apart": [6, 8, 10], "experts_stacked": [8],
    "lstm": [8], "gru": [8], "tied_vocabulary": [12], "einsum": [2, 5], "quantized": [8],
}  # fmt: skip
"""Units of each group, sorted."""


def found(case: str, **options: Any) -> tuple[channels.Groups, list[dict[str, Any]]]:
    proto = channel_models.model(case, **options)
    feeds = channel_models.feeds(proto)
    model = Canonicalize().run(frontends.load(proto), None).model  # type: ignore[arg-type]
    return channels.find(model, feeds), feeds


def halved(groups: channels.Groups) -> dict[channels.Group, np.ndarray]:
    return at_ratio(groups, 0.5, lambda group: np.random.default_rng(group.size).random(group.size))


@pytest.mark.parametrize("case", channel_models.CASES)
def test_the_slice_equals_the_mask(case: str) -> None:
    groups, feeds = found(case)
    removal = halved(groups)
    proof, model = channels.prove(groups, removal, feeds)
    assert proof.holds, proof.reason
    assert proof.tolerance == 1e-5
    assert model is not None
    assert model.parameter_count < 0.8 * groups.network.model.parameter_count
    assert model.signature == groups.network.model.signature
    onnx.checker.check_model(model.to_proto(), full_check=True)


@pytest.mark.parametrize("case", sorted(SIZES))
def test_the_groups_have_the_expected_units(case: str) -> None:
    groups, _ = found(case)
    assert sorted(group.size for group in groups.groups) == sorted(SIZES[case]), [g.text() for g in groups.groups]


@pytest.mark.parametrize("case", ["grouped", "attention"])
def test_groups_that_share_axes_leave_the_asked_part_of_each(case: str) -> None:
    groups, _ = found(case)
    keep = kept(halved(groups))
    parts = [mask.mean() for (value, _), mask in keep.items() if value.const_value is not None and len(mask) >= 12]
    assert len(parts) >= 2
    assert all(0.35 <= part <= 0.6 for part in parts), parts


def test_a_convolution_keeps_its_groups_and_each_gets_narrower() -> None:
    groups, feeds = found("grouped")

    def pruned(minimum: int) -> tuple[int, tuple[int, ...]]:
        removal = at_ratio(groups, 0.5, lambda group: np.arange(group.size, dtype=float), minimum)
        proof, model = channels.prove(groups, removal, feeds)
        assert proof.holds, proof.reason
        assert model is not None
        (node,) = (node for node in model.to_proto().graph.node if any(a.name == "group" for a in node.attribute))
        weight = model.graph.initializers[node.input[1]].const_value
        assert weight is not None
        return next(a.i for a in node.attribute if a.name == "group"), tuple(weight.shape.numpy())

    # Of 24 x 4 x 3 x 3 in four groups half of both axes stays.
    assert pruned(minimum=1) == (4, (12, 2, 3, 3))
    # Where groups may not get narrower, whole ones go.
    assert pruned(minimum=4) == (3, (9, 4, 3, 3))


def loaded(text: str, **numbers: Any) -> tuple[Model, list[dict[str, Any]]]:
    proto = channel_models.with_weights(onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + text), numbers)
    return Canonicalize().run(frontends.load(proto), None).model, channel_models.feeds(proto)  # type: ignore[arg-type]


@pytest.mark.parametrize("opset", [7, 8, 11, 12, 13, 20, 23, 26])
@pytest.mark.parametrize("case", ["residual", "grouped", "attention", "squeeze_excite"])
def test_old_and_new_operator_sets(case: str, opset: int) -> None:
    groups, feeds = found(case, opset=opset)
    proof, model = channels.prove(groups, halved(groups), feeds)
    assert proof.holds, proof.reason
    assert model is not None
    assert model.opset == opset


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 12])
def test_computed_shapes_of_every_operator_set(opset: int) -> None:
    text = """g (float[B,T,12] x, float[12,12] wv, float[12,6] wo, int64 zero, int64 one, int64[1] n4, int64[1] rest,
        int64[1] all) => (float[B,T,6] y) {
        v = MatMul(x, wv)  sh = Shape(v)  b0 = Gather(sh, zero)  t0 = Gather(sh, one)
        b = Unsqueeze<axes=[0]>(b0)  t = Unsqueeze<axes=[0]>(t0)
        target = Concat<axis=0>(b, t, n4, rest)  h = Reshape(v, target)  r = Relu(h)
        back = Concat<axis=0>(b, t, all)  m = Reshape(r, back)  y = MatMul(m, wo) }"""
    numbers = {"zero": 0, "one": 1, "n4": [4], "rest": [3], "all": [12]}
    proto = onnx.parser.parse_model(channel_models.HEAD.format(opset=opset) + text)
    proto = channel_models.with_weights(proto, numbers)
    model, feeds = Canonicalize().run(frontends.load(proto), None).model, channel_models.feeds(proto)  # type: ignore[arg-type]
    groups = channels.find(model, feeds)
    proof, small = channels.prove(groups, halved(groups), feeds)
    assert proof.holds, proof.reason
    assert small is not None
    assert small.parameter_count < 0.8 * model.parameter_count


def test_a_unit_prints_every_slice() -> None:
    groups, _ = found("residual")
    (group,) = groups.groups
    lines = group.text(3).splitlines()
    assert lines[0].endswith("unit 3")
    weights = {line.split()[1] for line in lines if line.startswith("  weight")}
    assert weights == {"w0[0]", "b0[0]", "w1[0]", "w1[1]", "s[0]", "b[0]", "m[0]", "v[0]", "w2[1]"}
    assert all(line.split()[2] == "3" for line in lines[1:])
    graph = group.graph()
    assert graph.nodes["w0[0]"]["constant"]
    assert graph.number_of_nodes() == len(lines) - 1


def test_an_unknown_operator_freezes_what_it_touches_and_is_named() -> None:
    model, feeds = loaded(
        """g (float[1,3,6,6] x, float[8,3,1,1] w0, float[8,8,1,1] w1, float[4,8,1,1] w2, int64[2] axes)
        => (float[1,4,6,6] y) {
        a = Conv(x, w0)  b = Conv(a, w1)  c = Det(b)  d = Unsqueeze(c, axes)  s = Add(b, d)  y = Conv(s, w2) }""",
        axes=[2, 3],
    )
    groups = channels.find(model, feeds)
    assert [group.size for group in groups.groups] == [8]
    assert "Det" in next(iter(groups.unknown()))
    assert any("Det" in reason for reason in groups.frozen.values())


def test_what_a_body_reads_is_frozen() -> None:
    model, feeds = loaded(
        """g (float[1,3,6,6] x, float[8,3,1,1] w0, float[8,8,1,1] w1, float[4,8,1,1] w2, bool flag)
        => (float[1,4,6,6] y) { a = Conv(x, w0)  b = Conv(a, w1)
        c = If(flag) <then_branch = t () => (float[1,8,6,6] p) { p = Relu(b) },
        else_branch = e () => (float[1,8,6,6] q) { q = Neg(b) }>  y = Conv(c, w2) }""",
        flag=True,
    )
    groups = channels.find(model, feeds)
    (group,) = groups.groups
    assert {f"{v.name}[{axis}]" for (v, axis), _ in group.weights()} == {"w0[0]", "w1[1]"}
    proof, _ = channels.prove(groups, halved(groups), feeds)
    assert proof.holds, proof.reason


def test_a_weight_that_two_layers_share_is_sliced_for_both() -> None:
    model, feeds = loaded(
        """g (float[1,8,6,6] x, float[8,8,1,1] w0, float[8,8,1,1] w, float[4,8,1,1] w2) => (float[1,4,6,6] y) {
        a = Conv(x, w0)  b = Conv(a, w)  r = Relu(b)  c = Conv(r, w)  y = Conv(c, w2) }"""
    )
    groups = channels.find(model, feeds)
    assert [group.size for group in groups.groups] == [8]
    proof, small = channels.prove(groups, halved(groups), feeds)
    assert proof.holds, proof.reason
    assert small is not None
    assert list(small.graph.initializers["w"].shape) == [4, 4, 1, 1]  # type: ignore[arg-type]


def test_a_wrong_slice_is_caught() -> None:
    """The proof compares two computations: a rule that couples the wrong indices must fail it."""
    groups, feeds = found("residual")
    (group,) = groups.groups
    wrong = {key: units[::-1].copy() if key[0].name == "w2" else units for key, units in group.slices.items()}
    broken = channels.Group(group.name, group.size, wrong)
    removed = np.arange(8) < 3
    proof, _ = channels.prove(channels.Groups(groups.network, (broken,), {}), {broken: removed}, feeds)
    assert not proof.holds
    assert "differs by" in proof.reason


def test_a_group_that_fails_stays_and_is_named() -> None:
    groups, feeds = found("flattened")
    first, second = groups.groups
    wrong = {key: units[::-1].copy() if key[0].name == "w1" else units for key, units in first.slices.items()}
    broken = channels.Group("broken", first.size, wrong)
    made = channels.Groups(groups.network, (broken, second), {})
    proven = channels.prove_most(made, {broken: np.arange(8) < 3, second: np.arange(10) < 5}, feeds)
    assert list(proven.removal) == [second]
    assert proven.proof.holds
    assert "differs by" in proven.failed["broken"]


def test_what_picks_by_order_is_proven_before_it_picks() -> None:
    """Rounding to whole numbers makes of the least difference a large one: what it rounds is compared in its place."""
    model, feeds = loaded(
        """g (float[B,64] x, float[64,48] w0, float[48] s, float[48,64] w1, float many, float seven, int64[1] count)
        => (float[B,64] z, int64[B,1] i) {
        a = MatMul(x, w0)  n = LayerNormalization(a, s)  b = MatMul(n, w1)  m = Mul(b, many)  c = Round(m)
        y = Mod<fmod=1>(c, seven)  t, i = TopK(y, count)
        u = ReduceSum<keepdims=0>(y)  f = Less(u, many)
        z = If(f) <then_branch = t () => (float[B,64] p) { p = Sub(y, m) },
        else_branch = e () => (float[B,64] q) { q = Neg(y) }> }""",
        many=3e6, seven=7.0, count=[1],
    )  # fmt: skip
    groups = channels.find(model, feeds)
    assert [group.size for group in groups.groups] == [48]
    proof, small = channels.prove(groups, halved(groups), feeds)
    assert proof.holds, proof.reason
    assert proof.inner == 1  # m, which Round and a body read
    assert proof.difference < 1e-5
    assert small is not None
    (group,) = groups.groups
    wrong = {key: units[::-1].copy() if key[0].name == "w1" else units for key, units in group.slices.items()}
    broken = channels.Group(group.name, group.size, wrong)
    proof, _ = channels.prove(channels.Groups(groups.network, (broken,), {}), {broken: np.arange(48) < 9}, feeds)
    assert not proof.holds
