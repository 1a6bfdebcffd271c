"""TVM: convolutions over one axis, transposed and grouped ones run in this package's own kernels."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tcc import backends, frontends
from tcc.cost_models._tiles import ARM, NARROW, WIDE, Kernel, Processor

needs_tvm = pytest.mark.skipif(
    backends.backend("tvm").absence() is not None or shutil.which("g++") is None,
    reason="apache-tvm (extra: tvm) or g++ is not installed",
)


@dataclass(frozen=True)
class Case:
    """One convolution: the shapes of its data and weight, and its attributes; ``tile`` is in its kernel's name."""

    data: tuple[int, ...]
    weight: tuple[int, ...]
    operator: str = "Conv"
    tile: str = "convolution"
    attributes: dict[str, Any] = field(default_factory=dict)


CASES = {
    "line": Case((1, 24, 50), (32, 24, 5), attributes={"pads": [2, 3], "strides": [2], "dilations": [2]}),
    "pointwise line": Case((2, 24, 50), (40, 24, 1), tile="convolution 1x1"),
    "separable line": Case((1, 32, 50), (32, 1, 7), tile="depthwise", attributes={"pads": [3, 3], "group": 32}),
    "transposed by its window": Case((1, 24, 9, 7), (24, 10, 2, 2), "ConvTranspose", attributes={"strides": [2, 2]}),
    "transposed with overlaps": Case(
        (2, 8, 9, 7), (8, 10, 3, 3), "ConvTranspose",
        attributes={"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    ),
    "transposed unevenly": Case(
        (1, 8, 6, 7), (8, 16, 5, 4), "ConvTranspose", attributes={"strides": [3, 1], "pads": [0, 2, 4, 1]}
    ),
    "transposed and cut": Case(
        (1, 8, 6, 7), (8, 16, 2, 3), "ConvTranspose", attributes={"strides": [2, 2], "pads": [3, 1, 4, 2]}
    ),
    "transposed past its window": Case(
        (1, 8, 6, 7), (8, 16, 2, 2), "ConvTranspose", attributes={"strides": [4, 3], "output_padding": [2, 0]}
    ),
    "transposed line": Case(
        (1, 16, 21), (16, 12, 10), "ConvTranspose", attributes={"strides": [5], "pads": [2, 3], "output_padding": [1]}
    ),
    "groups of many": Case(
        (1, 64, 14, 13), (96, 32, 3, 3), tile="in groups", attributes={"group": 2, "pads": [1, 1, 1, 1]}
    ),
    "groups of four": Case(
        (2, 32, 14, 13), (32, 4, 3, 3), tile="in groups", attributes={"group": 8, "strides": [2, 2]}
    ),
    "groups on a line": Case((1, 32, 40), (64, 4, 3), tile="in groups", attributes={"group": 8, "pads": [1, 1]}),
}  # fmt: skip


def model(cases: Mapping[str, Case], path: Path, *, bytes_at: float = 0.0) -> Path:
    """Each convolution with a bias and a ReLU, from its own input; with a scale in ``bytes_at``, of bytes."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    for k, case in enumerate(cases.values()):
        made, values = convolution(case, bytes_at)
        for node in made:
            node.input[:], node.output[:] = [f"{v}{k}" for v in node.input], [f"{v}{k}" for v in node.output]
        nodes += made
        constants |= {f"{name}{k}": np.asarray(value) for name, value in values.items()}
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(f"x{k}", 1, case.data) for k, case in enumerate(cases.values())],
        [helper.make_tensor_value_info(f"y{k}", 1, None) for k in range(len(cases))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(whole), path)
    return path


def convolution(case: Case, bytes_at: float) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """The nodes from ``x`` to ``y``, and the constants."""
    draw = np.random.default_rng(len(case.data))
    weight = draw.normal(size=case.weight).astype(np.float32) / np.sqrt(np.prod(case.weight[1:])).astype(np.float32)
    channel = 1 if case.operator == "ConvTranspose" else 0
    bias = draw.normal(size=case.weight[channel] * (1 if channel == 0 else case.attributes.get("group", 1)))
    constants: dict[str, Any] = {"w": weight, "b": bias.astype(np.float32)}
    nodes, inputs = [], ["x", "w"]
    if bytes_at:
        scales = np.abs(weight).max(axis=tuple(i for i in range(weight.ndim) if i != channel)) / np.float32(127)
        shape = [-1 if i == channel else 1 for i in range(weight.ndim)]
        constants |= {
            "w": np.rint(weight / scales.reshape(shape)).astype(np.int8), "ws": scales,
            "wz": np.zeros(scales.shape, np.int8), "s": np.float32(bytes_at), "z": np.uint8(120),
        }  # fmt: skip
        inputs = ["xd", "wd"]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
            helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=channel),
        ]
    last = helper.make_node(case.operator, [*inputs, "b"], ["c"], **case.attributes)
    return [*nodes, last, helper.make_node("Relu", ["c"], ["y"])], constants


def compared(source: Path, cases: Mapping[str, Case], tolerance: float) -> list[str]:
    """The library against ONNX Runtime on two inputs; what has an own schedule in it."""
    chosen = backends.backend("tvm")
    made = chosen.lower(frontends.load(source), source.with_suffix(".so"))
    assert not made.facts["default_schedules"]
    loaded, session = chosen.load(made.files[0]), onnxruntime.InferenceSession(source)
    outputs = []
    for turn in range(2):
        draw = np.random.default_rng(turn)
        feeds = {f"x{k}": draw.normal(size=case.data).astype(np.float32) for k, case in enumerate(cases.values())}
        outputs.append(session.run(None, feeds))
        for name, found, expected in zip(cases, loaded.run(feeds), outputs[-1], strict=True):
            assert found.shape == expected.shape, name
            assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max(), name
    for name, one, other in zip(cases, *outputs, strict=True):
        assert np.abs(one - other).max() > 1e-2 * np.abs(one).max(), name
    return list(made.facts["own_schedules"])


@needs_tvm
def test_each_form_has_an_own_kernel(tmp_path: Path) -> None:
    kernels = compared(model(CASES, tmp_path / "m.onnx"), CASES, 1e-5)
    assert len(kernels) == len(CASES)
    for kernel, case in zip(kernels, CASES.values(), strict=True):
        assert case.tile in kernel


@needs_tvm
def test_forms_of_bytes(tmp_path: Path) -> None:
    cases = {name: CASES[name] for name in ("line", "separable line", "transposed with overlaps", "groups of four")}
    kernels = compared(model(cases, tmp_path / "m.onnx", bytes_at=0.03), cases, 1e-4)
    assert all(case.tile in kernel for kernel, case in zip(kernels, cases.values(), strict=True))
    # In integers where the processor adds up products of bytes; transposed ones and groups are computed in floats.
    assert ["int8" in kernel for kernel in kernels] in ([True, True, False, False], [False] * 4)


@pytest.mark.parametrize("chip", [WIDE, NARROW, ARM])
@pytest.mark.parametrize("group", [16, 48, 80])
def test_tiles_lie_within_a_group(chip: Processor, group: int) -> None:
    found = Kernel("convolution 3x3 in groups", (1, 14, 14), 5 * group, 8, 9, group).plans(chip)
    assert found
    assert all(group % plan.tile.columns == 0 for _, plan in found)
