"""Where speed is predicted, not measured, an exact form that is predicted slower keeps nothing else from shipping."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc import frontends, report
from tcc.ir.inference import annotate
from tcc.targets import parse_target


def _siblings() -> onnx.ModelProto:
    """Three activated convolutions of one value: joined they save launches, but a Split keeps activations apart."""
    random = np.random.default_rng(0)
    nodes, weights, outputs = [], [], []
    for i, channels in enumerate((64, 96, 16)):
        for name, shape in ((f"w{i}", (channels, 192, 1, 1)), (f"v{i}", (32, channels, 3, 3))):
            weights.append(numpy_helper.from_array((random.standard_normal(shape) / 14).astype(np.float32), name))
        nodes.append(helper.make_node("Conv", ["x", f"w{i}"], [f"c{i}"]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        nodes.append(helper.make_node("Conv", [f"r{i}", f"v{i}"], [f"y{i}"]))
        outputs.append(helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, [1, 32, 26, 26]))
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 192, 28, 28])]
    graph = helper.make_graph(nodes, "siblings", given, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_slower_simplified_form_is_left_and_compression_goes_on() -> None:
    result = tcc.compile(_siblings(), 3, target="jetson")
    told = [d.message for d in result.diagnostics if d.code == "N0702"]
    assert any("the simplified form is left" in message for message in told)
    figures, predicted = result.report["result"], result.report["predicted"]
    assert figures["operators"]["Conv"] == 6
    assert figures["bytes"] < 0.6 * result.report["input"]["bytes"]
    assert predicted["seconds_after"] < predicted["seconds_before"]


def test_a_faster_simplified_form_is_kept() -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["s"]), helper.make_node("Neg", ["s"], ["n"])]
    nodes += [helper.make_node("Neg", ["n"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, 512]) for name in "xy"]
    graph = helper.make_graph(nodes, "twice", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = tcc.compile(model, 2, target="jetson")
    assert not any("is left" in d.message for d in result.diagnostics)
    assert result.report["result"]["operators"] == {"Softmax": 1}


@pytest.mark.parametrize(("centred", "reciprocal"), [(True, False), (False, False), (False, True)])
def test_tensorrt_needs_no_scale_for_a_norm(*, centred: bool, reciprocal: bool) -> None:
    """A scale that is folded into the product behind does not take the norm's kernel apart."""
    costs = [_norm_seconds(centred=centred, reciprocal=reciprocal, scaled=scaled) for scaled in (True, False)]
    assert costs[1] <= costs[0]


def _norm_seconds(*, centred: bool, reciprocal: bool, scaled: bool) -> float:
    x = "d" if centred else "x"
    nodes = [helper.make_node("ReduceMean", ["x"], ["mean"], axes=[-1]), helper.make_node("Sub", ["x", "mean"], ["d"])]
    nodes = nodes if centred else []
    nodes += [
        helper.make_node("Pow", [x, "two"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["variance"], axes=[-1]),
        helper.make_node("Add", ["variance", "epsilon"], ["shifted"]),
        helper.make_node("Sqrt", ["shifted"], ["deviation"]),
    ]
    if reciprocal:
        nodes += [helper.make_node("Reciprocal", ["deviation"], ["r"]), helper.make_node("Mul", [x, "r"], ["n"])]
    else:
        nodes += [helper.make_node("Div", [x, "deviation"], ["n"])]
    nodes += [helper.make_node("Mul", ["n", "scale"], ["s"])] if scaled else []
    nodes += [helper.make_node("Add", ["s", "bias"], ["b"])] if scaled and centred else []
    last = nodes[-1].output[0]
    nodes += [helper.make_node("MatMul", [last, "w"], ["y"])]
    numbers = {"two": [2.0], "epsilon": [1e-5], "scale": np.ones(128), "bias": np.ones(128), "w": np.ones((128, 128))}
    weights = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in numbers.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64, 128]) for name in "xy"]
    graph = helper.make_graph(nodes, "norm", ends[:1], ends[1:], weights)
    model = frontends.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    annotate(model)
    return report.predicted_seconds(model, parse_target("jetson"), {})
