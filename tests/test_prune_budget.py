"""A budget is kept by what could be proven, or it is an error; a ratio that is missed is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

import tcc
from tcc import frontends
from tcc.diagnostics import TccError
from tcc.ir.channels import Group, proof
from tcc.ir.channels.proof import Proof
from tcc.passes._prune_latency import Stopwatch
from tcc.passes.base import Context, PassResult
from tcc.passes.prune import Prune
from tcc.targets import parse_target
from tests import channel_models

WIDE = """g (float[B,12] x, float[12,40] w0, float[40,30] w1, float[30,20] w2, float[20,5] w3) => (float[B,5] y) {
    a = MatMul(x, w0)  r = Relu(a)  b = MatMul(r, w1)  s = Relu(b)  c = MatMul(s, w2)  t = Relu(c)
    y = MatMul(t, w3) }"""


def proto() -> onnx.ModelProto:
    return channel_models.with_weights(onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + WIDE), {})


def samples(count: int = 200) -> tuple[dict[str, np.ndarray], ...]:
    drawn = np.random.default_rng(1)
    return tuple({"x": drawn.normal(size=(1, 12)).astype(np.float32)} for _ in range(count))


def run(step: Prune, *, data: bool = True, target: str = "x86-64-vnni") -> PassResult:
    feeds = samples()
    context = Context(parse_target(target), feeds=feeds[:2], calibration=feeds if data else None)
    return step.run(frontends.load(proto()), context)


@pytest.fixture
def distrust(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the proof fail wherever a group of one of these names shrinks."""
    prove = proof.prove

    def wrap(*names: str) -> None:
        def doubting(groups: Any, removal: Mapping[Group, np.ndarray], *rest: Any) -> Any:
            if any(group.name.startswith(names) for group in removal):
                return Proof(False, float("inf"), proof.TOLERANCE, "it is doubted"), None
            return prove(groups, removal, *rest)

        monkeypatch.setattr(proof, "prove", doubting)

    return wrap


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("of", ["macs", "size"])
def test_what_one_group_cannot_save_the_others_do(distrust: Any, of: str, *, data: bool) -> None:
    distrust("w1[1]")
    facts = run(Prune(**{of: 0.6}), data=data).facts  # type: ignore[arg-type]
    before, after = facts["operations" if of == "macs" else "bytes"]
    assert after <= 0.6 * before
    assert facts["budget"] == {"of": of, "asked": 0.6, "reached": pytest.approx(after / before)}
    assert facts["unproven"] == {"w1[1]": "it is doubted"}
    assert not any(name.startswith("w1[1]") for name in facts["removed"])


def test_what_the_rest_cannot_save_is_infeasible_with_the_best_point(distrust: Any) -> None:
    distrust("w1[1]", "w0[1]")
    with pytest.raises(TccError) as raised:
        run(Prune(macs=0.3))
    (problem,) = raised.value.diagnostics
    assert raised.value.exit_code == 5
    assert "the best point is" in problem.message
    assert len([note for note in problem.notes if "could not be proven: it is doubted" in note]) == 2


@pytest.mark.parametrize("target", ["x86-64-vnni", "native,threads=1"])
def test_a_latency_is_measured_of_what_was_proven(distrust: Any, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    def counted(self: Stopwatch, model: Any, *, sessions: int = 1) -> float:
        assert sessions
        return float(model.parameter_count / self.original.parameter_count)

    monkeypatch.setattr(Stopwatch, "ratio", counted)
    distrust("w1[1]")
    asked = 0.7 if target.startswith("native") else 0.99
    facts = run(Prune(latency=asked), target=target).facts
    assert facts["unproven"]
    assert facts["budget"]["reached"] <= asked * 1.05


def test_nothing_proven_is_infeasible_for_a_budget_and_told_for_a_ratio(distrust: Any) -> None:
    distrust("w")
    for budget in (Prune(macs=0.9), Prune(size=0.9), Prune(latency=0.9)):
        with pytest.raises(TccError) as raised:
            run(budget)
        assert raised.value.exit_code == 5
    result = run(Prune(ratio=0.5))
    assert not result.changed
    assert "no group could be proven" in result.facts["missed"]


def test_a_model_without_groups_misses_a_budget() -> None:
    plain = onnx.parser.parse_model(
        channel_models.HEAD.format(opset=17) + "g (float[B,6] x) => (float[B,6] y) { y = Relu(x) }"
    )
    context = Context(parse_target("x86-64-vnni"), feeds=({"x": np.ones((1, 6), np.float32)},))
    with pytest.raises(TccError) as raised:
        Prune(size=0.5).run(frontends.load(plain), context)
    assert raised.value.exit_code == 5
    assert "no group has units to spare" in raised.value.diagnostics[0].notes[0]
    assert not Prune(ratio=0.5).run(frontends.load(plain), context).changed


def test_a_ratio_that_is_missed_is_a_note(distrust: Any) -> None:
    distrust("w1[1]")
    result = tcc.compile(
        proto(), passes="prune{ratio=0.5}", target="x86-64-vnni", calibration=list(samples()), max_loss=1.0
    )
    (note,) = (d for d in result.diagnostics if d.code == "N0709")
    assert "1 of 3 groups stay whole, they could not be proven (w1[1]: it is doubted)" in note.message


def test_what_is_added_to_say_what_is_kept_counts() -> None:
    before, after = run(Prune(size=0.4), data=False).facts["bytes"]
    result = run(Prune(size=0.4), data=False)
    assert after == sum(v.const_value.nbytes for v in result.model.graph.initializers.values() if v.const_value)
    assert after <= 0.4 * before
