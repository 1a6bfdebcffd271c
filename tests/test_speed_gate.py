"""The gate of speed: what is slower than its input or its exact form is not shipped, and the result says why."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tcc
from tcc import backends
from tcc.backends import PairedLatency
from tcc.compiler import measuring, sequential, speed, timing
from tcc.compiler.records import Records
from tcc.compiler.sequential import Estimate
from tcc.compiler.speed import SpeedGate, Written
from tcc.compiler.timing import Timing
from tcc.passes.manager import Snapshot
from tcc.targets.native import processors


@dataclass
class Machine:
    """Stands for the machine: true ratios, by name of the form, and the noise of each sample."""

    ratios: dict[str, float]
    noise: float = 0.02
    asked: list[tuple[str, int]] = field(default_factory=list)

    def ratio(self, before: Any, _after: Any, boundary: float, threads: int) -> Estimate:
        self.asked.append((before[0].parent.name, threads))
        random = np.random.default_rng(len(self.asked))
        true = self.ratios[before[0].parent.name]
        return sequential.settle(lambda _: true * float(np.exp(random.normal(0, self.noise))), boundary)


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
        "target": tcc.parse_target("native,threads=2"), "written": Written(snapshot(""), folder), "feeds": [{}],
        "unmeasured": "", "refuses": True,
    }  # fmt: skip
    return SpeedGate(**settings | changes)


def refusal(of: SpeedGate, made: Snapshot, exact: Snapshot | None = None) -> str:
    return of.refusal(made, exact, lambda s: {"": 1.0, "faster": 0.9, "same": 1.01, "slower": 1.1}[s.label])


def test_only_what_is_clearly_slower_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, true in (("half", 0.5), ("same", 1.0), ("little", 1.02), ("slower", 1.06), ("twice", 2.0)):
        machine = Machine({"form0": true})
        monkeypatch.setattr(Timing, "ratio", machine.ratio)
        (tmp_path / name).mkdir()
        said = refusal(gate(tmp_path / name), snapshot("simplify"))
        assert bool(said) == (true > 1.05), name
        assert machine.asked[0] == ("form0", 1)


def test_a_lossy_form_is_held_against_its_exact_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine({"form0": 0.5, "form2": 1.5})
    monkeypatch.setattr(Timing, "ratio", machine.ratio)
    reason = refusal(gate(tmp_path), snapshot("compress"), snapshot("simplify"))
    assert reason.startswith("measured against the exact form it is slower")
    assert [name for name, _ in machine.asked] == ["form0", "form2"], "half of the time on one thread is enough on two"
    machine.ratios["form0"] = 0.9
    machine.asked.clear()
    (tmp_path / "again").mkdir()
    assert refusal(gate(tmp_path / "again"), snapshot("compress"), snapshot("simplify"))
    assert [name for name, _ in machine.asked] == ["form0"] * min(2, processors()) + ["form2"]


def test_where_nothing_is_measured_the_prediction_decides(tmp_path: Path) -> None:
    predicting = gate(tmp_path, unmeasured="this machine is another one")
    assert refusal(predicting, snapshot("faster")) == ""
    assert refusal(predicting, snapshot("same")) == ""
    assert refusal(predicting, snapshot("slower")) == "it is predicted to take 1.1e+06 µs, the input 1e+06 µs"
    assert refusal(gate(tmp_path, unmeasured="x", refuses=False), snapshot("slower")) == ""


def test_an_answer_is_given_once(tmp_path: Path) -> None:
    """The machine may be twice as slow the next time: what was decided about the same files stays decided."""
    forms = Written(snapshot(""), tmp_path)
    records = Records(tmp_path / "decisions.sqlite")
    feeds = [{"x": np.zeros((8, 64), np.float32)}]
    first, second = forms.files(forms.original), forms.files(Snapshot.of(tcc.compile(product(96), 0).model, "wide"))
    feeds_of_second = [{"x": np.zeros((8, 96), np.float32)}]
    before = Timing(feeds, records).ratio(first, first, 1.03, 1)
    assert Timing(feeds, Records(tmp_path / "decisions.sqlite")).ratio(first, first, 1.03, 1) == before
    assert Timing(feeds, Records(tmp_path / "others.sqlite")).ratio(first, first, 1.03, 1) != before
    assert Timing(feeds_of_second, records).seconds(second, 1.0, 1).high < 1.0
    kept = Records(tmp_path / "decisions.sqlite")
    assert kept.kept("a", lambda: {"value": 1}) == kept.kept("a", lambda: {"value": 2}) == {"value": 1}
    (tmp_path / "torn.sqlite").write_bytes(b"no database")
    assert Records(tmp_path / "torn.sqlite").kept("a", lambda: {"value": 3}) == {"value": 3}


def test_decisions_do_not_hang_on_the_noise() -> None:
    """Out of 200 runs, at true ratios away from the margin, all decide the same; at it, few refuse."""
    boundary = 1 + speed.MARGIN
    for true, noise, low, high in ((1.0, 0.03, 0, 0), (0.9, 0.1, 0, 0), (1.1, 0.03, 200, 200), (1.03, 0.03, 0, 20)):
        random = np.random.default_rng(3)
        found = [
            sequential.settle(lambda _: true * float(np.exp(random.normal(0, noise))), boundary)  # noqa: B023 - called at once
            for _ in range(200)
        ]  # fmt: skip
        assert low <= sum(estimate.low > boundary for estimate in found) <= high, (true, noise)
        assert max(estimate.samples for estimate in found) <= sequential.MOST


@pytest.mark.parametrize(("degrees", "expected"), [(2, 9.925), (3, 5.841), (4, 4.604), (9, 3.250), (19, 2.861)])
def test_students_quantiles(degrees: int, expected: float) -> None:
    assert sequential.student(0.995, degrees) == pytest.approx(expected, rel=0.04)


def test_slower_results_fall_back_and_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(defaultdict(lambda: 2.0))
    monkeypatch.setattr(Timing, "ratio", machine.ratio)
    slow = PairedLatency(1e-3, 2e-3, 2.0, 1.98, 2.02, 0.02, 100)
    monkeypatch.setattr(measuring, "measure", lambda *_words: slow)
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


def test_what_all_samples_share_widens_an_answer() -> None:
    """A run of a few microseconds is not told from one that is a tenth slower: the next process may say otherwise."""
    found = sequential.estimate([0.91, 0.90, 0.92, 0.91, 0.91])
    wide = sequential.widened(found, 0.075)
    assert found.high < 0.98 < wide.high
    assert wide.value == found.value
    assert wide.low < found.low


def test_a_smaller_form_need_not_be_faster_only_not_slower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, true in (("faster", 0.8), ("same", 1.0), ("slower", 1.1)):
        monkeypatch.setattr(Timing, "ratio", Machine({"form0": true}).ratio)
        (tmp_path / name).mkdir()
        other, one = snapshot("compress"), snapshot("stored")
        assert gate(tmp_path / name).is_as_fast(one, other) == (true <= 1.0), name


@pytest.mark.parametrize(("long", "loads"), [(0.0, 1), (math.inf, sequential.FEWEST)])
def test_only_models_that_run_for_long_are_loaded_once(
    long: float, loads: int, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = type(backends.backend("onnxruntime"))
    seen: list[Path] = []
    load = chosen.load

    def counted(self: backends.Backend, path: Path, **more: Any) -> backends.Loaded:
        seen.append(path)
        return load(self, path, **more)

    monkeypatch.setattr(chosen, "load", counted)
    monkeypatch.setattr(timing, "_LONG", long)
    monkeypatch.setattr(sequential, "MOST", sequential.FEWEST)
    monkeypatch.setattr("tcc.compiler.records.Records.kept", lambda _self, _key, make: make())
    file, feed = digits / "digits.onnx", {"image": np.zeros((1, 1, 8, 8), np.float32)}
    Timing([feed]).ratio([file], [file], 1.0, 1)
    assert len(seen) == 2 * loads
