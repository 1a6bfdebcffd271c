"""Weights rounded with the data in mind, and inputs whose channels are brought to one range first."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.ir import rounding
from tcc.ir.calibration.observers import Channels
from tcc.ir.rounding import Compensation
from tcc.rewrites.lossy._measured import smoothing
from tcc.rewrites.lossy._schemes import quantize_weight

WIDTH = 96


def rows(count: int = 2000) -> np.ndarray:
    """Correlated rows, some columns much larger than others, one of them dead."""
    draw = np.random.default_rng(0)
    mixed = draw.normal(size=(count, 8)) @ draw.normal(size=(8, WIDTH)) + 0.1 * draw.normal(size=(count, WIDTH)) + 0.5
    mixed[:, 3] *= 40
    mixed[:, 7] = 0.0
    return np.asarray(mixed)


@pytest.mark.parametrize("levels", [127, 63, 7])
def test_errors_make_up_for_each_other(levels: int) -> None:
    x, w = rows(), np.random.default_rng(1).normal(size=(WIDTH, 40))
    fitted, others = x[:1000], x[1000:]
    second = fitted.T @ fitted / len(fitted)
    nearest = quantize_weight(w, 1, levels=levels)
    scale = nearest.scale.astype(np.float64)
    made, gap = Compensation.of(second).rounded(w, scale, levels)
    assert np.abs(made).max() <= levels

    def error(values: np.ndarray) -> float:
        return float(np.square(others @ (w - values * scale)).sum())

    assert error(made) < 0.3 * error(nearest.values)
    assert gap == pytest.approx(np.square(fitted @ (w - made * scale)).sum(axis=1).mean(), rel=1e-3)
    left = w - nearest.values * scale
    assert rounding.gap(left, second) == pytest.approx(np.square(fitted @ left).sum(axis=1).mean(), rel=1e-3)


def test_a_divided_input_has_the_same_compensation_divided() -> None:
    x, factor = rows(), np.exp(np.random.default_rng(2).normal(size=WIDTH))
    second = x.T @ x / len(x)
    made = Compensation.of(second)
    divided = made.divided(factor)
    damped = np.linalg.inv(divided.upper.T @ divided.upper)
    plain = np.linalg.inv(made.upper.T @ made.upper)
    assert np.allclose(damped * np.outer(factor[made.order], factor[made.order]), plain)


def test_channels_of_one_range_need_no_smoothing() -> None:
    draw = np.random.default_rng(3)
    x, w = draw.uniform(-1, 1, (500, WIDTH)), draw.uniform(-1, 1, (WIDTH, 32))
    channels = Channels(-1)
    channels.add(x.astype(np.float32))
    assert smoothing(channels, np.square(x).mean(axis=0), [w], 1e-3, 127) is None
    channels.add((x * np.geomspace(1, 100, WIDTH)).astype(np.float32))
    factor = smoothing(channels, np.square(x).mean(axis=0), [w], 1e-3, 127)
    assert factor is not None
    assert factor[-1] > 10 * factor[0]


def encoder(*, shared: bool) -> onnx.ModelProto:
    """Two products behind a normalisation whose channels differ by 100; ``shared``: a residual reads it too."""
    draw = np.random.default_rng(4)
    constants = {
        "gamma": np.geomspace(0.1, 10, WIDTH), "beta": draw.normal(size=WIDTH) * 0.1,
        "wa": draw.normal(size=(WIDTH, WIDTH)) / np.geomspace(0.1, 10, WIDTH)[:, None],
        "wb": draw.normal(size=(WIDTH, 256)) / np.geomspace(0.1, 10, WIDTH)[:, None],
    }  # fmt: skip
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gamma", "beta"], ["n"]),
        helper.make_node("MatMul", ["n", "wa"], ["a"]),
        helper.make_node("MatMul", ["n", "wb"], ["b"]),
    ]
    outputs = ["a", "b"]
    if shared:
        nodes.append(helper.make_node("Add", ["n", "a"], ["r"]))
        outputs = ["r", "b"]
    graph = helper.make_graph(
        nodes, "encoder", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [16, WIDTH])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [16, None]) for name in outputs],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("shared", [False, True])
def test_outliers_move_into_the_weights(shared: bool) -> None:  # noqa: FBT001 - a parameter
    draw = np.random.default_rng(5)
    feeds = [{"x": draw.normal(size=(16, WIDTH)).astype(np.float32)} for _ in range(24)]
    pipeline = "compress{techniques=dynamic-int8,objective=size,slower=true}"
    made = tcc.compile(encoder(shared=shared), passes=pipeline, target="x86-64-vnni", calibration=feeds, max_loss=1.0)
    facts: dict[str, Any] = dict(next(r for r in made.records if r.name == "compress").facts)
    assert all(site.endswith("@smooth") for site in facts["sites"])
    operators = [node.op_type for node in made.model.graph]
    assert operators.count("MatMulInteger") == 2
    assert operators.count("DynamicQuantizeLinear") == 1
    assert facts["loss"]["value"] < 3e-4
