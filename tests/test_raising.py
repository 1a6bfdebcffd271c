"""A newer opset is taken where rules need it to write what they recognise, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc import frontends
from tcc.ir import conversion
from tcc.ir.execution import Runner
from tests.rules.draw import Draw, Value


def _opset(result: Any) -> int:
    version: int = result.model.opset
    return version


def _facts(result: Any) -> dict[str, Any]:
    """What the simplifying pass says of the opset."""
    found: dict[str, Any] = next(step["facts"]["opset"] for step in result.report["passes"] if "opset" in step["facts"])
    return found


def _layer_normalization(opset: int = 13, width: int = 16) -> onnx.ModelProto:
    """(x - mean) / sqrt(var + epsilon) * scale + shift, then a wide product."""
    draw = Draw(np.random.default_rng(3), opset=opset)
    x = draw.input_of(draw.array((2, 5, width)), names=["batch", 5, width])
    deviation = draw.node("Sub", x, draw.node("ReduceMean", x, axes=[-1]))
    squared = draw.node("Pow", deviation, draw.constant(np.float32(2)))
    variance = draw.node("ReduceMean", squared, axes=[-1])
    root = draw.node("Sqrt", draw.node("Add", variance, draw.constant(np.float32(1e-5))))
    scaled = draw.node("Mul", draw.node("Div", deviation, root), draw.constant(draw.array((width,))))
    shifted = draw.node("Add", scaled, draw.constant(draw.array((width,))))
    return draw.model(draw.node("MatMul", shifted, draw.constant(draw.array((width, 32)))))


def test_the_lowest_opset_that_holds_the_result() -> None:
    result = tcc.compile(_layer_normalization(), 2)
    assert result.model.operator_counts == {"LayerNormalization": 1, "MatMul": 1}
    assert _opset(result) == 17
    assert _facts(result) == {"from": 13, "to": 17}


@pytest.mark.parametrize("how", ["a target of opset 17 or less", "bits", "option"])
def test_not_where_it_may_not_be(how: str) -> None:
    proto = _layer_normalization(13)
    if how == "option":
        result = tcc.compile(proto, passes="simplify{newer=false}")
    elif how == "bits":
        result = tcc.compile(proto, 1)
    else:
        proto = _layer_normalization(13)
        result = tcc.compile(proto, 2, target="jetson@jp6.0")
        assert _opset(result) == 17
        return
    assert _opset(result) == 13
    assert "LayerNormalization" not in result.model.operator_counts


def test_nothing_is_raised_for_nothing() -> None:
    """A reduction and a root that are no normalisation."""
    draw = Draw(np.random.default_rng(3), opset=13)
    x = draw.input_of(draw.positive((4, 8)))
    mean = draw.node("ReduceMean", draw.node("Sqrt", x), axes=[-1])
    result = tcc.compile(draw.model(draw.node("Softplus", mean)), 2)
    assert _opset(result) == 13
    # No rule of a newer opset finds a place to match, so that the model is not even converted.
    assert not any("opset" in step["facts"] for step in result.report["passes"])


def test_control_flow_is_left_in_its_opset() -> None:
    proto = _layer_normalization()
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    proto.graph.input.append(flag)
    name = proto.graph.output[0].name
    branches = {
        key: helper.make_graph([helper.make_node(operator, [name], [f"{key}_out"])], key, [],
                               [helper.make_tensor_value_info(f"{key}_out", TensorProto.FLOAT, None)])
        for key, operator in (("then_branch", "Neg"), ("else_branch", "Abs"))
    }  # fmt: skip
    proto.graph.node.append(helper.make_node("If", ["flag"], ["chosen"], **branches))
    proto.graph.output[0].name = "chosen"
    result = tcc.compile(proto, 2)
    assert _opset(result) == 13
    assert "control flow" in _facts(result)["declined"]


def test_a_conversion_keeps_what_the_model_holds() -> None:
    proto = _layer_normalization(13, width=600)
    proto.graph.node[0].metadata_props.add(key="origin", value="layer 0")
    proto.metadata_props.add(key="author", value="somebody")
    model = frontends.load(proto)
    made = conversion.converted(model, 18)
    assert made.signature == model.signature
    assert made.opset == 18
    assert made.ir.metadata_props["author"] == "somebody"
    assert any(node.metadata_props.get("origin") == "layer 0" for node in made.graph)
    weight = next(iter(w.name for w in proto.graph.initializer if w.ByteSize() > 10_000))
    assert made.graph.initializers[weight].const_value is model.graph.initializers[weight].const_value
    x = np.random.default_rng(0).normal(size=(3, 5, 600)).astype(np.float32)
    feed = {proto.graph.input[0].name: x}
    assert np.array_equal(Runner(proto).run(feed)[0], Runner(made.to_proto()).run(feed)[0])


def test_a_conversion_that_is_not_possible_says_why() -> None:
    draw = Draw(np.random.default_rng(3), opset=13)
    model = draw.model(draw.node("Abs", draw.input((2,))))
    model.functions.add(name="unused", domain="own")
    with pytest.raises(conversion.ConversionError, match="functions"):
        conversion.converted(frontends.load(model), 18)


def test_a_composed_operator_costs_what_it_is_made_of() -> None:
    """ONNX Runtime has no kernel of Swish: two nodes that it fuses are cheaper than the four that it makes of one."""
    draw = Draw(np.random.default_rng(3), opset=24)
    x = draw.input_of(draw.array((64, 512)))
    result = tcc.compile(draw.model(draw.node("Mul", x, draw.node("Sigmoid", x))), 2)
    assert "Swish" not in result.model.operator_counts


def test_weights_keep_their_bytes() -> None:
    proto = _layer_normalization(13, width=600)
    before = {t.name: numpy_helper.to_array(t).tobytes() for t in proto.graph.initializer}
    made = conversion.converted(frontends.load(proto), 20).to_proto()
    after = {t.name: numpy_helper.to_array(t).tobytes() for t in made.graph.initializer}
    assert all(after[name] == content for name, content in before.items())


def test_a_newer_opset_may_need_the_rules_of_the_model_s_own_first() -> None:
    """Scores that are divided by a constant are no Attention before they are multiplied, which any opset's rules do."""
    draw = Draw(np.random.default_rng(3), opset=14)
    q, k, v = (draw.input((1, 4, 64, 32), symbols=0.0) for _ in range(3))
    scores = draw.node("Div", draw.node("MatMul", q, draw.node("Transpose", k, perm=[0, 1, 3, 2])),
                       draw.constant(np.float32(5.656854)))  # fmt: skip
    mixed = draw.node("MatMul", draw.node("Softmax", scores, axis=-1), v)
    # A GELU, whose own opset is an older one, can be told at once.
    inner = draw.node("Erf", draw.node("Div", mixed, draw.constant(np.float32(1.4142135))))
    outer = draw.node("Mul", mixed, draw.node("Add", inner, draw.constant(np.float32(1))))
    result = tcc.compile(draw.model(draw.node("Mul", outer, draw.constant(np.float32(0.5)))), 2)
    assert result.model.operator_counts["Attention"] == 1
    assert result.model.operator_counts["Gelu"] == 1
    assert _opset(result) == 23


def test_what_is_filled_to_a_shape_has_its_sizes() -> None:
    """A bias of relative positions goes through a tensor filled to the shape of the positions, as T5 writes it."""
    draw = Draw(np.random.default_rng(3), opset=18)
    q, k, v = (draw.input_of(draw.array((2, 4, 5, 8)), names=["batch", 4, "seq", 8]) for _ in range(3))
    scores = draw.node("MatMul", q, draw.node("Transpose", k, perm=[0, 1, 3, 2]))
    seen = draw.input_of(np.ones((5, 5), np.int64), names=["seq", "seq"])
    most = numpy_helper.from_array(np.array([3], np.int64))
    capped = draw.node("Min", seen, draw.node("ConstantOfShape", draw.node("Shape", seen), value=most))
    table = draw.constant(draw.array((4, 4)))
    bias = draw.node("Transpose", draw.node("Gather", table, capped, axis=0), perm=[2, 0, 1])
    bias = draw.node("Unsqueeze", bias, draw.constant(np.array([0], np.int64)))
    mixed = draw.node("MatMul", draw.node("Softmax", draw.node("Add", scores, bias), axis=-1), v)
    assert tcc.compile(draw.model(mixed), 2).model.operator_counts["Attention"] == 1


def test_a_bias_between_bounds_is_moderate() -> None:
    """16 times a sigmoid of a table, as Swin V2 adds it: it hides nothing, and is no infinity."""
    draw = Draw(np.random.default_rng(3), opset=18)
    q, k, v = (draw.input((1, 4, 9, 8), symbols=0.0) for _ in range(3))
    scores = draw.node("MatMul", q, draw.node("Transpose", k, perm=[0, 1, 3, 2]))
    fed = draw.node("Sigmoid", draw.input((1, 4, 9, 9), symbols=0.0))
    scores = draw.node("Add", scores, draw.node("Mul", draw.constant(np.float32(16)), fed))
    mixed = draw.node("MatMul", draw.node("Softmax", scores, axis=-1), v)
    assert tcc.compile(draw.model(mixed), 2).model.operator_counts["Attention"] == 1


def test_a_mask_for_the_longest_sequence_is_cut_to_the_one_there_is() -> None:
    """A constant mask of 16 places, of which as many are taken as there are queries and keys."""
    draw = Draw(np.random.default_rng(3), opset=18)
    q, k, v = (draw.input_of(draw.array((2, 4, 5, 8)), names=["batch", 4, "seq", 8]) for _ in range(3))
    scores = draw.node("MatMul", q, draw.node("Transpose", k, perm=[0, 1, 3, 2]))
    size = draw.node("Shape", q, start=2, end=3)
    mask = draw.constant(np.where(np.tri(16), 0, -1e9).astype(np.float32))
    for axis in (0, 1):
        bounds = draw.constant(np.array([0], np.int64)), size, draw.constant(np.array([axis], np.int64))
        mask = draw.node("Slice", mask, *bounds)
    mixed = draw.node("MatMul", draw.node("Softmax", draw.node("Add", scores, mask), axis=-1), v)
    assert tcc.compile(draw.model(mixed), 2).model.operator_counts["Attention"] == 1


def test_angles_for_the_longest_sequence_are_cut_to_the_one_there_is() -> None:
    """Neighbours are turned by a table of 16 places, as decoders do it that are written by hand; batch is a symbol."""
    draw = Draw(np.random.default_rng(3), opset=18)
    x = draw.input_of(draw.array((2, 5, 32)), names=["batch", "seq", 32])
    size = draw.node("Shape", x, start=1, end=2)
    first, axis = draw.constant(np.array([0], np.int64)), draw.constant(np.array([0], np.int64))
    angles = draw.rng.uniform(size=(16, 1, 4))
    tables = [draw.constant(table.astype(np.float32)) for table in (np.cos(angles), np.sin(angles))]
    c, s = (draw.node("Slice", table, first, size, axis) for table in tables)
    turned = [_turned_neighbours(draw, draw.node(name, x), c, s) for name in ("Relu", "Sigmoid", "Tanh", "Abs")]
    assert tcc.compile(draw.model(*turned), 2).model.operator_counts["RotaryEmbedding"] == 4


def _turned_neighbours(draw: Draw, x: Value, c: Value, s: Value) -> Value:
    pairs = draw.node("Reshape", x, draw.constant(np.array([0, 0, 4, 4, 2], np.int64)))
    a, b = (draw.node("Gather", pairs, draw.constant(np.array(i, np.int64)), axis=4) for i in (0, 1))
    real = draw.node("Sub", draw.node("Mul", a, c), draw.node("Mul", b, s))
    imaginary = draw.node("Add", draw.node("Mul", a, s), draw.node("Mul", b, c))
    last = draw.constant(np.array([-1], np.int64))
    both = draw.node("Concat", *(draw.node("Unsqueeze", part, last) for part in (real, imaginary)), axis=-1)
    return draw.node("Reshape", both, draw.constant(np.array([0, 0, 32], np.int64)))
