"""Weights inside of branches lie in the file in fewer bits as well."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.frontends import load
from tcc.ir.execution import Runner
from tcc.passes._hoisting import hoisted

WIDTH = 96


def branches(*, constants: bool = False) -> onnx.ModelProto:
    """Two branches with a product each, its weight an initialiser or a Constant node of the branch."""
    drawn = np.random.default_rng(0)
    bodies = {}
    for branch in ("then", "else"):
        weight = numpy_helper.from_array(drawn.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 8, f"{branch}_w")
        nodes = [helper.make_node("MatMul", ["x", f"{branch}_w"], [f"{branch}_y"], f"{branch}_product")]
        if constants:
            nodes.insert(0, helper.make_node("Constant", [], [f"{branch}_w"], value=weight))
        held = [] if constants else [weight]
        made = [helper.make_tensor_value_info(f"{branch}_y", TensorProto.FLOAT, None)]
        bodies[f"{branch}_branch"] = helper.make_graph(nodes, branch, [], made, held)
    graph = helper.make_graph(
        [helper.make_node("If", ["is"], ["y"], "choice", **bodies)], "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, WIDTH]),
         helper.make_tensor_value_info("is", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, WIDTH])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("constants", [False, True])
def test_both_branches_shrink_and_give_what_they_gave(constants: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    model, drawn = branches(constants=constants), np.random.default_rng(1)
    feeds = [{"x": drawn.normal(size=(4, WIDTH)).astype(np.float32), "is": np.array(i % 2 == 0)} for i in range(24)]
    result = tcc.compile(
        model, passes="simplify,compress", target="x86-64-vnni", calibration=feeds, max_loss=0.01, measure=False
    )
    made = result.model.to_proto()
    assert made.ByteSize() < 0.35 * model.ByteSize()
    assert any(site.startswith("stored-int8") for r in result.records for site in r.facts.get("sites", ()))
    for feed in feeds[:2]:
        before, after = (Runner(proto).run(feed)[0] for proto in (model, made))
        assert 0 < np.linalg.norm(after - before) < 0.02 * np.linalg.norm(before)


def test_a_model_without_weights_in_bodies_is_left_as_it_is() -> None:
    model = load(branches())
    assert hoisted(model, WIDTH * WIDTH + 1) is model
    assert not model.graph.initializers
    found = hoisted(model, WIDTH)
    assert sorted(v.size for v in (v.const_value for v in found.graph.initializers.values()) if v) == [WIDTH**2] * 2
    assert not model.graph.initializers
