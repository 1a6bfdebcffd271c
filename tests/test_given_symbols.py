"""Sizes of inputs are told from sizes that inference has made up, whatever an exporter calls them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc


def reshaped(batch: str, inner: str) -> onnx.ModelProto:
    """A Reshape to the shape that its input has already, whose result is said to have another size."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 2, 3])
    shape = numpy_helper.from_array(np.array([-1, 2, 3]), "shape")
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["v"]),
        helper.make_node("Tanh", ["v"], ["y"]),
    ]
    said = helper.make_tensor_value_info("v", TensorProto.FLOAT, [inner, 2, 3])
    graph = helper.make_graph(nodes, "g", [x], [y], [shape], value_info=[said])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("inner", ["unk__0", "unk__2", "a", "z"])
@pytest.mark.parametrize("batch", ["unk__1811", "unk__1", "N", "batch size"])
def test_a_size_of_an_input_tells_more_than_one_that_is_made_up(batch: str, inner: str) -> None:
    done = tcc.compile(reshaped(batch, inner), 2)
    assert [node.op_type for node in done.model.graph] == ["Relu", "Tanh"]
    dimensions = done.to_proto().graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dimensions] == [batch, 2, 3]
