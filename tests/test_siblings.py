"""Sibling products: joined where it pays, equal in every case, left alone where they are no siblings."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc

SHAPES = {"MatMul": (4, 64), "Gemm": (4, 64), "Conv": (1, 8, 16, 16)}


def model(operator: str, opset: int, widths: tuple[int, ...], *, strides: tuple[int, ...] = ()) -> onnx.ModelProto:
    """Products of ``x`` with one weight a width, each followed by an activation of its own, concatenated."""
    rng = np.random.default_rng(0)
    shape = SHAPES[operator]
    nodes, constants = [], []
    for i, width in enumerate(widths):
        size = (width, 8, 1, 1) if operator == "Conv" else (64, width)
        constants.append(numpy_helper.from_array(rng.standard_normal(size).astype(np.float32), f"w{i}"))
        inputs = ["x", f"w{i}"]
        if operator != "MatMul":
            constants.append(numpy_helper.from_array(rng.standard_normal(width).astype(np.float32), f"b{i}"))
            inputs.append(f"b{i}")
        node = helper.make_node(operator, inputs, [f"y{i}"], name=f"product{i}")
        if strides:
            node.attribute.append(helper.make_attribute("strides", [strides[i]] * 2))
        nodes += [node, helper.make_node(("Tanh", "Sigmoid")[i % 2], [f"y{i}"], [f"z{i}"])]
    outputs = [
        helper.make_tensor_value_info(f"z{i}", TensorProto.FLOAT, ["?"] * len(shape)) for i in range(len(widths))
    ]
    inputs_info = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "siblings", inputs_info, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("operator", sorted(SHAPES))
@pytest.mark.parametrize("opset", [11, 17])
def test_siblings_stay_equal(operator: str, opset: int) -> None:
    result = tcc.compile(model(operator, opset, (4, 4, 8, 16)), 2, "x86-64-vnni")
    (record,) = (record for record in result.records if record.name == "simplify")
    assert record.verification is not None
    assert record.verification.outcome in {"value", "unchanged"}
    assert result.model.operator_counts[operator] in {1, 4}


def test_convolutions_are_joined() -> None:
    # The pass alone: what a level ships is also measured, and a busy machine measures anything.
    counts = (
        tcc.PassManager(["simplify"], target="x86-64-vnni").run(model("Conv", 17, (4, 4, 8, 16))).model.operator_counts
    )
    assert (counts["Conv"], counts["Split"]) == (1, 1)


@pytest.mark.parametrize("opset", [9, 17])
@pytest.mark.parametrize("alike", [True, False])
def test_a_normalization_behind_each_part_goes_into_the_whole(opset: int, *, alike: bool) -> None:
    """Different epsilons keep the parts from being normalized as one."""
    made, widths = model("Conv", opset, (4, 4, 8)), (4, 4, 8)
    rng = np.random.default_rng(1)
    for i, width in enumerate(widths):
        names = [f"{name}{i}" for name in ("scale", "shift", "mean", "variance")]
        arrays = [rng.uniform(0.5, 2, width).astype(np.float32) for _ in names]
        made.graph.initializer.extend(map(numpy_helper.from_array, arrays, names))
        behind = made.graph.node[2 * i + i + 1]
        behind.input[0] = f"n{i}"
        kept = 1e-5 if alike else 1e-5 * (i + 1)
        made.graph.node.insert(
            2 * i + i + 1,
            helper.make_node("BatchNormalization", [f"y{i}", *names], [f"n{i}"], f"norm{i}", epsilon=kept),
        )
    outcome = tcc.PassManager(["simplify"], target="x86-64-vnni").run(made)
    counts = outcome.model.operator_counts
    assert ("BatchNormalization" in counts) != alike
    assert (counts["Conv"], counts["Split"]) == (1, 1)


def test_different_strides_are_no_siblings() -> None:
    counts = tcc.compile(model("Conv", 17, (4, 4), strides=(1, 2)), 2, "x86-64-vnni").model.operator_counts
    assert counts["Conv"] == 2


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("operator", ["MatMul", "Conv"])
def test_a_sum_of_siblings_is_one_product(operator: str, *, named: bool) -> None:
    """They may be joined, too, which once hid from the rules that their sum is the product of a sum."""
    rng = np.random.default_rng(0)
    size = (16, 8, 3, 3) if operator == "Conv" else (64, 32)
    weights = [numpy_helper.from_array(rng.standard_normal(size).astype(np.float32), name) for name in ("v", "w")]
    options: dict[str, Any] = {"pads": [1] * 4} if operator == "Conv" else {}
    nodes = [helper.make_node(operator, ["x", n], [f"{n}x"], f"by_{n}" if named else "", **options) for n in ("v", "w")]
    nodes.append(helper.make_node("Add", ["vx", "wx"], ["y"], "sum" if named else ""))
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPES[operator])]
    ports.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["?"] * len(size)))
    graph = helper.make_graph(nodes, "sum", ports[:1], ports[1:], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert tcc.compile(made, 2, "x86-64-vnni", measure=False).model.operator_counts == {operator: 1}


def test_where_nodes_have_no_names_new_ones_get_none() -> None:
    """Names alone could make the file larger than it was, and nothing would ship."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((64, 32)).astype(np.float32), "w")
    nodes = [helper.make_node("MatMul", [n, "w"], [f"{n}w"]) for n in ("x", "z")]
    nodes.append(helper.make_node("Add", ["xw", "zw"], ["y"]))
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [8, 64 if n != "y" else 32]) for n in "xzy"]
    graph = helper.make_graph(nodes, "sum", ports[:2], ports[2:], [weight])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = tcc.compile(made, 2, "x86-64-vnni", measure=False).model
    assert result.operator_counts == {"Add": 1, "MatMul": 1}
    assert not any(node.name for node in result.to_proto().graph.node)
