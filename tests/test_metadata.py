"""Metadata that a model carries: a user's stays, an exporter's traces go, and neither hides a weight's type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc import frontends
from tcc.ir.model import tensor_type

_TRACES = {"pkg.torch.onnx.stack_trace": 'File "/home/somebody/train.py", line 7', "namespace": ": Net/0: Linear"}
_OWN = {"owner": "me"}


def _model(*, typed: bool = True) -> onnx.ModelProto:
    """A product as PyTorch's exporter writes it: metadata at its node, its weight and the graph."""
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    for key, value in (_TRACES | _OWN).items():
        node.metadata_props.add(key=key, value=value)
    info = helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 64])
    if not typed:
        info.ClearField("type")
    info.metadata_props.add(key="pkg.torch.onnx.original_node_name", value="p_w")
    info.metadata_props.add(key="owner", value="me")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64]) for name in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    graph.value_info.append(info)
    graph.metadata_props.add(key="pkg.torch.export.ExportedProgram.graph_signature", value="the whole program")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("typed", [True, False])
def test_a_weight_with_metadata_has_a_type(tmp_path: Path, *, typed: bool) -> None:
    onnx.save(_model(typed=typed), tmp_path / "m.onnx")
    for model in (frontends.load(tmp_path / "m.onnx"), tcc.compile(tmp_path / "m.onnx", passes="canonicalize").model):
        kind = tensor_type(model.graph.initializers["w"])
        assert kind is not None
        assert (kind.dtype, kind.shape) == ("float32", (64, 64))


@pytest.mark.parametrize("typed", [True, False])
def test_a_weight_with_metadata_is_compressed(*, typed: bool) -> None:
    result = tcc.compile(_model(typed=typed), "s", target="native")
    assert {t.data_type for t in result.to_proto().graph.initializer} >= {TensorProto.INT8}


def test_written_value_infos_state_their_types() -> None:
    result = tcc.compile(_model(), 0, target="native")
    written = {v.name: v for v in result.to_proto().graph.value_info}
    assert {name: v.type.tensor_type.elem_type for name, v in written.items()} == {"w": TensorProto.FLOAT}
    assert {p.key for p in written["w"].metadata_props} == {"pkg.torch.onnx.original_node_name", "owner"}


@pytest.mark.parametrize("level", [1, 2])
def test_traces_of_an_exporter_go_and_own_metadata_stays(level: int) -> None:
    proto = tcc.compile(_model(), level, target="native").to_proto()
    node = next(node for node in proto.graph.node if node.op_type == "MatMul")
    assert {p.key: p.value for p in node.metadata_props} == _OWN
    assert not proto.graph.metadata_props
    assert [p.key for v in proto.graph.value_info for p in v.metadata_props] == ["owner"]


def test_a_namespace_alone_is_somebody_elses() -> None:
    model = _model()
    node = model.graph.node[0]
    kept = [p for p in node.metadata_props if p.key == "namespace"]
    del node.metadata_props[:]
    node.metadata_props.extend(kept)
    proto = tcc.compile(model, 2, target="native").to_proto()
    assert [p.key for p in proto.graph.node[0].metadata_props] == ["namespace"]
