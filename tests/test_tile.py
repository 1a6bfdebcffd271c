"""Tiling: what is computed a few rows at a time is what is computed at once; its peak, predicted and measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tcc
from benchmarks import models
from tcc import cli, frontends
from tcc.cost_models.memory import Memory
from tcc.diagnostics import Exit
from tcc.ir.execution import Runner
from tcc.ir.inference import annotate
from tcc.ir.model import Model
from tcc.passes import _tile_rows
from tcc.passes._tile_rows import Rows, step
from tcc.passes.base import Context, PassResult
from tcc.passes.tile import Tile
from tcc.targets import parse_target
from tests.corpus_support import require
from tests.quantized_models import Builder

Build = Callable[[Builder], str]


def normal(b: Builder, *shape: int) -> str:
    return b.constant(b.random.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1))


def conv(b: Builder, x: str, inputs: int, outputs: int, kernel: int = 3, **attributes: Any) -> str:
    group = int(attributes.get("group", 1))
    if "auto_pad" not in attributes and "pads" not in attributes:
        attributes["pads"] = [kernel // 2] * 4
    weights = normal(b, outputs, inputs // group, kernel, kernel), normal(b, outputs)
    return b.op("Conv", x, *weights, **attributes)


def residual(b: Builder) -> str:
    """As a network for super-resolution: the trunk is added to what went in, and becomes a larger image."""
    x = head = conv(b, b.input(1, 3, 61, 40), 3, 8)
    for _ in range(3):
        x = b.op("Add", x, conv(b, b.op("PRelu", conv(b, x, 8, 8), normal(b, 8, 1, 1)), 8, 8))
    x = b.op("DepthToSpace", conv(b, b.op("Add", x, head), 8, 32), blocksize=2)
    return b.op("Clip", conv(b, x, 8, 3), b.constant(-1.0), b.constant(1.0))


def strided(b: Builder) -> str:
    """Convolutions and poolings of all kinds; odd numbers of rows."""
    x = conv(b, b.input(2, 3, 95, 33), 3, 8, 5, strides=[2, 1])
    x = b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = b.op("Relu", conv(b, x, 8, 8, group=8, dilations=[2, 2], pads=[2, 2, 2, 2]))
    x = b.op("AveragePool", x, kernel_shape=[3, 3], pads=[1, 0, 1, 2])
    return b.op("AveragePool", x, kernel_shape=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1)


def same(b: Builder) -> str:
    x = conv(b, b.input(1, 4, 50, 20), 4, 16, auto_pad="SAME_UPPER", strides=[2, 2])
    return conv(b, conv(b, x, 16, 16, 4, auto_pad="SAME_LOWER"), 16, 2, auto_pad="VALID")


def u_shaped(b: Builder) -> str:
    """Down and up again, beside what went down."""
    x = b.input(1, 3, 64, 32)
    high = b.op("Relu", conv(b, x, 3, 16))
    low = conv(b, b.op("MaxPool", high, kernel_shape=[2, 2], strides=[2, 2]), 16, 16)
    up = b.op("Resize", low, "", b.constant([1, 1, 2, 2]), mode="nearest", nearest_mode="floor",
              coordinate_transformation_mode="asymmetric")  # fmt: skip
    normed = b.op("BatchNormalization", b.op("Concat", up, high, axis=1),
                  *(b.constant(b.random.uniform(0.5, 1, 32)) for _ in range(4)))  # fmt: skip
    return b.op("Softmax", conv(b, normed, 32, 4), axis=1)


def rows(b: Builder) -> str:
    """A feed-forward layer: rows of a matrix product, wide in between."""
    x = b.input(1, 96, 16)
    normed = b.op("LayerNormalization", x, normal(b, 16), normal(b, 16))
    wide = b.op("Add", b.op("MatMul", normed, normal(b, 16, 128)), normal(b, 128))
    wide = b.op("Mul", wide, b.op("Sigmoid", wide))
    return b.op("Add", b.op("MatMul", wide, normal(b, 128, 16)), x)


def quantised(b: Builder) -> str:
    x = b.both(b.input(1, 3, 40, 24), zero=128)
    for inputs, outputs in ((3, 16), (16, 16), (16, 4)):
        x = b.op("Conv", x, b.weight(outputs, inputs, 3, 3), b.bias(outputs), pads=[1, 1, 1, 1])
        x = b.both(b.op("Relu", x))
    return x


def turned(b: Builder) -> str:
    """Channels last around products, as in ConvNeXt."""
    x = b.op("Transpose", conv(b, b.input(1, 4, 48, 24), 4, 16, group=4), perm=[0, 2, 3, 1])
    x = b.op("Gelu", b.op("MatMul", x, normal(b, 16, 64)))
    return b.op("Transpose", b.op("MatMul", x, normal(b, 64, 4)), perm=[0, 3, 1, 2])


CASES: list[tuple[Build, float]] = [
    (residual, 0.65), (strided, 0.85), (same, 0.8), (u_shaped, 0.75), (rows, 0.5), (quantised, 0.6), (turned, 0.6),
]  # fmt: skip
"""Models, and the part of the peak that is asked for."""


def made(build: Build) -> Model:
    b = Builder()
    return frontends.load(b.model(build(b), opset=20))


def outputs(model: Model) -> list[np.ndarray]:
    """What two random inputs give."""
    kind = model.graph.inputs[0].shape
    assert kind is not None
    runner = Runner(model.to_proto())
    draws = (np.random.default_rng(seed).normal(size=list(kind.numpy())).astype(np.float32) for seed in range(2))
    return [runner.run({"x0": x})[0] for x in draws]


def tiled(source: Model, part: float) -> tuple[PassResult, float]:
    """The pass's result, and the peak that it was asked for."""
    annotate(source)
    limit = part * Memory().peak(source).total
    return Tile(memory=int(limit)).run(source, Context(parse_target("native"))), limit


@pytest.mark.parametrize(("build", "part"), CASES, ids=[build.__name__ for build, _ in CASES])
def test_tiles_compute_the_same_within_the_budget(build: Build, part: float) -> None:
    source = made(build)
    result, limit = tiled(source, part)
    assert result.changed
    onnx.checker.check_model(result.model.to_proto(), full_check=True)
    assert result.model.signature == source.signature
    again = result.model.clone()
    annotate(again)
    assert Memory().peak(again).total <= limit
    expected, found = (outputs(m) for m in (source, result.model))
    for one, other in zip(expected, found, strict=True):
        assert np.abs(one - other).max() <= 1e-6 * np.abs(one).max()
    assert np.abs(expected[0] - expected[1]).max() > 0.05 * np.abs(expected[0]).max()
    assert result.model.to_bytes() == tiled(made(build), part)[0].model.to_bytes()


def test_wrong_rows_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the test above fails where windows do not reach into the neighbouring tiles."""
    right = _tile_rows._window

    def short(node: Any, axis: int, rows: Rows, there: Rows | None) -> _tile_rows.Step | None:
        found = right(node, axis, rows, there)
        return found and right(node, axis, rows, found.needs[0].rows if rows[0] == 0 else (rows[0], rows[1]))

    monkeypatch.setattr(_tile_rows, "_window", short)
    source = made(residual)
    expected, found = (outputs(m)[0] for m in (source, tiled(source, 0.65)[0].model))
    assert np.abs(expected - found).max() > 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("operator", "attributes", "axis"),
    [("Softmax", {"axis": 2}, 2), ("LayerNormalization", {"axis": 2}, 3), ("Concat", {"axis": 2}, 2),
     ("BatchNormalization", {}, 1), ("GlobalAveragePool", {}, 2),
     ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}, 2)],
)  # fmt: skip
def test_what_needs_more_than_some_rows_is_not_cut(operator: str, attributes: dict[str, Any], axis: int) -> None:
    b = Builder()
    x = b.op("Exp", b.input(1, 3, 65, 65))
    constants = {"LayerNormalization": 1, "BatchNormalization": 4}.get(operator, 0)
    size = 65 if operator == "LayerNormalization" else 3
    more = [b.constant(np.ones((65, 65) if operator == "LayerNormalization" else size)) for _ in range(constants)]
    model = frontends.load(b.model(b.op(operator, x, *([x] if operator == "Concat" else more), **attributes), opset=20))
    annotate(model)
    node = list(model.graph)[-1]
    assert step(node, axis, (0, 8)) is None


def test_without_a_budget_nothing_happens() -> None:
    result = Tile().run(made(residual), Context(parse_target("native")))
    assert not result.changed
    assert "no budget" in result.facts["declined"]
    assert not tiled(made(residual), 2.0)[0].changed


def test_the_budget_of_memory_is_kept_by_tiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output, report = tmp_path / "m.onnx", tmp_path / "out.onnx", tmp_path / "r.json"
    b = Builder()
    onnx.save(b.model(residual(b), opset=20), source)
    arguments = [str(source), "--no-measure", "-q", "-o", str(output), "--report", str(report), "--max-memory"]
    assert cli.main([*arguments, "70%"]) == 0
    told = json.loads(report.read_text())
    assert told["verification"]["verified"]
    assert told["verification"]["difference"]["scaled"] <= 1e-6
    (facts,) = (entry["facts"] for entry in told["passes"] if "regions" in entry["facts"])
    assert facts["bytes"][1] <= facts["budget"] < facts["bytes"][0]
    assert facts["regions"][0]["tiles"] >= 2
    assert {"Slice", "Concat"} <= {node.op_type for node in onnx.load(output).graph.node}
    # Tiles are as exact as values are, not as bits: no promise of the lower levels'.
    assert cli.main([*arguments, "70%", "-O1"]) == int(Exit.INFEASIBLE)
    assert cli.main([*arguments, "5%"]) == int(Exit.INFEASIBLE)
    assert "bytes of memory (predicted)" in capsys.readouterr().err


def test_what_is_quantised_is_cut_as_well(tmp_path: Path) -> None:
    b = Builder()
    source = b.model(residual(b), opset=20)
    made = tcc.compile(
        source, 3, calibration="synthetic:4", max_loss=0.5, max_memory="75%", output=tmp_path / "out.onnx"
    )  # fmt: skip
    facts = [entry["facts"] for entry in made.report["passes"] if "budget" in entry["facts"]][-1]
    assert facts["bytes"][-1] <= facts["budget"]
    assert made.report["accuracy"]["status"] == "measured"


_PEAK = """
import sys, numpy, onnxruntime
def held(key):
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(key))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
(given,) = session.get_inputs()
image = numpy.ones(given.shape, numpy.float32)
before = held("VmRSS:")
session.run(None, {given.name: image})
print(held("VmHWM:") - before)
"""


def enlarged(name: str, height: int, width: int, path: Path) -> Path:
    """A topology for a larger image."""
    proto = onnx.load(models.file(models.Entry("topologies", name), path.parent))
    for dimension, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, (1, None, height, width), strict=True):
        if size is not None:
            dimension.Clear()
            dimension.dim_value = size
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    onnx.save(onnx.shape_inference.infer_shapes(proto, data_prop=True), path)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's high-water mark is Linux's")
@pytest.mark.parametrize(("name", "size", "budget"), [("hand_espcn", 448, "30%"), ("hand_edsr", 144, "50%")])
def test_the_peak_of_a_large_image_is_lower_as_measured(name: str, size: int, budget: str, tmp_path: Path) -> None:
    """Super-resolution of large images: most of the memory are activations of the full size."""
    require("topologies")
    source = enlarged(name, size, size, tmp_path / "large.onnx")
    tcc.compile(source, max_memory=budget, output=tmp_path / "tiled.onnx")
    held = [
        int(subprocess.run([sys.executable, "-c", _PEAK, path], check=True, capture_output=True, text=True).stdout)
        for path in (source, tmp_path / "tiled.onnx")
    ]
    assert held[1] < 0.6 * held[0]
