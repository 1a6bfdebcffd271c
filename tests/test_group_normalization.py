"""Group normalisations as exporters write them become one operator where the target has a kernel of its own for it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tcc import frontends
from tcc.ir.execution import Runner
from tcc.passes.base import Context
from tcc.passes.pipeline import parse
from tcc.targets import parse_target

GROUPS, SHAPE = 4, (2, 8, 6, 5)
SYMBOLIC = ("batch", 8, "height", "width")


def model(shape: tuple[int | str, ...], *, written_out: bool) -> onnx.ModelProto:
    """A convolution, its group normalisation and a Relu, as PyTorch's exporters write them."""
    rng = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {
        "weight": rng.normal(size=(8, 8, 1, 1)).astype(np.float32),
        "ones": np.ones(GROUPS, np.float32), "zeros": np.zeros(GROUPS, np.float32),
        "gain": rng.normal(size=(8, 1, 1)).astype(np.float32), "shift": rng.normal(size=(8, 1, 1)).astype(np.float32),
        "grouped": np.array([0, GROUPS, -1], np.int64), "axes": np.array([2], np.int64),
        "epsilon": np.array(1e-5, np.float32),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "weight"], ["conv"]),
        node("Reshape", ["conv", "grouped"], ["parts"]),
        node("Shape", ["conv"], ["shape"]),
    ]
    if written_out:
        nodes += [
            node("ReduceMean", ["parts"], ["mean"], axes=[2]),
            node("Sub", ["parts", "mean"], ["deviation"]),
            node("Mul", ["deviation", "deviation"], ["square"]),
            node("ReduceMean", ["square"], ["variance"], axes=[2]),
            node("Add", ["variance", "epsilon"], ["sum"]),
            node("Sqrt", ["sum"], ["root"]),
            node("Div", ["deviation", "root"], ["normal"]),
        ]
    else:
        nodes += [node("InstanceNormalization", ["parts", "ones", "zeros"], ["normal"], epsilon=1e-5)]
    nodes += [
        node("Reshape", ["normal", "shape"], ["back"]),
        node("Mul", ["back", "gain"], ["scaled"]),
        node("Add", ["scaled", "shift"], ["shifted"]),
        node("Relu", ["shifted"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "group_norm", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def simplified(proto: onnx.ModelProto, target: str) -> onnx.ModelProto:
    """The model after the simplifying pass for a target."""
    found, context = frontends.load(proto), Context(parse_target(target))
    for step in parse("canonicalize,simplify"):
        found = step.run(found, context).model
    return found.to_proto()


@pytest.mark.parametrize("shape", [SHAPE, SYMBOLIC], ids=["static", "symbolic"])
@pytest.mark.parametrize("written_out", [False, True], ids=["instances", "means"])
def test_a_target_with_a_kernel_gets_the_operator(shape: tuple[int | str, ...], *, written_out: bool) -> None:
    before = model(shape, written_out=written_out)
    after = simplified(before, "h100")
    operators = Counter(node.op_type for node in after.graph.node)
    assert operators == {"Conv": 1, "GroupNormalization": 1, "Relu": 1}
    feeds = {"x": np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)}
    expected, found = Runner(before).run(feeds)[0], Runner(after).run(feeds)[0]
    assert np.abs(expected - found).max() <= 1e-5 * np.abs(expected).max()


def test_without_a_kernel_it_stays_as_it_is_written() -> None:
    after = simplified(model(SHAPE, written_out=False), "x86-64-vnni")
    operators = Counter(node.op_type for node in after.graph.node)
    assert operators["InstanceNormalization"] == 1
    assert "GroupNormalization" not in operators
