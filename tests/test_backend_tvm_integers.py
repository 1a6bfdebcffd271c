"""TVM: quantised operators in integers, against ONNX Runtime where TVM is installed."""

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
from tcc.cost_models._tiles import plan, processor

pytestmark = pytest.mark.skipif(
    backends.backend("tvm").absence() is not None or shutil.which("g++") is None,
    reason="apache-tvm (extra: tvm) or g++ is not installed",
)


def saved(path: Path, nodes: list[onnx.NodeProto], shape: list[int], weights: dict[str, np.ndarray]) -> Path:
    """A model of one input and one output, both float32."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, shape)], [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(made), path)
    return path


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32) / np.float32(np.sqrt(shape[-1]))


def q(name: str, scale: float | np.ndarray, zero: int, dtype: str, weights: dict[str, np.ndarray]) -> list[str]:
    """The scale and zero point of a tensor of bytes, added to the weights: their names."""
    scales = np.asarray(scale, np.float32)
    weights[f"{name}_s"], weights[f"{name}_z"] = scales, np.full(scales.shape, zero, dtype)
    return [f"{name}_s", f"{name}_z"]


def quantised(
    operator: str, form: str, weight: np.ndarray, **attributes: Any
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """An operator between Q and DQ: ``form`` is the data's type, then that of ONNX Runtime's or TensorRT's recipe."""
    weights: dict[str, np.ndarray] = {}
    zero = 117 if form == "uint8" else 0
    axis = 0 if operator == "Conv" else 1
    around = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.abs(weight).max(axis=around) / 127
    along = scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    weights["w"] = np.clip(np.rint(weight / along), -127, 127).astype(np.int8)
    weights["b"] = normal(weight.shape[axis])
    data, kernel, out = (
        q("x", 0.03, zero, form, weights), q("w", scale, 0, "int8", weights), q("y", 0.05, zero, form, weights)
    )  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *data], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", *data], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", *kernel], ["wd"], axis=axis),
    ]
    if operator == "Conv":
        nodes.append(helper.make_node("Conv", ["xd", "wd", "b"], ["h"], **attributes))
    else:
        nodes += [helper.make_node("MatMul", ["xd", "wd"], ["m"]), helper.make_node("Add", ["m", "b"], ["h"])]
    nodes += [
        helper.make_node("Relu", ["h"], ["r"]), helper.make_node("QuantizeLinear", ["r", *out], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", *out], ["y"]),
    ]  # fmt: skip
    return nodes, weights


BYTES: dict[str, tuple[str, list[int], np.ndarray, dict[str, Any]]] = {
    "product": ("MatMul", [1, 37, 50], normal(50, 70), {}),
    "whole tiles": ("MatMul", [4, 16, 64], normal(64, 96), {}),
    "padded convolution": ("Conv", [2, 5, 15, 18], normal(40, 5, 3, 3), {"pads": [0, 1, 1, 2], "strides": [2, 2]}),
    "dilated convolution": ("Conv", [1, 16, 12, 12], normal(16, 16, 3, 3), {"pads": [2] * 4, "dilations": [2, 2]}),
    "1x1": ("Conv", [1, 20, 9, 7], normal(48, 20, 1, 1), {}),
    "depthwise": ("Conv", [1, 32, 9, 7], normal(32, 1, 3, 3), {"pads": [1] * 4, "group": 32}),
}


def sums_bytes() -> bool:
    """Whether LLVM knows of a dot product of bytes in this processor."""
    import tvm

    made = tvm.target.Target({"kind": "llvm", "mcpu": str(tvm.get_global_func("target.llvm_get_system_cpu")())})
    features = tvm.get_global_func("target.llvm_get_cpu_features")(made)
    return any(str(feature) in {"avx512vnni", "dotprod"} for feature in features)


@pytest.mark.parametrize("form", ["uint8", "int8"])
@pytest.mark.parametrize("name", BYTES)
def test_quantised_operators_run_in_integers(name: str, form: str, tmp_path: Path) -> None:
    operator, shape, weight, attributes = BYTES[name]
    nodes, weights = quantised(operator, form, weight, **attributes)
    source = saved(tmp_path / "m.onnx", nodes, shape, weights)
    chosen = backends.backend("tvm")
    made = chosen.lower(frontends.load(source), tmp_path / "m.so")
    assert not made.facts["default_schedules"]
    assert any("int8" in line for line in made.facts["own_schedules"]) == sums_bytes()
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    session = onnxruntime.InferenceSession(source, _exactly())
    (found,), (expected,) = chosen.load(made.files[0]).run({"x": x}), session.run(None, {"x": x})
    # Sums are exact; where a result lies between two integers, the last bit of its rescaling decides.
    steps = np.rint(np.abs(found - expected) / 0.05)
    assert steps.max() <= 1
    assert (steps > 0).mean() < 0.01
    assert np.ptp(expected) > 10 * 0.05


def _exactly() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


@pytest.mark.parametrize("form", ["uint8", "int8"])
def test_attention_in_integers(form: str, tmp_path: Path) -> None:
    zero, weights = (101 if form == "uint8" else 3), {}  # type: ignore[var-annotated]
    a, p, o = (q(name, scale, zero, form, weights) for name, scale in (("a", 0.03), ("p", 0.004), ("o", 0.02)))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *a], ["xq"]), helper.make_node("DequantizeLinear", ["xq", *a], ["d"]),
        helper.make_node("Transpose", ["d"], ["t"], perm=[0, 1, 3, 2]), helper.make_node("MatMul", ["d", "t"], ["m"]),
        helper.make_node("Softmax", ["m"], ["s"], axis=-1), helper.make_node("QuantizeLinear", ["s", *p], ["sq"]),
        helper.make_node("DequantizeLinear", ["sq", *p], ["sd"]), helper.make_node("MatMul", ["sd", "d"], ["h"]),
        helper.make_node("QuantizeLinear", ["h", *o], ["hq"]), helper.make_node("DequantizeLinear", ["hq", *o], ["y"]),
    ]  # fmt: skip
    source = saved(tmp_path / "m.onnx", nodes, [1, 3, 19, 30], weights)
    chosen = backends.backend("tvm")
    made = chosen.lower(frontends.load(source), tmp_path / "m.so")
    assert not made.facts["default_schedules"]
    assert sum("batched matmul int8" in line for line in made.facts["own_schedules"]) == 2 * sums_bytes()
    x = np.random.default_rng(0).normal(size=[1, 3, 19, 30]).astype(np.float32)
    session = onnxruntime.InferenceSession(source, _exactly())
    (found,), (expected,) = chosen.load(made.files[0]).run({"x": x}), session.run(None, {"x": x})
    assert np.abs(found - expected).max() <= 2.01 * 0.02
    assert np.abs(found - expected).mean() < 0.1 * 0.02
    assert np.ptp(expected) > 10 * 0.02


def test_products_of_bytes_for_arm_use_its_dot_product() -> None:
    import tvm
    from tvm import te

    from tcc.backends import _tvm_dots, _tvm_kernels, _tvm_schedules

    _tvm_dots.register()
    target = tvm.target.Target({"kind": "llvm", "mcpu": "cortex-a76", "mtriple": "aarch64-linux-gnu"})
    features = tvm.get_global_func("target.llvm_get_cpu_features")(target)
    chip = processor("cortex-a76", "aarch64-linux-gnu", set(map(str, features)))
    assert chip.dot is not None
    chosen = plan((32,), 32, 16, chip)
    a = te.placeholder((32, 64), "int8", name="a")
    w = te.placeholder((-(-32 // chosen.tile.columns), 16, chosen.tile.columns, 4), "int8", name="w")
    function = te.create_prim_func([a, w, _tvm_kernels.product(a, w, 32, chosen, chip.dot)])
    failed: list[str] = []
    module = _tvm_schedules.scheduled(tvm.IRModule({"main": function}), chip, failed)
    assert not failed
    text = tvm.compile(module, target).mod.inspect_source("s")
    assert "sdot" in text
