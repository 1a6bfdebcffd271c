"""Peak memory: lifetimes, reuse in place and views by hand, and the budget of the command line."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from onnx import TensorProto, helper

import tcc
from tcc import cli, frontends
from tcc.cost_models import cost_model
from tcc.cost_models.memory import Memory
from tcc.diagnostics import Exit, TccError
from tcc.ir.inference import annotate
from tests.quantized_models import Builder

DIGITS = "examples/digits/digits.onnx"


def read_twice(b: Builder, y: str) -> str:
    return b.op("Add", b.op("Neg", y), y)


UNIT = 4 * 1000
"""Bytes of the tensors below."""
CASES: list[tuple[str, Callable[[Builder, str], str], float]] = [
    # Input and output are the caller's; nothing else is alive.
    ("one", lambda b, x: b.op("Relu", x), 2),
    # The second operator writes over the first one's result, the output apart.
    ("chain", lambda b, x: b.op("Relu", b.op("Exp", b.op("Relu", x))), 3),
    ("view", lambda b, x: b.op("Relu", b.op("Reshape", b.op("Exp", x), b.constant([10, 100], "int64"))), 3),
    # No reuse: what a Transpose reads is alive while it writes.
    ("moved", lambda b, x: b.op("Relu", b.op("Transpose", b.op("Exp", x), perm=[1, 0])), 4),
    # The first branch waits for the second.
    ("branches", lambda b, x: b.op("Add", b.op("Exp", x), b.op("Neg", x)), 4),
    # What is read again is not written over.
    ("kept", lambda b, x: read_twice(b, b.op("Exp", x)), 4),
]


def loaded(build: Callable[[Builder, str], str]) -> tcc.Model:
    b = Builder()
    model = frontends.load(b.model(build(b, b.input(10, 100))))
    annotate(model)
    return model


@pytest.mark.parametrize(("name", "build", "units"), CASES, ids=[name for name, _, _ in CASES])
def test_the_peak_by_hand(name: str, build: Callable[[Builder, str], str], units: float) -> None:
    del name
    assert Memory().peak(loaded(build)).activations == units * UNIT


def test_weights_are_counted_once_and_the_busiest_node_is_named() -> None:
    peak = Memory().peak(loaded(lambda b, x: b.op("MatMul", b.op("Exp", x), b.constant(b.random.random((100, 50))))))
    assert peak.weights == 4 * 100 * 50
    assert peak.activations == UNIT + UNIT + 4 * 10 * 50
    assert peak.node == "n0"
    assert peak.total == peak.weights + peak.activations
    assert cost_model("memory") is Memory


def test_symbols_size_the_values() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 10])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "symbolic", [x], [y])
    model = frontends.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))
    assert Memory({"batch": 8}).peak(model).activations == 2 * 4 * 80
    assert Memory().peak(model).activations == 2 * 4 * 10


def test_what_a_body_reads_lives_until_its_owner_has_run() -> None:
    body = [
        helper.make_graph([helper.make_node("Identity", ["kept"], [name])], name, [],
                          [helper.make_tensor_value_info(name, TensorProto.FLOAT, [10, 100])])
        for name in ("then", "else")
    ]  # fmt: skip
    nodes = [
        helper.make_node("Exp", ["x"], ["kept"], "first"),
        helper.make_node("Transpose", ["x"], ["other"], "second", perm=[1, 0]),
        helper.make_node("Transpose", ["other"], ["z"], "third", perm=[1, 0]),
        helper.make_node("If", ["c"], ["y"], "owner", then_branch=body[0], else_branch=body[1]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [10, 100]) for name in "xyz"]
    flag = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    graph = helper.make_graph(nodes, "bodies", [ports[0], flag], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    # x, y, z, the captured value and, while the second and third nodes run, another.
    read = frontends.load(model)
    annotate(read)
    assert Memory().peak(read).activations == 5 * UNIT + 1


def test_the_budget_of_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([DIGITS, "-O2", "--dry-run", "--no-measure", "--max-memory", "100%"]) == 0
    assert cli.main([DIGITS, "-O2", "--dry-run", "--no-measure", "--max-memory", "100"]) == int(Exit.INFEASIBLE)
    assert "bytes of memory (predicted), the budget is 100" in capsys.readouterr().err
    with pytest.raises(TccError, match="no size"):
        tcc.compile(DIGITS, max_memory="much")
