"""TVM: what is computed for each channel stays out of the loop over the image that it is spread over."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tcc import backends, frontends

needs_tvm = pytest.mark.skipif(
    backends.backend("tvm").absence() is not None or shutil.which("g++") is None,
    reason="apache-tvm (extra: tvm) or g++ is not installed",
)
CHANNELS, SQUEEZED, SIZE = 32, 8, 14


def gated(path: Path) -> Path:
    """A squeeze-and-excitation block behind a convolution h = relu(U x): h · sigmoid(W relu(V mean(h))) + h."""
    draw = np.random.default_rng(0)
    weights = {
        "u": draw.normal(size=(CHANNELS, CHANNELS, 1, 1)),
        "v": draw.normal(size=(SQUEEZED, CHANNELS, 1, 1)), "w": draw.normal(size=(CHANNELS, SQUEEZED, 1, 1)),
        "b": draw.normal(size=CHANNELS),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "u"], ["f"]), helper.make_node("Relu", ["f"], ["h"]),
        helper.make_node("GlobalAveragePool", ["h"], ["m"]), helper.make_node("Conv", ["m", "v"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]), helper.make_node("Conv", ["r", "w", "b"], ["e"]),
        helper.make_node("Sigmoid", ["e"], ["g"]), helper.make_node("Mul", ["h", "g"], ["p"]),
        helper.make_node("Add", ["p", "h"], ["y"]),
    ]  # fmt: skip
    shape = [1, CHANNELS, SIZE, SIZE]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, shape)], [helper.make_tensor_value_info("y", 1, shape)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@needs_tvm
def test_gates_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tvm

    from tcc.backends import _tvm_build, _tvm_schedules

    seen: dict[str, int] = {}
    scheduled = _tvm_schedules.scheduled

    def watched(module: Any, *arguments: Any) -> Any:
        for variable, function in module.functions_items():
            if isinstance(function, tvm.tirx.PrimFunc):
                seen[variable.name_hint] = int(np.prod([int(size) for size in function.params[-1].ty.shape]))
        return scheduled(module, *arguments)

    monkeypatch.setattr(_tvm_schedules, "scheduled", watched)
    _tvm_build.build(onnx.shape_inference.infer_shapes(onnx.load(gated(tmp_path / "m.onnx"))), "")
    products = {name: count for name, count in seen.items() if "tcc_conv" in name}
    assert sorted(products.values()) == [SQUEEZED, CHANNELS, CHANNELS * SIZE * SIZE]
    # What is done to the image behind the gate is one kernel.
    assert [count for name, count in seen.items() if "multiply_add" in name] == [CHANNELS * SIZE * SIZE]


@needs_tvm
def test_gated_images_are_what_onnxruntime_computes(tmp_path: Path) -> None:
    source = gated(tmp_path / "m.onnx")
    chosen = backends.backend("tvm")
    loaded = chosen.load(chosen.lower(frontends.load(source), tmp_path / "m.so").files[0])
    x = np.random.default_rng(1).normal(size=(1, CHANNELS, SIZE, SIZE)).astype(np.float32)
    (found,), (expected,) = loaded.run({"x": x}), onnxruntime.InferenceSession(source).run(None, {"x": x})
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
