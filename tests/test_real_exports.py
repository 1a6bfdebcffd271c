"""What exporters write that is easily read wrongly: shapes computed in other types, loops that hand on."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.frontends import load
from tcc.ir import facts
from tcc.ir.inference import annotate
from tcc.ir.model import tensor_type


def shape_in(dtype: int) -> onnx.ModelProto:
    """A reshape whose target is put together in another type, as tf2onnx writes it: Shape, Cast, Concat, Cast."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Shape", ["x"], ["s"], "shape"),
        helper.make_node("Cast", ["s"], ["c"], "narrow", to=dtype),
        helper.make_node("Slice", ["c", "zero", "one"], ["n"], "slice"),
        helper.make_node("Concat", ["n", "ones"], ["m"], "concat", axis=0),
        helper.make_node("Cast", ["m"], ["w"], "widen", to=TensorProto.INT64),
        helper.make_node("Reshape", ["r", "w"], ["y"], "reshape"),
    ]
    ones = np.array([3, 1, 1], helper.tensor_dtype_to_np_dtype(dtype))
    arrays = {"zero": np.array([0], np.int64), "one": np.array([1], np.int64), "ones": ones}
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 1, 1])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("dtype", [TensorProto.INT32, TensorProto.INT64])
def test_a_shape_is_known_in_its_own_type_only(dtype: int) -> None:
    known = annotate(load(shape_in(dtype))).known
    assert ("m" in known) == (dtype == TensorProto.INT64)
    assert known["w"] == ("n", 3, 1, 1)


@pytest.mark.parametrize("dtype", [TensorProto.INT32, TensorProto.FLOAT])
def test_a_shape_computed_in_another_type_compiles(dtype: int) -> None:
    result = tcc.compile(shape_in(dtype), opt_level=2, target="jetson", measure=False)
    assert result.report["result"]["nodes"] <= 7


def test_a_type_that_the_specification_does_not_list_stays_unknown() -> None:
    assert facts.infer("Reshape", 15, "{}", "float32[4]|int32[1]", "|") == ()


@pytest.mark.parametrize("level", [1, 2])
def test_a_loop_that_hands_its_inputs_on_compiles(level: int) -> None:
    """As tf2onnx writes a while loop: what does not change is an output of the body under its input's own name."""
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "w"], ["s2"], "add"), helper.make_node("Identity", ["on"], ["on2"], "on")],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, [2]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]),
        ],
        [
            helper.make_tensor_value_info("on2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s2", TensorProto.FLOAT, [2]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "true", "x", "x"], ["y", "z"], "loop", body=body)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.array(3), "n"), numpy_helper.from_array(np.array(True), "true")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    result = tcc.compile(model, opt_level=level, target="jetson", measure=False)
    x = np.array([1, 2], np.float32)
    session = onnxruntime.InferenceSession(result.to_proto().SerializeToString())
    np.testing.assert_array_equal(session.run(["y"], {"x": x})[0], 4 * x)


@pytest.mark.parametrize("level", [1, 2])
def test_an_output_that_is_declared_wrongly_is_told_and_kept(level: int) -> None:
    """Runtimes let an output's declared rank pass that the graph does not give; what inference finds may contradict."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], "shape"),
        helper.make_node("Gather", ["s", "first"], ["n"], "size"),
        helper.make_node("Concat", ["n", "rest"], ["m"], "concat", axis=0),
        helper.make_node("Identity", ["m"], ["w"], "same"),
        helper.make_node("Reshape", ["x", "w"], ["y"], "reshape"),
    ]
    arrays = {"first": np.array([0]), "rest": np.array([-1, 2])}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "length"])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    result = tcc.compile(model, opt_level=level, target="jetson", measure=False)
    assert [d.message for d in result.diagnostics if d.code == "W0707"] == [
        "output 'y' is declared as [1, length] and is [2, 3, 2] when it is run: the declaration is kept as it is"
    ]
    assert [d.dim_value or d.dim_param for d in result.to_proto().graph.output[0].type.tensor_type.shape.dim] == [
        1, "length",
    ]  # fmt: skip
    x = np.arange(6, dtype=np.float32).reshape(1, 6)
    session = onnxruntime.InferenceSession(result.to_proto().SerializeToString())
    np.testing.assert_array_equal(session.run(["y"], {"x": x})[0], x.reshape(1, 3, 2))


def decided_by_a_size() -> onnx.ModelProto:
    """Two branches of which a size decides that is a number, in a shape of which another is none; one inside it too."""
    inner = [
        helper.make_graph([helper.make_node(operator, ["t"], [f"{key}_in"], f"{key}_inner")], key, [],
                          [helper.make_tensor_value_info(f"{key}_in", TensorProto.FLOAT, None)])
        for key, operator in (("then_branch", "Neg"), ("else_branch", "Abs"))
    ]  # fmt: skip
    taken = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["t"], "relu"),
            helper.make_node("If", ["never"], ["taken"], "inner", then_branch=inner[0], else_branch=inner[1]),
        ],
        "taken", [], [helper.make_tensor_value_info("taken", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(False), "never")],
    )  # fmt: skip
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["left"], "left")], "other", [],
                              [helper.make_tensor_value_info("left", TensorProto.FLOAT, None)])  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["x"], ["s"], "shape"),
            helper.make_node("Gather", ["s", "at"], ["one"], "size"),
            helper.make_node("Squeeze", ["one", "zero"], ["scalar"], "scalar"),
            helper.make_node("Cast", ["scalar"], ["decided"], "flag", to=TensorProto.BOOL),
            helper.make_node("If", ["decided"], ["y"], "outer", then_branch=taken, else_branch=other),
        ],
        "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, "batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, "batch", 4])],
        [numpy_helper.from_array(np.array([-3]), "at"), numpy_helper.from_array(np.array([0]), "zero")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)


@pytest.mark.parametrize("level", [1, 2])
def test_branches_that_a_size_decides_are_taken(level: int) -> None:
    result = tcc.compile(decided_by_a_size(), opt_level=level, target="jetson", measure=False)
    assert "If" not in result.model.operator_counts
    assert result.report["result"]["nodes"] <= 2
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(result.to_proto().SerializeToString())
    np.testing.assert_array_equal(session.run(["y"], {"x": x})[0], np.maximum(x, 0))


def test_branches_inside_a_body_are_taken() -> None:
    proto = decided_by_a_size()
    proto.graph.input.append(helper.make_tensor_value_info("chosen", TensorProto.BOOL, []))
    proto.graph.node[-1].input[0] = "chosen"
    result = tcc.compile(proto, opt_level=1, target="jetson", measure=False)
    outer = next(node for node in result.model.graph if node.op_type == "If")
    assert [node.op_type for node in outer.attributes["then_branch"].as_graph()] == ["Relu", "Abs"]


def test_a_shape_of_known_length_tells_a_rank() -> None:
    """As paddle2onnx flattens images of any size: two of their sizes, and the rest."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", strides=[2, 2]),
        helper.make_node("Shape", ["c"], ["s"], "shape"),
        helper.make_node("Slice", ["s", "zero", "two"], ["kept"], "slice"),
        helper.make_node("Concat", ["kept", "rest"], ["target"], "concat", axis=0),
        helper.make_node("Reshape", ["c", "target"], ["flat"], "flatten"),
        helper.make_node("Transpose", ["flat"], ["t"], "transpose", perm=[0, 2, 1]),
        helper.make_node("Softmax", ["t"], ["y"], "softmax", axis=2),
    ]
    arrays = {
        "w": np.ones((4, 3, 2, 2), np.float32), "zero": np.array([0]), "two": np.array([2]), "rest": np.array([-1]),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "v"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "hv", 4])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    model = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8))
    annotate(model)
    kinds = {v.name: tensor_type(v) for node in model.graph for v in node.outputs}
    assert [kind.rank for name in ("flat", "t") if (kind := kinds[name]) is not None] == [3, 3]
