"""Weights that lie narrow in the file: the runtime computes them back once, and runs the program that it ran before."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.ir.execution import Runner
from tests.quantized_models import optimised

DRAW = np.random.default_rng(0)
FEEDS = [{"x": DRAW.normal(size=(5, 1, 32)).astype(np.float32)} for _ in range(32)]


def recurrent(*, opset: int = 14, largest: float = 1.0) -> onnx.ModelProto:
    """An LSTM, for whose weights no integer kernel is offered, then a product."""
    constants = {
        "w": DRAW.normal(size=(1, 256, 32)) / 8, "r": DRAW.normal(size=(1, 256, 64)) / 8,
        "k": DRAW.normal(size=(64, 48)) / 8 * largest,
    }  # fmt: skip
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["", "h"], "lstm", hidden_size=64),
        helper.make_node("MatMul", ["h", "k"], ["y"], "product"),
    ]
    graph = helper.make_graph(
        nodes, "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 1, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 48])],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def compiled(
    model: onnx.ModelProto, techniques: str, target: str = "x86-64-vnni", objective: str = "latency", **options: Any
) -> Any:
    pipeline = f"simplify,compress{{techniques={techniques},objective={objective}}},strip"
    return tcc.compile(model, passes=pipeline, target=target, calibration=FEEDS, max_loss=0.05, **options)


def record(result: Any) -> dict[str, Any]:
    return dict(next(r for r in result.records if r.name == "compress").facts)


@pytest.mark.parametrize(("technique", "part"), [("stored-float16", 0.55), ("stored-int8", 0.32)])
@pytest.mark.parametrize("opset", [7, 14])
def test_the_file_shrinks_and_what_runs_is_what_ran(technique: str, part: float, opset: int) -> None:
    model = recurrent(opset=opset)
    result = compiled(model, technique)
    proto = result.to_proto()
    assert proto.ByteSize() < part * model.ByteSize()
    assert optimised(proto) == optimised(model)
    assert len(record(result)["sites"]) == 3


def test_a_vector_has_one_scale() -> None:
    model = recurrent()
    model.graph.node.append(helper.make_node("Expand", ["y", "wide"], ["e"], "expand"))
    model.graph.node.append(helper.make_node("Mul", ["e", "v"], ["z"], "factor"))
    held = {"wide": np.array([24, 1, 48]), "v": DRAW.normal(size=(24, 1, 48)).astype(np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in held.items())
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, [24, 1, 48]))
    vector = numpy_helper.from_array(DRAW.normal(size=1152).astype(np.float32), "line")
    model.graph.initializer.append(vector)
    model.graph.node.append(helper.make_node("Reshape", ["z", "flat"], ["f"], "reshape"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1152]), "flat"))
    model.graph.node.append(helper.make_node("Add", ["f", "line"], ["o"], "shift"))
    model.graph.output.append(helper.make_tensor_value_info("o", TensorProto.FLOAT, [1152]))
    sites = record(compiled(model, "stored-int8", objective="size"))["sites"]
    assert "stored-int8:line" in sites


def test_a_weight_beyond_the_largest_half_is_not_stored_as_one() -> None:
    result = compiled(recurrent(largest=1e7), "stored-float16")
    assert "float16 ends at 65504" in record(result)["declined"]["stored-float16:k"]
    assert "stored-float16:w" in record(result)["sites"]


def test_a_target_that_computes_integers_back_at_each_run_gets_halves_only() -> None:
    result = compiled(recurrent(), "stored-int8+stored-float16", target="jetson")
    assert "jetson" in record(result)["declined"]["stored-int8"]
    assert {site.partition(":")[0] for site in record(result)["sites"]} == {"stored-float16"}


def test_a_level_that_may_lose_stores_what_no_kernel_computes_faster() -> None:
    model = recurrent()
    result = tcc.compile(model, opt_level=3, target="x86-64-vnni", calibration=FEEDS, max_loss=0.05, measure=False)
    assert result.to_proto().ByteSize() < 0.35 * model.ByteSize()


def test_integers_are_fitted_to_the_data_of_what_reads_them() -> None:
    draw = np.random.default_rng(1)
    weight = draw.normal(size=(64, 48)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "k"], ["y"], "product")], "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 48])],
        [numpy_helper.from_array(weight, "k")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    # Inputs of few directions: what is rounded in one row can be made up for in others.
    basis = draw.normal(size=(8, 64))
    feeds = [{"x": (draw.normal(size=(4, 8)) @ basis).astype(np.float32)} for _ in range(64)]
    pipeline = "compress{techniques=stored-int8}"
    result = tcc.compile(model, passes=pipeline, target="x86-64-vnni", calibration=feeds, max_loss=0.05)
    assert record(result)["sites"] == ["stored-int8:k"]
    x = np.concatenate([feed["x"] for feed in feeds])
    scale = np.abs(weight).max(axis=0) / 127
    nearest = np.rint(weight / scale) * scale - weight
    stored = Runner(result.to_proto()).run({"x": x})[0] - x @ weight
    assert np.linalg.norm(stored) < 0.5 * np.linalg.norm(x @ nearest)
