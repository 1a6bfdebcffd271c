"""Peak memory: lifetimes, reuse in place and views by hand, and the budget of the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of 8 MiB, nearly all of it weights."""
    b = Builder()
    wide = [b.constant(b.random.normal(size=(1024, 1024)) / 32) for _ in range(2)]
    y = b.op("MatMul", b.op("Relu", b.op("MatMul", b.input(8, 1024), wide[0])), wide[1])
    path = tmp_path_factory.mktemp("dense") / "dense.onnx"
    onnx.save(b.model(y, opset=20), path)
    return path


_HELD = """
import sys, onnxruntime
def held():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmRSS:"))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
before = held()
session = onnxruntime.InferenceSession(sys.argv[1], options)
print(held() - before)
"""


def held(path: Path) -> int:
    """Bytes by which a process grows when it loads a model."""
    return int(subprocess.run([sys.executable, "-c", _HELD, path], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read as Linux tells it")
def test_weights_take_the_memory_that_they_have_when_they_are_loaded(dense: Path, tmp_path: Path) -> None:
    stored, whole = tmp_path / "stored.onnx", 8 << 20
    tcc.compile(dense, passes="compress{techniques=stored-int8}", max_loss=0.1, output=stored, measure=False)
    assert stored.stat().st_size < 0.3 * whole
    model = frontends.load(stored)
    annotate(model)
    assert Memory().peak(model).weights >= whole
    assert held(stored) > 0.9 * held(dense)


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read as Linux tells it")
def test_the_budget_of_memory_is_kept_by_integers_that_kernels_read(dense: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    given: dict[str, Any] = {"calibration": "synthetic:8", "max_loss": 0.1, "measure": False, "target": "x86-64-vnni"}
    made = tcc.compile(dense, 3, output=output, max_memory="40%", **given)
    model = frontends.load(output)
    annotate(model)
    assert Memory().peak(model).total < 0.4 * Memory().peak(frontends.load(dense)).total
    assert held(output) < 0.55 * held(dense)
    assert not any(layer.get("at_load") for layer in made.report["layers"])


def test_a_budget_of_memory_that_integers_do_not_keep() -> None:
    calibration = DIGITS.replace(".onnx", "_calib.npz")
    with pytest.raises(TccError, match="bytes of memory") as caught:
        tcc.compile(DIGITS, 3, max_memory="10%", calibration=calibration, measure=False, target="x86-64-vnni")
    assert caught.value.exit_code is Exit.INFEASIBLE
    assert "the best point reached" in caught.value.diagnostics[0].notes[0]


@pytest.mark.parametrize(("operator", "held"), [("MatMul", False), ("Mul", True)])
def test_weights_of_integer_kernels_are_not_held_as_floats(operator: str, held: bool) -> None:  # noqa: FBT001 - a parameter
    def build(b: Builder, x: str) -> str:
        weight = b.op("DequantizeLinear", b.constant(b.random.integers(-9, 9, (100, 100)), "int8"), b.constant(0.1))
        return b.op("Exp", b.op(operator, b.op("Reshape", b.both(x), b.constant([10, 1, 100], "int64")), weight))

    def direct(b: Builder, x: str) -> str:
        weight = b.op("DequantizeLinear", b.constant(b.random.integers(-9, 9, (100, 100)), "int8"), b.constant(0.1))
        return b.op("Exp", b.op(operator, b.both(x), weight))

    model = loaded(build if held else direct)
    place = next(i for i, node in enumerate(model.graph) if node.op_type == operator)
    made = 100 if held else 1
    # Input, output, the dequantised input and the result; the weight is ten times as large.
    assert Memory().profile(model)[place] == (1 + made + 1 + made + (10 if held else 0)) * UNIT
