"""Dynamic INT8 products and 8-bit lookups: fused by ONNX Runtime, shared activations quantised once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tcc
from tests.quantized_models import optimised

DRAW = np.random.default_rng(0)
WIDTH, WORDS = 256, 500


def weight(*shape: int) -> np.ndarray:
    return np.asarray(DRAW.normal(size=shape) / np.sqrt(shape[0]), dtype=np.float32)


def encoder() -> onnx.ModelProto:
    """A lookup, then two products of one activation, a bias on one of them, and a Gemm."""
    constants = {
        "table": weight(WORDS, WIDTH) * 20, "wa": weight(WIDTH, WIDTH), "wb": weight(WIDTH, WIDTH), "ba": weight(WIDTH),
        "wg": weight(64, WIDTH), "bg": weight(64), "flat": np.array([-1, WIDTH]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("Tanh", ["e"], ["t"]),
        helper.make_node("MatMul", ["t", "wa"], ["ma"]),
        helper.make_node("Add", ["ma", "ba"], ["a"]),
        helper.make_node("Erf", ["a"], ["g"]),
        helper.make_node("MatMul", ["t", "wb"], ["b"]),
        helper.make_node("Sub", ["g", "b"], ["s"]),
        helper.make_node("Reshape", ["s", "flat"], ["r"]),
        helper.make_node("Gemm", ["r", "wg", "bg"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "encoder",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 64])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


IDS = DRAW.integers(0, WORDS, (16, 1, 64))


def compiled(techniques: str, target: str = "x86-64-vnni") -> Any:
    pipeline = f"simplify,compress{{techniques={techniques}}},strip"
    feeds = [{"ids": row} for row in IDS]
    return tcc.compile(encoder(), passes=pipeline, target=target, calibration=feeds, max_loss=0.01)


def record(result: Any) -> dict[str, Any]:
    return dict(next(r for r in result.records if r.name == "compress").facts)


def test_products_rescale_their_own_activations() -> None:
    result = compiled("dynamic-int8+gather-int8")
    facts = record(result)
    assert {site.partition(":")[0] for site in facts["sites"]} == {"dynamic-int8", "gather-int8"}
    assert 0 < facts["loss"]["value"] <= 0.01
    kernels = optimised(result.model.to_proto())
    assert kernels["MatMulIntegerToFloat"] + kernels["DynamicQuantizeMatMul"] == len(facts["sites"]) - 1
    assert not kernels["MatMul"] + kernels["Gemm"] + kernels["MatMulInteger"]
    quantised = [n.input[0] for n in result.model.to_proto().graph.node if n.op_type == "DynamicQuantizeLinear"]
    assert len(quantised) == len(set(quantised))
    held = sum(t.ByteSize() for t in result.model.to_proto().graph.initializer)
    assert held < 0.27 * sum(t.ByteSize() for t in encoder().graph.initializer)


def test_only_what_was_looked_up_is_computed_back() -> None:
    nodes = {n.op_type: n for n in compiled("gather-int8").model.to_proto().graph.node}
    assert nodes["DequantizeLinear"].input[0] == nodes["Gather"].output[0]


def test_a_gpu_wants_fixed_ranges() -> None:
    facts = record(compiled("dynamic-int8", "jetson"))
    assert facts["sites"] == []
    assert "fixed ranges" in facts["declined"]["dynamic-int8"]
