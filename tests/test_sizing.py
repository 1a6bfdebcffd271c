"""Symbolic dimensions have the sizes of the user's data where prices and clocks are concerned."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.compiler import sizing
from tcc.diagnostics import Exit, TccError
from tcc.frontends import load
from tcc.ir.fixed_sizes import fixed_types
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


def chained(nodes: list[onnx.NodeProto], *constants: onnx.TensorProto) -> onnx.ModelProto:
    """Two convolutions, the first over every second pixel, and what follows: ``z`` of ``b``."""
    rng = np.random.default_rng(0)
    first, second = (
        numpy_helper.from_array(rng.normal(size=(32, n, 3, 3)).astype(np.float32), f"w{n}") for n in (3, 32)
    )
    nodes = [
        helper.make_node("Conv", ["x", "w3"], ["a"], "first", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Conv", ["a", "w32"], ["b"], "second", pads=[1, 1, 1, 1]),
        *nodes,
    ]
    ports = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 3, "h", "w"] if n == "x" else None) for n in "xz"
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [first, second, *constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


SCALED = [  # beyond ONNX's inference: a size that goes through floats
    helper.make_node("Shape", ["b"], ["s"], "shape"),
    helper.make_node("Cast", ["s"], ["f"], "to_float", to=TensorProto.FLOAT),
    helper.make_node("Mul", ["f", "two"], ["g"], "twice"),
    helper.make_node("Cast", ["g"], ["i"], "to_int", to=TensorProto.INT64),
    helper.make_node("Resize", ["b", "", "", "i"], ["r"], "larger", mode="nearest"),
    helper.make_node("Relu", ["r"], ["z"], "last"),
]
TWO = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "two")


def test_without_data_the_usual_sizes_are_taken_and_told() -> None:
    result = tcc.compile(convolutional(), 2, "jetson", symbols={"h": 64}, measure=False)
    (told,) = [d for d in result.diagnostics if d.code == "N0204"]
    assert "n=1, x:3=224" in told.message
    assert "h=" not in told.message
    given = tcc.compile(convolutional(), 2, inputs=images((9, 9)), measure=False)
    assert "N0204" not in {d.code for d in given.diagnostics}


def test_sizes_of_dimensions_that_are_not_there_are_refused_together() -> None:
    with pytest.raises(TccError) as caught:
        tcc.compile(convolutional(), 2, symbols={"h": 64, "height": 64, "x:2": 3, "x:3": 64}, measure=False)
    assert caught.value.exit_code == Exit.USAGE
    assert [d.code for d in caught.value.diagnostics] == ["E0253"] * 2
    assert "'height'" in caught.value.diagnostics[0].message
    assert "n, h, x:3" in caught.value.diagnostics[0].help


def test_parts_of_a_computed_dimension_may_be_stated() -> None:
    model = convolutional()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "past + now"
    result = tcc.compile(model, 1, symbols={"past": 8}, measure=False)
    assert result.report["predicted"]["seconds_after"] > 0


def test_what_lies_behind_a_convolution_is_priced_at_its_size() -> None:
    result = tcc.compile(chained(SCALED, TWO), 2, "jetson", measure=False)
    operations = {layer["name"]: layer["operations"] for layer in result.report["layers"]}
    assert operations["second"] == 2 * 112 * 112 * 32 * 32 * 9


def test_a_run_tells_the_sizes_that_inference_does_not() -> None:
    model, feed = load(chained(SCALED, TWO)), images((64, 96))[0]
    found = sizing.sizes(model, {}, [feed])
    assert [found[f"r:{axis}"] for axis in range(4)] == [1, 32, 64, 96]
    assert fixed_types(model, found)["z"].shape == (1, 32, 64, 96)


def test_what_makes_its_type_from_an_attribute_stays_single() -> None:
    """A ConstantOfShape asked for halves would still make floats, and the whole program would not load."""
    nodes = [
        helper.make_node("Shape", ["b"], ["s"], "shape"),
        helper.make_node("ConstantOfShape", ["s"], ["c"], "fill"),
        helper.make_node("Add", ["b", "c"], ["z"], "sum"),
    ]
    result = tcc.compile(chained(nodes), 3, "jetson", measure=False)
    assert "N0703" not in {d.code for d in result.diagnostics}
    assert "float16" in {layer["dtype"] for layer in result.report["layers"]}
