"""Lossy alternatives: taken within the measured loss, legal on the target, left alone where they do not pay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import tcc


def facts(result: Any) -> dict[str, Any]:
    (record,) = (record for record in result.records if record.name == "compress")
    return dict(record.facts)


def test_smallest_takes_small_weights_within_the_measured_loss(digits: Path) -> None:
    result = tcc.compile(digits / "digits.onnx", "z", "x86-64-vnni", calibration=digits / "digits_calib.npz")
    exact = tcc.compile(digits / "digits.onnx", 2, "x86-64-vnni")
    assert any("int4:" in site for site in facts(result)["sites"])
    assert result.report["result"]["bytes"] < 0.3 * exact.report["result"]["bytes"]
    assert result.report["accuracy"]["loss"] <= 0.01
    assert facts(result)["gap"] < 1e-4


HALVES = "simplify,compress{techniques=float16,objective=size,slower=true}"


def test_half_precision_only_where_the_target_has_it(digits: Path) -> None:
    jetson = tcc.compile(digits / "digits.onnx", "z", "jetson", passes=HALVES)
    assert any(site.startswith("float16:") for site in facts(jetson)["sites"])
    processor = tcc.compile(digits / "digits.onnx", 3, "x86-64-avx2")
    assert not any(site.startswith("float16:") for site in facts(processor)["sites"])
    assert "computes no faster" in facts(processor)["declined"]["float16"]


def test_no_loss_allowed_leaves_the_exact_program(digits: Path) -> None:
    result = tcc.compile(digits / "digits.onnx", "z", "x86-64-vnni", max_loss=0.0)
    assert facts(result)["sites"] == []
    assert result.report["accuracy"]["status"] == "unmeasured"


def test_what_has_several_outputs_computes_in_half_precision_too() -> None:
    """Blocks that split their channels would else be cast to and fro around every Split."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((rng.normal(size=(64, n, 3, 3)) / 24).astype(np.float32), f"w{n}") for n in (32, 64)
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w64"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["a"], ["b", "unused", "c"], "halves", axis=1, num_outputs=3),
        helper.make_node("Split", ["a", "sizes"], ["d", "e"], "parts", axis=1),
        helper.make_node("Conv", ["e", "w32"], ["f"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["f", "b", "c", "d"], ["y"], "joined", axis=1),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64, 56, 56])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 138, 56, 56])],
        [*weights, numpy_helper.from_array(np.array([32, 32], np.int64), "sizes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    result = tcc.compile(model, 3, "jetson", measure=False)
    found = {(layer["operator"], layer["dtype"]) for layer in result.report["layers"]}
    assert {("Split", "float16"), ("Conv", "float16"), ("Concat", "float16")} <= found
    assert ("Split", "float32") not in found


def test_names_stay_short_and_tell_what_they_stand_for() -> None:
    """The names of a long chain in half precision once grew with each node, until the file was larger than before."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array((rng.normal(size=(64, 64, 3, 3)) / 24).astype(np.float32), "w")
    nodes = [helper.make_node("Conv", [f"v{i}", "w"], [f"v{i + 1}"], f"conv{i}", pads=[1, 1, 1, 1]) for i in range(24)]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64, 56, 56]) for name in ("v0", "v24")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    result = tcc.compile(model, 3, "jetson", measure=False)
    written = result.model.to_proto().graph
    assert {"v12_float16", "v3_float16"} <= {name for node in written.node for name in node.output}
    longest = max(len(name) for node in written.node for name in (node.name, *node.output))
    assert longest <= len("w_int8/dequantizelinear/DequantizeLinear")
    assert all("float16" in layer["decision"] for layer in result.report["layers"] if layer["operator"] == "Conv")
