"""Builds small quantised models, and says what ONNX Runtime makes of them."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

_TYPES = {"uint8": np.uint8, "int8": np.int8}


class Builder:
    """A graph under construction; each method returns the name of what it has made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.random = np.random.default_rng(0)

    def input(self, *shape: int) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, f"n{len(self.nodes)}", **attributes))
        return names[0]

    def quantize(self, x: str, dtype: str = "uint8", *, zero: int = 0, scale: float = 0.02) -> str:
        return self.op("QuantizeLinear", x, self.constant(scale), self.constant(zero, _TYPES[dtype]))

    def dequantize(self, x: str, dtype: str = "uint8", *, zero: int = 0, scale: float = 0.02) -> str:
        return self.op("DequantizeLinear", x, self.constant(scale), self.constant(zero, _TYPES[dtype]))

    def both(self, x: str, dtype: str = "uint8", *, zero: int = 0, scale: float = 0.02) -> str:
        there = self.quantize(x, dtype, zero=zero, scale=scale)
        return self.dequantize(there, dtype, zero=zero, scale=scale)

    def weight(self, *shape: int, axis: int = 0) -> str:
        stored = self.constant(self.random.integers(-100, 100, shape), np.int8)
        scale = self.constant(np.full(shape[axis], 0.01))
        return self.op("DequantizeLinear", stored, scale, self.constant(np.zeros(shape[axis]), np.int8), axis=axis)

    def bias(self, size: int) -> str:
        stored = self.constant(self.random.integers(-100, 100, size), np.int32)
        return self.op("DequantizeLinear", stored, self.constant(np.full(size, 2e-4)), axis=0)

    def model(self, *outputs: str, opset: int = 17) -> onnx.ModelProto:
        # ONNX Runtime infers the outputs' types; the project's importer wants them stated.
        ports = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "small", self.inputs, ports, self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        return onnx.shape_inference.infer_shapes(made)


def optimised(model: onnx.ModelProto) -> Counter[str]:
    """The operators that ONNX Runtime runs, those that only change the layout left out."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        done = onnx.load(options.optimized_model_filepath)
    return Counter(n.op_type for n in done.graph.node)
