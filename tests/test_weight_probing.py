"""A rounded weight is measured by itself, and the prediction of a site says what a program with it loses."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.frontends import load
from tcc.ir import weight_probing
from tcc.ir.execution import Runner
from tcc.ir.loss import Judge
from tcc.ir.weight_probing import Reweighted

DRAW = np.random.default_rng(0)
SIZES = np.geomspace(0.2, 1, 128)
WEIGHTS = {
    "k": DRAW.normal(size=(16, 8, 3, 3)) / 8.0,
    "w": DRAW.normal(size=(128, 1, 3, 3)) * SIZES.reshape(-1, 1, 1, 1) / 3.0,
    "p": DRAW.normal(size=(16, 128, 1, 1)) / SIZES.reshape(1, -1, 1, 1) / 11.0,
    "g": DRAW.normal(size=(32, 16)) / 4.0, "bias": DRAW.normal(size=32) / 4.0, "m": DRAW.normal(size=(32, 64)),
}  # fmt: skip


def network(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """A convolution, a depthwise one whose channels count alike but differ in size, a transposed Gemm, a product."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Tile", ["c", "times"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["e"], pads=[1, 1, 1, 1], group=128),
        helper.make_node("Conv", ["e", "p"], ["o"]),
        helper.make_node("Relu", ["o"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["a"]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "bias"], ["d"], transB=1),
        helper.make_node("Tanh", ["d"], ["t"]),
        helper.make_node("MatMul", ["t", "m"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 64])],
        [
            numpy_helper.from_array(np.array([1, 8, 1, 1]), "times"),
            *(numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()),
        ],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FEEDS: list[dict[str, Any]] = [
    {"x": np.float32(DRAW.normal(size=(1, 8, 12, 12)) + 2 * DRAW.normal(size=(1, 8, 1, 1)))} for _ in range(12)
]  # fmt: skip


def test_a_weight_loses_what_the_network_with_it_loses() -> None:
    others = {name: np.round(WEIGHTS[name] * 4) / 4 for name in ("k", "w", "g", "m")}
    made = {"k": "c", "w": "e", "g": "d", "m": "y"}
    tried = [
        Reweighted(made[name], form, array.ndim, 0.0, lambda array=array: array)  # type: ignore[misc]
        for name, array in others.items() for form in ("one", "other")
    ]  # fmt: skip
    found = weight_probing.losses(load(network(WEIGHTS)), tried, FEEDS)
    for each, loss in zip(tried, found, strict=True):
        (name,) = (key for key, value in made.items() if value == each.value)
        judge, runners = Judge(), [Runner(network(w)) for w in (WEIGHTS, WEIGHTS | {name: others[name]})]
        for feed in FEEDS:
            judge.add(*(runner.run(feed) for runner in runners))
        assert loss == pytest.approx(judge.energy, rel=1e-3)
        assert loss > 1e-4


@pytest.mark.parametrize("technique", ["stored-int8", "static-int8"])
def test_what_is_predicted_is_what_is_measured(technique: str) -> None:
    pipeline = f"simplify,compress{{techniques={technique},objective=size,slower=true}}"
    result = tcc.compile(network(WEIGHTS), passes=pipeline, target="x86-64-vnni", calibration=FEEDS, max_loss=1.0)
    (facts,) = (record.facts for record in result.records if record.name == "compress")
    (first, *_) = facts["rounds"]
    assert first["sites"] >= 2
    assert first["predicted"] == pytest.approx(first["measured"], rel=0.5)
