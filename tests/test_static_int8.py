"""Static INT8: integer kernels from end to end, exact movement, legal forms, and slopes that predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc import frontends
from tcc.ir import probing
from tcc.ir.calibration import observe
from tcc.ir.inference import annotate
from tests.quantized_models import optimised

PIPELINE = "simplify,compress{techniques=static-int8},strip"
DRAW = np.random.default_rng(0)


def weight(*shape: int) -> np.ndarray:
    draw = np.random.default_rng(shape)
    fan = max(1, int(np.prod(shape[1:])))
    return np.asarray(draw.normal(size=shape) / np.sqrt(fan), dtype=np.float32)


def residual(opset: int = 17) -> onnx.ModelProto:
    """Two branches that join, a concatenation, pooling and a classifier."""
    constants = {
        "w0": weight(32, 8, 3, 3), "b0": weight(32), "w1": weight(32, 32, 3, 3), "b1": weight(32),
        "w2": weight(32, 32, 1, 1), "wg": 4 * weight(64, 10), "bg": weight(10),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c1", "r0"], ["s"]),
        helper.make_node("Relu", ["s"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"]),
        helper.make_node("Concat", ["r1", "c2"], ["cat"], axis=1),
        helper.make_node("MaxPool", ["cat"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["m"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "wg", "bg"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "residual",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, 40, 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


# Each of its own brightness and contrast: averages of plain noise are all the same.
IMAGES = DRAW.normal(size=(64, 8, 40, 40)) * np.exp(DRAW.normal(size=(64, 1, 1, 1))) + DRAW.normal(size=(64, 8, 1, 1))
IMAGES = IMAGES.astype(np.float32)


def compiled(model: onnx.ModelProto, target: str = "x86-64-vnni", **options: Any) -> Any:
    return tcc.compile(model, passes=PIPELINE, target=target, calibration={"x": IMAGES}, max_loss=0.05, **options)


def record(result: Any) -> dict[str, Any]:
    return dict(next(r for r in result.records if r.name == "compress").facts)


@pytest.mark.parametrize("opset", [12, 17])
def test_a_whole_network_runs_on_integer_kernels(opset: int) -> None:
    result = compiled(residual(opset))
    kernels = optimised(result.model.to_proto())
    assert (kernels["QLinearConv"], kernels["QLinearAdd"], kernels["QLinearConcat"]) == (3, 1, 1)
    assert not kernels["Conv"] + kernels["Add"] + kernels["Concat"]
    assert kernels["QuantizeLinear"] == 1
    assert record(result)["loss"]["value"] <= 0.05


def test_tensorrt_gets_symmetric_types_zero_points_of_0_and_float_biases() -> None:
    result = compiled(residual(), "jetson")
    proto = result.model.to_proto()
    held = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert not any(array.dtype in (np.uint8, np.int32) for array in held.values())
    zeros = [held[n.input[2]] for n in proto.graph.node if "Linear" in n.op_type and len(n.input) > 2 and n.input[2]]
    assert zeros
    assert not any(zero.any() for zero in zeros)


def test_without_calibration_nothing_is_quantised() -> None:
    result = tcc.compile(residual(), passes=PIPELINE, target="x86-64-vnni")
    assert record(result)["sites"] == []
    assert "calibration" in record(result)["declined"]["static-int8"]


def test_same_bytes_again() -> None:
    first, second = (compiled(residual()).model.to_bytes() for _ in range(2))
    assert first == second


def test_a_probe_model_is_the_original_until_it_is_switched_on() -> None:
    model = frontends.load(residual())
    annotate(model)
    feeds = [{"x": IMAGES[i : i + 1]} for i in range(8)]
    outputs: list[np.ndarray] = []
    seen = observe(model, feeds, outputs=lambda run: outputs.append(run[0]))
    taps = probing.taps(["r0", "s", "y", "x"], seen)
    slopes = probing.slopes(model, taps, feeds)
    # An error of the output is the output's own, told relative to what varies in it.
    y = np.concatenate(outputs)
    assert slopes["y"] == pytest.approx(np.square(y).sum() / np.square(y - y.mean(axis=0)).sum(), rel=0.4)
    assert set(slopes) == {"r0", "s", "y", "x"}
    assert all(0.0 < slope < 50.0 for slope in slopes.values())


def test_a_model_that_is_quantised_already_keeps_its_kernels() -> None:
    once = compiled(residual()).model.to_proto()
    twice = compiled(once).model.to_proto()
    before, after = optimised(once), optimised(twice)
    integer = [name for name in before if name.startswith("QLinear")]
    assert integer
    assert all(after[name] >= before[name] for name in integer)


def test_pixels_of_8_bits_are_quantised_behind_their_conversion() -> None:
    model = residual()
    for node in model.graph.node:
        node.input[:] = ["pixels" if name == "x" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["pixels"], to=TensorProto.FLOAT))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    pixels = np.clip(IMAGES * 40 + 128, 0, 255).astype(np.uint8)
    result = tcc.compile(model, passes=PIPELINE, target="x86-64-vnni", calibration={"x": pixels}, max_loss=0.05)
    assert optimised(result.model.to_proto())["QLinearConv"] == 3
    assert result.model.signature.inputs[0][1].startswith("uint8")


def test_an_operator_that_nobody_knows_is_one_line() -> None:
    model = residual()
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Mystery", ["before"], ["y"], domain="my.ops"))
    result = compiled(model)
    assert record(result)["declined"] == {
        "all": "onnxruntime does not know the operator my.ops::Mystery (1 in the model)"
    }
