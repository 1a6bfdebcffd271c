"""Models of single operators over a grid of sizes: what a cost model learns from besides whole models."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from benchmarks.models import Feed

ROWS = (1, 10, 64, 400)
_WIDTHS = (48, 128, 384, 1024)
PREFIX = "sweep:"
NAMES = tuple(f"{PREFIX}products{rows}" for rows in ROWS)


def make(name: str, folder: Path) -> tuple[Path, list[Feed]]:
    """The file of a sweep and two sets of inputs: products of all pairs of widths, half of them with a Relu."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rows = int(name.removeprefix(f"{PREFIX}products"))
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    outputs: list[onnx.ValueInfoProto] = []
    for depth, width in itertools.product(_WIDTHS, _WIDTHS):
        key = f"{depth}x{width}"
        matrix = (random.standard_normal((depth, width)) / depth**0.5).astype(np.float32)
        weights += [numpy_helper.from_array(matrix, f"w{key}"), numpy_helper.from_array(matrix[0], f"b{key}")]
        for operator, operands in (("MatMul", [f"w{key}"]), ("Gemm", [f"w{key}", f"b{key}"])):
            last = f"{operator}{key}"
            nodes.append(helper.make_node(operator, [f"x{depth}", *operands], [last], last))
            if operator == "Gemm":
                nodes.append(helper.make_node("Relu", [last], [f"r{key}"], f"r{key}"))
                last = f"r{key}"
            outputs.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, [rows, width]))
    inputs = [helper.make_tensor_value_info(f"x{depth}", TensorProto.FLOAT, [rows, depth]) for depth in _WIDTHS]
    graph = helper.make_graph(nodes, "products", inputs, outputs, weights)
    path = folder / "products.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    draws = range(2)
    return path, [{f"x{d}": random.standard_normal((rows, d)).astype(np.float32) for d in _WIDTHS} for _ in draws]
