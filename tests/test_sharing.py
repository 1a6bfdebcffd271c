"""Products that share a weight, and convolutions of the parts of a Split: joined where it pays, equal in every case."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc import frontends
from tcc.ir import importing
from tcc.ir.frozen import freeze
from tcc.ir.inference import annotate
from tcc.rewrites import siblings

SHAPES = {"MatMul": (2, 512), "Gemm": (2, 512), "Conv": (1, 8, 6, 6)}
FLOAT = TensorProto.FLOAT


def constant(name: str, *shape: int) -> onnx.TensorProto:
    rng = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)


def finish(nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, ...]], outputs: list[str], opset: int,
           *constants: onnx.TensorProto, rank: int) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        nodes, "sharing", [helper.make_tensor_value_info(n, FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, FLOAT, ["?"] * rank) for n in outputs], constants,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def shared(operator: str, opset: int, *, dependent: bool = False) -> onnx.ModelProto:
    """Two products with one weight; the second of another input, or of the first one's result."""
    shape = SHAPES[operator]
    w = constant("w", 8, 8, 1, 1) if operator == "Conv" else constant("w", 512, 512)
    b = [constant("b", w.dims[0])] if operator != "MatMul" else []
    operands = ["w", *(t.name for t in b)]
    nodes = [
        helper.make_node(operator, ["x", *operands], ["p"]),
        helper.make_node("Tanh", ["p"], ["s"]),
        helper.make_node(operator, ["s" if dependent else "y", *operands], ["q"]),
        helper.make_node("Sigmoid", ["q"], ["t"]),
    ]
    inputs = {"x": shape} if dependent else {"x": shape, "y": shape}
    return finish(nodes, inputs, ["s", "t"], opset, w, *b, rank=len(shape))


def parts(groups: int, opset: int, *, exchanged: bool = False, biased: bool = True) -> onnx.ModelProto:
    """A grouped convolution as exporters of old frameworks write it."""
    names = [f"x{i}" for i in range(groups)]
    constants = [constant(f"w{i}", 4, 3, 3, 3) for i in range(groups)]
    biases = [constant(f"b{i}", 4) for i in range(groups)] if biased else []
    sizes = np.full(groups, 3, np.int64)
    split = helper.make_node("Split", ["x"], names, axis=1, split=sizes.tolist())
    if opset >= 13:
        split = helper.make_node("Split", ["x", "sizes"], names, axis=1)
        constants.append(numpy_helper.from_array(sizes, "sizes"))
    order = list(range(groups))
    if exchanged:
        order[:2] = [1, 0]
    operands = [[f"w{i}", *([f"b{i}"] if biased else [])] for i in range(groups)]
    convolutions = [
        helper.make_node("Conv", [f"x{order[i]}", *operands[i]], [f"y{i}"], pads=[1] * 4) for i in range(groups)
    ]
    concat = helper.make_node("Concat", [f"y{i}" for i in range(groups)], ["y"], axis=1)
    nodes = [split, *convolutions, concat]
    return finish(nodes, {"x": (2, 3 * groups, 5, 5)}, ["y"], opset, *constants, *biases, rank=4)


def joined(proto: onnx.ModelProto) -> int:
    """How many places are offered in another form."""
    model = frontends.load(proto)
    imported = importing.import_graph(model.graph, annotate(model))
    count = siblings.join_siblings(imported, model.opset)
    freeze(imported.egraph)
    return count


@pytest.mark.parametrize("operator", sorted(SHAPES))
@pytest.mark.parametrize("opset", [11, 17])
def test_products_that_share_a_weight_stay_equal(operator: str, opset: int) -> None:
    proto = shared(operator, opset)
    assert joined(proto) == 1
    result = tcc.compile(proto, 2, "x86-64-vnni")
    (record,) = (record for record in result.records if record.name == "simplify")
    assert record.verification is not None
    assert record.verification.outcome in {"value", "unchanged"}


def test_a_large_weight_is_read_once() -> None:
    names = [f"x{i}" for i in range(6)]
    nodes = [helper.make_node("MatMul", [name, "w"], [f"y{name}"]) for name in names]
    proto = finish(
        nodes, dict.fromkeys(names, (2, 1024)), [f"y{n}" for n in names], 17, constant("w", 1024, 1024), rank=2
    )
    counts = tcc.PassManager(["simplify"], target="x86-64-vnni").run(proto).model.operator_counts
    assert counts == {"Concat": 1, "MatMul": 1, "Split": 1}


@pytest.mark.parametrize("operator", sorted(SHAPES))
def test_a_product_of_a_product_is_left_alone(operator: str) -> None:
    assert joined(shared(operator, 17, dependent=True)) == 0


@pytest.mark.parametrize("groups", [2, 8])
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("biased", [False, True])
def test_convolutions_of_parts_are_one_grouped_convolution(groups: int, opset: int, *, biased: bool) -> None:
    result = tcc.PassManager(["simplify"], target="x86-64-vnni").run(parts(groups, opset, biased=biased))
    (node,) = result.model.graph
    assert (node.op_type, node.attributes["group"].as_int()) == ("Conv", groups)


def test_exchanged_parts_are_left_alone() -> None:
    proto = parts(4, 17, exchanged=True)
    assert joined(proto) == 0
    assert tcc.compile(proto, 2, "x86-64-vnni").model.operator_counts["Conv"] == 4
