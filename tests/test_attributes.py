"""Attributes that say what the specification assumes anyway make no node different."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from onnx import helper

import tcc

WRITTEN_OUT = {"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], "auto_pad": "NOTSET", "ceil_mode": 0}


def two_pools(attributes: dict[str, Any]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2]),
        helper.make_node("MaxPool", ["x"], ["b"], kernel_shape=[2, 2], **attributes),
        helper.make_node("Exp", ["a"], ["y"]),
        helper.make_node("Sin", ["b"], ["z"]),
    ]
    ports = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2, 6, 6])]
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "yz"]
    graph = helper.make_graph(nodes, "pools", ports, outputs)
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )


@pytest.mark.parametrize("names", [("strides",), ("pads",), ("dilations",), tuple(WRITTEN_OUT)], ids="+".join)
def test_what_is_assumed_makes_no_difference(names: tuple[str, ...]) -> None:
    model = two_pools({name: WRITTEN_OUT[name] for name in names})
    assert tcc.compile(model, 1).model.operator_counts["MaxPool"] == 1


@pytest.mark.parametrize(
    "attributes",
    [{"strides": [1, 2]}, {"pads": [0, 0, 1, 0]}, {"dilations": [2, 1]}, {"ceil_mode": 1, "strides": [2, 2]}],
)
def test_anything_else_does(attributes: dict[str, Any]) -> None:
    assert tcc.compile(two_pools(attributes), 1).model.operator_counts["MaxPool"] == 2
