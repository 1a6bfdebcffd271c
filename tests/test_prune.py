"""The pass: removes what its options say, proves it, and names what it left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tcc
from tcc.diagnostics import TccError
from tcc.passes.base import Context
from tcc.passes.prune import Prune
from tcc.targets import parse_target as target
from tests import channel_models


def run(case: str, step: Prune, *, data: bool = False) -> Any:
    proto = channel_models.model(case)
    feeds = tuple(channel_models.feeds(proto))
    from tcc import frontends

    context = Context(target("x86-64-vnni"), feeds=feeds, calibration=feeds if data else None)
    return step.run(frontends.load(proto), context)


def test_through_the_compiler(digits: Path, few: Path, tmp_path: Path) -> None:
    result = tcc.compile(
        digits / "digits.onnx", passes="canonicalize,inline,fold,simplify,prune{ratio=0.5},simplify,strip",
        target="x86-64-vnni", calibration=few, max_loss=1.0, output=tmp_path / "out.onnx",
    )  # fmt: skip
    (record,) = (record for record in result.records if record.name == "prune")
    before, after = record.facts["parameters"]
    assert after < 0.4 * before
    assert record.facts["proof"]["difference"] <= record.facts["proof"]["tolerance"]
    onnx.checker.check_model(str(tmp_path / "out.onnx"), full_check=True)


@pytest.mark.parametrize("importance", ["l1", "l2", "bn", "fpgm", "lamp", "random"])
def test_every_ranking_removes_the_same_number(importance: Any) -> None:
    result = run("residual", Prune(ratio=0.25, importance=importance))
    assert list(result.facts["removed"].values()) == [[2, 8]]


def test_the_smallest_channels_go_first() -> None:
    proto = channel_models.model("residual")
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).copy()
        if array.ndim and array.shape[0] == 8:
            array[[1, 6]] *= 1e-3
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    from tcc import frontends

    feeds = tuple(channel_models.feeds(proto))
    for importance in ("l1", "l2"):
        step = Prune(ratio=0.25, importance=importance)
        result = step.run(frontends.load(proto), Context(target("x86-64-vnni"), feeds=feeds))
        kept = result.model.graph.initializers["b0"].const_value.numpy()  # type: ignore[union-attr]
        original = onnx.numpy_helper.to_array(proto.graph.initializer[1])
        assert np.array_equal(kept, np.delete(original, [1, 6]))


def test_patterns_say_what_stays_and_what_may_go() -> None:
    assert len(run("flattened", Prune(ratio=0.5)).facts["removed"]) == 2
    assert list(run("flattened", Prune(ratio=0.5, ignore="w0")).facts["removed"].values()) == [[5, 10]]
    assert list(run("flattened", Prune(ratio=0.5, only="re:^w0$")).facts["removed"].values()) == [[4, 8]]
    assert list(run("flattened", Prune(ratio=0.5, only="op:Conv")).facts["removed"].values()) == [[4, 8]]


def test_patterns_that_match_nothing_are_errors_together() -> None:
    with pytest.raises(TccError) as raised:
        run("flattened", Prune(ratio=0.5, ignore="nowhere.* op:LSTM", only="re:(("))
    assert [d.code for d in raised.value.diagnostics] == ["E0240"] * 3


def test_a_minimum_is_kept() -> None:
    result = run("flattened", Prune(ratio=0.9, minimum=6))
    assert list(result.facts["removed"].values()) == [[2, 8], [4, 10]]


@pytest.mark.parametrize(("name", "value"), [("ratio", 1.0), ("ratio", -0.1), ("minimum", 0), ("macs", 0.0)])
def test_options_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Prune(**{name: value})  # type: ignore[arg-type]


def test_equal_vectors_of_different_layers_do_not_couple_them() -> None:
    text = """g (float[1,3,4,4] x, float[8,3,1,1] w0, float[8] b, float[8,8,1,1] w1, float[4,8,1,1] w2)
        => (float[1,4,4,4] y) { a = Conv(x, w0, b)  r = Relu(a)  c = Conv(r, w1, b)  s = Relu(c)  y = Conv(s, w2) }"""
    proto = channel_models.with_weights(onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + text), {})
    from tcc import frontends

    feeds = tuple(channel_models.feeds(proto))
    result = Prune(ratio=0.5).run(frontends.load(proto), Context(target("x86-64-vnni"), feeds=feeds))
    assert list(result.facts["removed"].values()) == [[4, 8], [4, 8]]


def test_the_same_bytes_every_time() -> None:
    first, second = (run("attention", Prune(ratio=0.5, importance="random")).model.to_bytes() for _ in range(2))
    assert first == second


@pytest.fixture(scope="module")
def few(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the calibration samples: what is tested here does not need all of them."""
    path = tmp_path_factory.mktemp("few") / "few.npz"
    with np.load(digits / "digits_calib.npz") as data:
        np.savez(path, **{name: data[name][:96] for name in data})
    return path


def on_digits(digits: Path, step: str, data: Path | None, *, max_loss: float = 1.0) -> tuple[Any, dict[str, Any]]:
    result = tcc.compile(
        digits / "digits.onnx", passes=f"canonicalize,inline,fold,simplify,{step}", target="x86-64-vnni",
        calibration=data, max_loss=max_loss,
    )  # fmt: skip
    (record,) = (record for record in result.records if record.name == "prune")
    return result, dict(record.facts)


def test_recovery_brings_the_outputs_nearer(digits: Path, few: Path) -> None:
    for importance in ("l1", "auto"):
        _, facts = on_digits(digits, f"prune{{ratio=0.4,importance={importance}}}", few)
        assert facts["recovery"]["after"] < 0.8 * facts["recovery"]["before"]


@pytest.mark.parametrize("importance", ["apoz", "mean", "variance", "energy", "taylor", "reconstruction"])
def test_rankings_by_data(digits: Path, few: Path, importance: str) -> None:
    _, facts = on_digits(digits, f"prune{{ratio=0.25,importance={importance},recover=false}}", few)
    assert all(removed >= size // 5 for removed, size in facts["removed"].values())
    with pytest.raises(TccError) as raised:
        on_digits(digits, f"prune{{ratio=0.25,importance={importance}}}", None)
    assert raised.value.diagnostics[0].code == "E0235"


@pytest.mark.parametrize("scope", ["global", "isomorphic"])
def test_a_ratio_of_all_units_together(digits: Path, few: Path, scope: str) -> None:
    _, facts = on_digits(digits, f"prune{{ratio=0.3,scope={scope},recover=false}}", few)
    before, after = facts["parameters"]
    assert 0.3 * before < after < 0.9 * before


def test_a_budget_of_operations_is_kept_and_hardly_undercut(digits: Path, few: Path) -> None:
    _, facts = on_digits(digits, "prune{macs=0.6}", few)
    before, after = facts["operations"]
    assert 0.5 * before < after <= 0.6 * before


def test_a_budget_of_bytes_needs_no_data(digits: Path, few: Path) -> None:
    _, facts = on_digits(digits, "prune{size=0.5}", None)
    before, after = facts["parameters"]
    assert 0.4 * before < after < 0.52 * before


def test_what_cannot_be_met_is_infeasible_with_the_best_point(digits: Path, few: Path) -> None:
    with pytest.raises(TccError) as raised:
        on_digits(digits, "prune{macs=0.0001}", few)
    assert raised.value.exit_code == 5
    assert "best point is" in raised.value.diagnostics[0].message


def test_without_a_budget_the_loss_decides(digits: Path) -> None:
    result, facts = on_digits(digits, "prune", digits / "digits_calib.npz", max_loss=0.05)
    assert result.report["accuracy"]["loss"] <= 0.05
    assert facts["parameters"][1] < 0.5 * facts["parameters"][0]


def test_kept_units_are_multiples_of_the_alignment(digits: Path, few: Path) -> None:
    _, facts = on_digits(digits, "prune{ratio=0.4,align=8,recover=false}", few)
    assert all((size - removed) % 8 == 0 for removed, size in facts["removed"].values() if size >= 16)
