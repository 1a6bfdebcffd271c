"""Symbolic dimensions have the sizes of the user's data where prices and clocks are concerned."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.compiler import sizing
from tcc.frontends import load
from tcc.ir.inference import annotate
from tcc.passes import _pricing
from tcc.targets import parse_target


def convolutional(*, constants: bool = False) -> onnx.ModelProto:
    """A convolution with BatchNormalization over an image of any size, its weights Constant nodes if asked for."""
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(size=(32, 3, 3, 3)), **{name: rng.uniform(1, 2, 32) for name in ("s", "b", "m", "v")}}
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"], "norm"),
    ]
    if constants:
        nodes = [*(helper.make_node("Constant", [], [t.name], f"make_{t.name}", value=t) for t in tensors), *nodes]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32, "h", None])], [] if constants else tensors,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def images(*sizes: tuple[int, int]) -> list[dict[str, Any]]:
    """One image of each size."""
    return [{"x": np.zeros((1, 3, *size), np.float32)} for size in sizes]


def test_the_median_of_the_data_unless_stated() -> None:
    found = sizing.sizes(load(convolutional()), {"h": 7}, images((48, 320), (48, 100), (48, 160)))
    assert found == {"n": 1, "h": 7, "x:3": 160}


def test_nothing_is_known_without_inputs() -> None:
    assert sizing.sizes(load(convolutional()), {}, ()) == {}


def test_models_are_timed_on_the_data_or_else_on_generated_inputs() -> None:
    data, generated = images(*((8, n) for n in range(1, 11))), images((4, 4))
    assert [feed["x"].shape[3] for feed in sizing.timed(data, generated)] == [1, 3, 6, 8]
    assert sizing.timed(None, generated) is generated
    assert sizing.timed((), generated) is generated


def test_prices_follow_the_data() -> None:
    """The same model with the same weights is predicted to take longer on larger images."""
    seconds = []
    for size in ((16, 16), (256, 256)):
        data = [{"x": np.random.default_rng(i).normal(size=(1, 3, *size)).astype(np.float32)} for i in range(4)]
        stacked = {"x": np.concatenate([feed["x"] for feed in data])}
        result = tcc.compile(convolutional(), 2, "jetson", calibration=stacked, measure=False)
        seconds.append(result.report["predicted"]["seconds_after"])
    assert seconds[1] > 10 * seconds[0]


def test_weights_that_are_constant_nodes_cost_what_initialisers_do() -> None:
    """Else what only makes initialisers of them would seem to be a loss, and nothing after it would ship."""
    target, found = parse_target("x86-64-vnni"), []
    for constants in (False, True):
        model = load(convolutional(constants=constants))
        annotate(model)
        found.append(_pricing.predicted_seconds(model, target, {"n": 1, "h": 64, "x:3": 64}))
    # A Constant node is read once more where it stands.
    assert found[0] <= found[1] <= 1.05 * found[0]
