"""Weights in blocks of packed 4-bit integers: what is computed back, what runs, and for whom they are offered."""

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
BASIS = DRAW.normal(size=(12, 128))
DATA = (DRAW.normal(size=(64, 12)) @ BASIS).astype(np.float32)
"""Of few directions: what is rounded in one row can be made up for in others."""


def model(*, transposed: bool = False, opset: int = 13) -> onnx.ModelProto:
    weight = DRAW.normal(size=(96, 128) if transposed else (128, 96)).astype(np.float32)
    convolved = DRAW.normal(size=(32, 96, 3, 1)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "k"], ["y"], "product", transB=int(transposed)),
            helper.make_node("Reshape", ["y", "image"], ["i"], "image"),
            helper.make_node("Conv", ["i", "c"], ["o"], "conv", pads=[1, 0, 1, 0]),
        ],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 128])],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, ["n", 32, 1, 1])],
        [
            numpy_helper.from_array(weight, "k"), numpy_helper.from_array(convolved, "c"),
            numpy_helper.from_array(np.array([-1, 96, 1, 1]), "image"),
        ],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def compiled(
    given: onnx.ModelProto, *, objective: str = "size", techniques: str = "", target: str = "x86-64-vnni",
    without: str = "",
) -> Any:  # fmt: skip
    options = f"objective={objective},slower=true" + (f",techniques={techniques}" if techniques else "")
    options += f",without={without}" if without else ""
    pipeline = f"compress{{{options}}},strip"
    return tcc.compile(given, passes=pipeline, target=target, calibration={"x": DATA}, max_loss=0.1)


def facts(result: Any) -> dict[str, Any]:
    return dict(next(r for r in result.records if r.name == "compress").facts)


@pytest.mark.parametrize("transposed", [False, True])
def test_the_file_is_an_eighth_and_what_runs_is_what_ran(transposed: bool) -> None:  # noqa: FBT001 - a parameter
    given = model(transposed=transposed)
    result = compiled(given, techniques="stored-int4")
    assert facts(result)["sites"] == ["stored-int4:c", "stored-int4:k"]
    proto = result.to_proto()
    assert proto.ByteSize() < 0.25 * given.ByteSize()
    assert optimised(proto) == optimised(given)
    before, after = Runner(given).run({"x": DATA})[0], Runner(proto).run({"x": DATA})[0]
    error = np.linalg.norm(before - after) / np.linalg.norm(before)
    # To nearest, each of the two weights alone errs by 0.1.
    assert 0 < error < 0.1


def test_what_is_unpacked_are_multiples_of_the_scales() -> None:
    result = compiled(model(), techniques="stored-int4")
    proto = result.to_proto()
    made = {output: node for node in proto.graph.node for output in node.output}
    product = next(node for node in proto.graph.node if node.op_type == "Gemm")
    scaled = made[made[product.input[1]].input[0]]
    held = {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}
    scale = next(held[name] for name in scaled.input if name in held).reshape(4, 1, 96)
    proto.graph.output.append(helper.make_tensor_value_info(product.input[1], TensorProto.FLOAT, None))
    weight = Runner(proto).run({"x": DATA})[1].reshape(4, 32, 96)
    steps = weight / scale
    assert np.array_equal(steps.round().astype(np.float32) * scale, weight)
    assert np.abs(steps).max() <= 7.001
    assert len(np.unique(steps.round())) == 15


def test_only_the_smallest_file_is_made_of_them() -> None:
    integers = "packed-int4+static-int8"
    sites = {
        objective: facts(compiled(model(), objective=objective, without=integers))["sites"]
        for objective in ("size", "latency")
    }
    assert any(site.startswith("stored-int4") for site in sites["size"])
    assert not any(site.startswith("stored-int4") for site in sites["latency"])


@pytest.mark.parametrize(("target", "words"), [("jetson", "jetson is not known")])
def test_a_target_that_does_not_compute_them_back_gets_none(target: str, words: str) -> None:
    made = facts(compiled(model(), techniques="stored-int4", target=target))
    assert not made["sites"]
    assert words in made["declined"]["stored-int4"]
