"""The gate of speed: what is slower than its input or its exact form is not shipped, and the result says why."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import tcc
from tcc.backends import PairedLatency
from tcc.compiler import measuring, speed
from tcc.compiler.speed import SpeedGate
from tcc.passes.manager import Snapshot

if TYPE_CHECKING:
    import pytest


def latency(ratio: float, noise: float = 0.02) -> PairedLatency:
    return PairedLatency(1e-3, ratio * 1e-3, ratio, ratio * 0.99, ratio * 1.01, noise, 100)


@dataclass
class Machine:
    """Stands for the machine: measurements as they are scripted, in turns."""

    ratios: list[float]
    asked: list[tuple[Path, float]] = field(default_factory=list)

    def measure(self, before: Path, *_rest: Any, seconds: float) -> PairedLatency:
        self.asked.append((before, seconds))
        return latency(self.ratios[min(len(self.asked), len(self.ratios)) - 1])


def snapshot(label: str) -> Snapshot:
    return Snapshot.of(tcc.compile(product(), 0).model, label)


def product(width: int = 64) -> onnx.ModelProto:
    weight = np.random.default_rng(0).standard_normal((width, width)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "product",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [8, width])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [8, width])],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def gate(folder: Path, **changes: Any) -> SpeedGate:
    settings: dict[str, Any] = {
        "target": tcc.parse_target("native"), "original": snapshot(""), "folder": folder, "feeds": [{}],
        "unmeasured": "", "predicted": lambda _: 1.0, "exact": lambda _: None, "refuses": True,
    }  # fmt: skip
    return SpeedGate(**settings | changes)


def test_only_what_is_slower_each_time_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ratios, runs, refused in (
        ([1.5, 1.5, 1.5], 3, True), ([1.5, 1.5, 1.0], 3, False), ([1.01], 1, False), ([0.5], 1, False),
    ):  # fmt: skip
        machine = Machine(ratios)
        monkeypatch.setattr(measuring, "measure", machine.measure)
        found = gate(tmp_path / str(ratios))
        found.folder.mkdir()
        assert bool(found(snapshot("simplify"), [tmp_path / "made.onnx"])) == refused
        assert [seconds for _, seconds in machine.asked] == [1, 2, 4][:runs]


def test_a_lossy_form_is_held_against_its_exact_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine([0.5, 1.5])
    monkeypatch.setattr(measuring, "measure", machine.measure)
    exact = snapshot("simplify")
    reason = gate(tmp_path, exact=lambda _: exact)(snapshot("compress"), [tmp_path / "made.onnx"])
    assert reason.startswith("measured against the exact form it is slower")
    assert len(machine.asked) == 1 + speed.RUNS


def test_where_nothing_is_measured_the_prediction_decides(tmp_path: Path) -> None:
    times = {"": 1.0, "faster": 0.9, "same": 1.01, "slower": 1.1}
    predicting = gate(tmp_path, unmeasured="this machine is another one", predicted=lambda s: times[s.label])
    assert predicting(snapshot("faster"), []) == ""
    assert predicting(snapshot("same"), []) == ""
    assert predicting(snapshot("slower"), []) == "it is predicted to take 1.1e+06 µs, the input 1e+06 µs"
    assert predicting.latency == "this machine is another one"
    assert (
        gate(tmp_path, unmeasured="x", predicted=lambda s: times[s.label], refuses=False)(snapshot("slower"), []) == ""
    )


def test_slower_results_fall_back_and_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine([2.0])
    monkeypatch.setattr(measuring, "measure", machine.measure)
    model = product()
    model.graph.node.append(helper.make_node("Identity", ["y"], ["z"], "copy"))
    model.graph.output[0].name = "z"
    result = tcc.compile(model, 2, output=tmp_path / "out.onnx", measure=True)
    refused = [d.message for d in result.diagnostics if "is not shipped" in d.message]
    assert refused
    assert all(m.startswith("no-speedup: the model after ") and "against the input it is slower" in m for m in refused)
    assert result.report["shipped"] == "the canonical copy of the input"
    named = tcc.compile(model, passes="simplify", output=tmp_path / "named.onnx", measure=True)
    assert named.report["shipped"] == "the model after simplify"
    assert [d.code for d in named.diagnostics if d.code == "W0705"] == ["W0705"]


def test_sizes_that_only_folding_tells_are_those_of_the_input_too() -> None:
    """An unpriced input would seem faster than the form whose sizes are known."""
    value, node = onnx.TensorProto, helper.make_node
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Cast", ["sizes"], ["real"], to=value.FLOAT),
        node("Mul", ["real", "parts"], ["scaled"]),
        node("Floor", ["scaled"], ["whole"]),
        node("Cast", ["whole"], ["wanted"], to=value.INT64),
        node("Reshape", ["x", "wanted"], ["rows"]),
        node("Erf", ["rows"], ["e"]),
        node("Sin", ["e"], ["s"]),
        node("ReduceSum", ["s"], ["y"], keepdims=0),
    ]
    parts = numpy_helper.from_array(np.array([1, 0.5, 2], np.float32), "parts")
    ports = (
        helper.make_tensor_value_info("x", value.FLOAT, [8, 64, 512]),
        helper.make_tensor_value_info("y", value.FLOAT, []),
    )
    graph = helper.make_graph(nodes, "computed", [ports[0]], [ports[1]], [parts])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = tcc.compile(model, 2, target="jetson")
    assert result.model.operator_counts == {"Reshape": 1, "Erf": 1, "Sin": 1, "ReduceSum": 1}
    assert result.report["predicted"]["seconds_before"] > result.report["predicted"]["seconds_after"]
