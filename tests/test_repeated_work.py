"""What is known already is not done again: passes with nothing left to do, runs of a program that has been run."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.frontends import load
from tcc.passes.manager import Snapshot


def folding() -> onnx.ModelProto:
    """A graph with something to fold."""
    nodes = [
        helper.make_node("Add", ["a", "a"], ["b"], "double"),
        helper.make_node("Mul", ["x", "b"], ["y"], "scale"),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.array([1, 2], np.float32), "a")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def did(pipeline: str) -> list[object]:
    """What the passes say they did."""
    records = tcc.PassManager(pipeline, target="jetson").run(folding()).records
    return [record.facts.get("settled", record.changed) for record in records]


def test_a_pass_that_settles_is_left_out_until_something_changes() -> None:
    assert did("fold,fold,canonicalize,fold") == [True, True, False, True]
    assert did("canonicalize,fold,canonicalize,fold") == [False, True, False, True]
    assert did("fold,simplify,fold") == [True, True, False]


def test_a_snapshot_knows_the_same_program() -> None:
    model = load(folding())
    before = Snapshot.of(model)
    values = [v for node in model.graph for v in node.outputs if not v.is_graph_output()]
    for v in values:
        v.type, v.shape = model.graph.inputs[0].type, model.graph.inputs[0].shape
    after = Snapshot.of(model)
    assert before.proto != after.proto
    assert after.computes_what(before)
    model.graph.initializers["a"].const_value = load(folding()).graph.initializers["a"].const_value
    assert Snapshot.of(model).computes_what(before)


def test_a_snapshot_knows_another_program() -> None:
    before = Snapshot.of(load(folding()))
    for change in ("initializer", "node", "weights"):
        proto = folding()
        if change == "node":
            proto.graph.node[1].op_type = "Add"
        elif change == "initializer":
            proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1, -2], np.float32), "a"))
        else:
            large = np.zeros(1024, np.float32)
            proto.graph.initializer.append(numpy_helper.from_array(large, "large"))
        assert not Snapshot.of(load(proto)).computes_what(before), change
    first, second = (folding() for _ in range(2))
    for i, proto in enumerate((first, second)):
        large = np.zeros(1024, np.float32)
        large[-1] = -0.0 if i else 0.0
        proto.graph.initializer.append(numpy_helper.from_array(large, "large"))
    assert not Snapshot.of(load(first)).computes_what(Snapshot.of(load(second)))
