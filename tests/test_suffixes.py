"""Switches run no more of a model than lies behind them, and say what they say in the whole model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tcc.frontends import load
from tcc.ir import probing, suffixes
from tcc.ir.calibration import observe
from tcc.ir.execution import Runner
from tcc.ir.inference import annotate
from tcc.ir.loss import Judge
from tcc.ir.model import Model
from tcc.ir.probing import Tap

DRAW = np.random.default_rng(0)
FEEDS = [{"x": DRAW.normal(size=(3, 8)).astype(np.float32)} for _ in range(3)]
DEPTH = 12


def deep() -> onnx.ModelProto:
    """Residual layers with a second output that leaves early, and a branch whose bodies read values from outside."""
    weights = {f"w{i}": DRAW.normal(size=(8, 8)) / 4 for i in range(DEPTH)}
    nodes, at = [helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0)], "x"
    for i in range(DEPTH):
        nodes += [
            helper.make_node("MatMul", [at, f"w{i}"], [f"p{i}"]), helper.make_node("Relu", [f"p{i}"], [f"r{i}"]),
            helper.make_node("Add", [at, f"r{i}"], [f"s{i}"]),
        ]  # fmt: skip
        at = f"s{i}"
    bodies = {
        f"{branch}_branch": helper.make_graph(
            [helper.make_node("Add", ["s2", name], [branch])], branch, [],
            [helper.make_tensor_value_info(branch, TensorProto.FLOAT, None)],
        )
        for branch, name in (("then", "r9"), ("else", "r10"))
    }  # fmt: skip
    nodes += [
        helper.make_node("Greater", ["mean", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["b"], **bodies),
        helper.make_node("Add", ["b", at], ["y"]),
    ]  # fmt: skip
    constants = {**weights, "zero": np.zeros(())}
    graph = helper.make_graph(
        nodes, "deep",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in ("y", "s1")],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def typed() -> Model:
    model = load(deep())
    annotate(model)
    return model


def tapped(model: Model) -> list[Tap]:
    names = ["x", *(f"{kind}{i}" for i in range(DEPTH) for kind in "prs")]
    return probing.taps(names, observe(model, FEEDS))


def in_the_whole(model: Model, taps: list[Tap]) -> dict[str, float]:
    proto, weights = probing.probe(model, [tap.value for tap in taps])
    runner = Runner(proto, weights=weights, optimise=True)
    off = {name: np.zeros((), np.float32) for name in runner.inputs if name.startswith("tcc")}
    found = {}
    for tap in taps:
        wide = {"step": tap.step, "low": -np.inf, "high": np.inf}
        judge, on = Judge(), {f"tcc_probe_{name}:{tap.value}": np.asarray(x, np.float32) for name, x in wide.items()}
        for feed in FEEDS:
            judge.add(runner.run(feed | off), runner.run(feed | off | on))
        found[tap.value] = judge.energy / tap.error**2
    return found


@pytest.mark.parametrize("threads", [1, 2])
def test_slopes_are_those_of_the_whole_model(threads: int) -> None:
    model = typed()
    taps = tapped(model)
    assert len(taps) == 1 + 3 * DEPTH
    found, wanted = probing.slopes(model, taps, FEEDS, threads=threads), in_the_whole(model, taps)
    assert found.keys() == wanted.keys()
    for name, slope in found.items():
        assert slope == pytest.approx(wanted[name], rel=1e-3, abs=1e-9), name
    assert wanted["s1"] > 0, "the second output answers too"


def test_parts_run_less_than_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sizes = typed(), list[tuple[int, int]]()
    true = suffixes._part

    def counted(model: Model, cut: Any, switches: Any) -> Any:
        sizes.append((len(list(model.graph)) - cut.start, len(cut.switches)))
        return true(model, cut, switches)

    monkeypatch.setattr(suffixes, "_part", counted)
    probing.slopes(model, tapped(model), FEEDS)
    assert len(sizes) == suffixes._PARTS
    run = sum(nodes * count for nodes, count in sizes)
    assert run < 0.6 * sizes[0][0] * sum(count for _, count in sizes)
