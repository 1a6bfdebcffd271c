"""The networks of the superoptimisers' benchmark: built with the sizes that their papers give, and optimised."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import tensat, tensat_models

SIZES = {
    "bert": (113, 33.55), "resnext50": (123, 22.9), "nasnet_a": (420, 39.8), "nasrnn": (230, 20.97),
    "inception_v3": (309, 23.85), "squeezenet": (66, 1.248), "vgg19": (43, 143.67),
}  # fmt: skip
"""Nodes, and millions of parameters; those of VGG-19, SqueezeNet and Inception-v3 are their papers'."""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Weights that take no memory: their sizes are counted."""
    sizes: list[int] = []

    def constant(net: tensat_models.Network, array: np.ndarray) -> str:
        sizes.append(array.size)
        name = f"w{len(net.weights)}"
        net.weights.append(onnx.TensorProto(name=name, dims=array.shape, data_type=onnx.TensorProto.FLOAT))
        net.shapes[name] = array.shape
        return name

    def weight(net: tensat_models.Network, *shape: int, gain: float = 2.0) -> str:
        del gain
        return net.constant(np.broadcast_to(np.float32(0), shape))

    monkeypatch.setattr(tensat_models.Network, "constant", constant)
    monkeypatch.setattr(tensat_models.Network, "weight", weight)
    return sizes


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_published_ones(name: str, counted: list[int]) -> None:
    model = tensat_models.NETWORKS[name]()
    nodes, millions = SIZES[name]
    assert len(model.graph.node) == nodes
    assert math.isclose(sum(counted) / 1e6, millions, rel_tol=5e-3)


def test_what_is_built_has_the_shapes_that_it_states(tmp_path: Path) -> None:
    tensat_models.write("squeezenet", str(tmp_path / "m.onnx"))
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)  # raises where inference finds another shape than the stated one
    row = tensat.optimise(str(tmp_path / "m.onnx"), str(tmp_path / "o.onnx"), "x86-64-vnni")
    assert row["gap"] == 0
    assert row["nodes"] == [66, 66]
    assert row["bytes"][1] <= row["bytes"][0]
    timed = tensat.measure(str(tmp_path / "m.onnx"), str(tmp_path / "o.onnx"), 0.2, 1)
    assert 0.2 < timed["ratio"] < 5
