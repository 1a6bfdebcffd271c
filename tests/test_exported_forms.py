"""Forms that exporters write of newer models: types that follow symbols, masks of biases, statistics of weights."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tcc.compiler.levels import pipeline_text
from tcc.frontends import load
from tcc.ir import symbolic
from tcc.ir.equality import compare
from tcc.ir.execution import Runner
from tcc.ir.types import TensorType
from tcc.passes.base import Context
from tcc.passes.pipeline import parse
from tcc.targets import parse_target

TOLERANCE = 1e-5
KEYS = '["int64",[3],["batch",1,1]]'


def kind(*shape: int | str) -> str:
    return str(TensorType("float32", shape))


def simplified(proto: onnx.ModelProto, level: int) -> onnx.ModelProto:
    model, context = load(proto), Context(parse_target("x86-64-vnni"))
    for step in parse(pipeline_text(level)):
        model = step.run(model, context).model
    return model.to_proto()


def check(proto: onnx.ModelProto, feeds: dict[str, np.ndarray], level: int) -> list[str]:
    """The operators of the model at a level, whose outputs are the same."""
    made = simplified(proto, level)
    expected, actual = (Runner(m).run(feeds) for m in (proto, made))
    found = compare(expected, actual, bits=level < 2, rtol=TOLERANCE)
    assert found.equal, found.text()
    return [node.op_type for node in made.graph.node]


def test_a_tile_repeats_symbols() -> None:
    assert symbolic.repeated.__wrapped__(kind(4, 32, 16), KEYS) == kind("4*batch", 32, 16)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kernel", "attributes", "shape"),
    [
        (1, "{}", (8, "seq")),
        (3, '{"pads":[1,1]}', (8, "seq")),
        (3, '{"dilations":[2],"pads":[4,0]}', (8, "seq")),
        (3, "{}", None),
        (1, '{"strides":[2]}', None),
        (3, '{"auto_pad":"SAME_UPPER"}', None),
    ],
)
def test_a_convolution_keeps_the_symbols_that_its_padding_makes_up_for(
    kernel: int, attributes: str, shape: tuple[int | str, ...] | None
) -> None:
    found = symbolic.convolved.__wrapped__(kind(1, 4, "seq"), kind(8, 4, kernel), attributes)  # type: ignore[attr-defined]
    assert found == ("" if shape is None else kind(1, *shape))


@pytest.mark.parametrize("level", [1, 2])
def test_statistics_of_weights_keep_the_outputs_that_training_asks_for(level: int) -> None:
    """Weights are standardised by a BatchNormalization in training mode, of which one output is read."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((1, 8, 36)),
        "s": np.ones(8),
        "b": np.zeros(8),
        "m": np.zeros(8),
        "v": np.ones(8),
    }
    nodes = [
        helper.make_node("BatchNormalization", [*weights], ["n", "n_mean", "n_var"], training_mode=1, momentum=1.0),
        helper.make_node("Reshape", ["n", "shape"], ["k"]),
        helper.make_node("Conv", ["x", "k"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, 1, None) for name in "xy")
    x.type.CopyFrom(helper.make_tensor_type_proto(1, [1, 4, 6, 6]))
    tensors = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([8, 4, 3, 3]), "shape"))
    graph = helper.make_graph(nodes, "standardised", [x], [y], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert "Conv" in check(proto, {"x": rng.standard_normal((1, 4, 6, 6)).astype(np.float32)}, level)


def test_attention_behind_convolutions_of_any_length_is_recognised() -> None:
    """Queries, keys and values by convolutions over a length that is a symbol, masked by a bias of positions or not."""
    rng = np.random.default_rng(1)
    tensors = [numpy_helper.from_array(rng.standard_normal((8, 8, 1)).astype(np.float32), f"w{n}") for n in "qkv"]
    tensors.append(numpy_helper.from_array(np.array([0, 2, 4, -1]), "split"))
    tensors.append(numpy_helper.from_array(np.array(np.finfo(np.float32).min), "low"))
    tensors.append(numpy_helper.from_array(rng.standard_normal((1, 2, 1, 1)).astype(np.float32), "bias"))
    nodes = []
    for n in "qkv":
        nodes.append(helper.make_node("Conv", ["x", f"w{n}"], [f"{n}c"]))
        nodes.append(helper.make_node("Reshape", [f"{n}c", "split"], [f"{n}h"]))
    nodes += [
        helper.make_node("Transpose", ["qh"], ["q"], perm=[0, 1, 3, 2]),
        helper.make_node("Transpose", ["vh"], ["v"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "kh"], ["scores"]),
        helper.make_node("Where", ["seen", "bias", "low"], ["mask"]),
        helper.make_node("Add", ["scores", "mask"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 8, "length"]),
        helper.make_tensor_value_info("seen", onnx.TensorProto.BOOL, [2, 1, "length", "length"]),
    ]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "attention", inputs, [output], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"x": rng.standard_normal((2, 8, 5)).astype(np.float32), "seen": rng.random((2, 1, 5, 5)) < 0.7}
    assert "Attention" in check(proto, feeds, 2)


@pytest.mark.parametrize("size", [4, 12, 100])
def test_constants_of_equal_content_are_one(size: int) -> None:
    """What two layers do with a mask is done once, although each has constants of its own."""
    values = np.random.default_rng(2).standard_normal(size).astype(np.float32)
    tensors = [numpy_helper.from_array(values, name) for name in ("first", "second")]
    nodes = [
        helper.make_node("Mul", ["x", "first"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["p"]),
        helper.make_node("Mul", ["x", "second"], ["b"]),
        helper.make_node("Sigmoid", ["b"], ["q"]),
        helper.make_node("Concat", ["p", "q"], ["y"], axis=0),
    ]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [n, size]) for name, n in (("x", 3), ("y", 6)))
    graph = helper.make_graph(nodes, "twins", [x], [y], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = check(proto, {"x": np.random.default_rng(3).standard_normal((3, size)).astype(np.float32)}, 1)
    assert sorted(found) == ["Concat", "Mul", "Sigmoid"]


def test_places_of_what_is_not_zero_are_folded() -> None:
    """An exporter's indices of a strided view: the places of ones, which shape inference cannot count."""
    one = helper.make_attribute("value", numpy_helper.from_array(np.array([1], np.int64)))
    nodes = [
        helper.make_node("ConstantOfShape", ["length"], ["ones"]),
        helper.make_node("NonZero", ["ones"], ["places"]),
    ]
    nodes[0].attribute.append(one)
    nodes += [
        helper.make_node("Reshape", ["places", "column"], ["rows"]),
        helper.make_node("Reshape", ["places", "row"], ["columns"]),
        helper.make_node("Add", ["rows", "columns"], ["indices"]),
        helper.make_node("Gather", ["x", "indices"], ["windows"]),
        helper.make_node("Shape", ["windows"], ["shape"]),
        helper.make_node("Expand", ["windows", "shape"], ["y"]),
    ]
    tensors = [
        numpy_helper.from_array(np.array(value), name)
        for name, value in (("length", [3]), ("column", [-1, 1]), ("row", [1, -1]))
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [5])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3, 3])
    graph = helper.make_graph(nodes, "windows", [x], [y], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert check(proto, {"x": np.arange(5, dtype=np.float32)}, 1) == ["Gather"]
