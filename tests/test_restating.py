"""A program is stated in an older opset only where that says the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tcc
from tcc import frontends
from tcc.ir.execution import Runner
from tcc.ir.model import Model
from tcc.ir.restating import restated
from tcc.passes import _raising
from tcc.passes.base import Context
from tests.test_raising import _layer_normalization


def _model(node: onnx.NodeProto, opset: int, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", dtype, [2, 3, 4, 4])
    y = helper.make_tensor_value_info("y", dtype, [None] * 4)
    axes = [helper.make_tensor(name, TensorProto.INT64, [1], [1]) for name in node.input if name == "axes"]
    scales = [helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 2, 2])] if "scales" in node.input else []
    graph = helper.make_graph([node], "g", [x], [y], [*axes, *scales])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _node(operator: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, [*inputs], ["y"], **attributes)


TRANSPOSE = _node("Transpose", "x", perm=[0, 2, 3, 1])
CASES = {
    "only more types": (TRANSPOSE, 23, 13, TensorProto.FLOAT, True),
    "a type that is new": (TRANSPOSE, 23, 20, TensorProto.FLOAT8E4M3FN, False),
    "an operator that is new": (_node("Gelu", "x"), 20, 19, TensorProto.FLOAT, False),
    "axes as an input": (_node("ReduceMean", "x", "axes"), 18, 17, TensorProto.FLOAT, False),
    "another meaning of the same words": (_node("Softmax", "x", axis=1), 13, 12, TensorProto.FLOAT, False),
    "a new mode": (_node("Resize", "x", "", "scales"), 19, 18, TensorProto.FLOAT, False),
    "the same version": (_node("Softmax", "x", axis=1), 23, 13, TensorProto.FLOAT, True),
}


@pytest.mark.parametrize("name", CASES)
def test_only_what_means_the_same_in_both(name: str) -> None:
    node, newer, older, dtype, expected = CASES[name]
    model = frontends.load(_model(node, newer, dtype))
    assert restated(model, older, 10) is expected
    assert model.opset == (older if expected else newer)
    if expected:
        proto = model.to_proto()
        onnx.checker.check_model(proto, full_check=True)
        feed = {"x": np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)}
        before = Runner(_model(node, newer, dtype)).run(feed)[0]
        assert np.array_equal(Runner(proto).run(feed)[0], before)


def test_another_domain_has_versions_of_its_own() -> None:
    proto = _model(_node("Unknown", "x"), 23)
    proto.graph.node[0].domain = "own"
    proto.opset_import.add(domain="own", version=1)
    model = frontends.load(proto)
    assert restated(model, 15, 9)
    assert model.opset_imports == {"": 15, "own": 1}
    assert model.ir_version == 9


@pytest.mark.parametrize(("rest", "times"), [("Neg", 1), ("ReduceMean", 2)])
def test_a_model_is_converted_and_simplified_again_only_where_it_has_to_be(
    rest: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stays of the model may be written in another way in the lowest opset, as reductions are before 18."""
    proto = _layer_normalization(13)
    last = proto.graph.output[0].name
    proto.graph.node.append(helper.make_node(rest, [last], ["last"]))
    proto.graph.output[0].name = "last"
    if rest == "ReduceMean":
        del proto.graph.output[0].type.tensor_type.shape.dim[:]
        for _ in range(3):
            proto.graph.output[0].type.tensor_type.shape.dim.add(dim_value=1)
        proto.graph.node[-1].attribute.append(helper.make_attribute("axes", [0, 1, 2]))
    tried: list[int] = []
    raised = _raising.raised

    def noted(model: Model, opset: int, context: Context) -> Model:
        tried.append(opset)
        return raised(model, opset, context)

    monkeypatch.setattr(_raising, "raised", noted)
    result = tcc.compile(proto, 2)
    assert len(tried) == times
    assert tried[-1] >= result.model.opset == 17
    assert result.model.operator_counts["LayerNormalization"] == 1
