"""The search over programs: budgets, the front, what is chosen, and going on after a stop."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tcc
from tcc import cli
from tcc.compiler import budgets, levels, search
from tcc.compiler.accuracy import LossOf, held_out
from tcc.compiler.budgets import Budgets, Cost, Limit
from tcc.diagnostics import Exit, TccError
from tcc.ir.loss import Loss
from tcc.ir.model import Model
from tcc.passes.base import Context, PassResult
from tcc.passes.compress import Compress
from tcc.passes.manager import Instrument, Record, Snapshot

TARGET = "x86-64-vnni"


@pytest.fixture(autouse=True)
def unpruned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of these tests are about one branch, and pruning takes long."""
    if not request.node.name.startswith("test_pruned"):
        monkeypatch.setattr(levels, "PRUNED", ())


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("1000", Limit(1000.0)), ("2MiB", Limit(2.0**21)), ("1.5 kB", Limit(1500.0)),
        ("50%", Limit(0.5, relative=True)), ("0.5x", Limit(0.5, relative=True)),
    ],
)  # fmt: skip
def test_sizes(text: str, limit: Limit) -> None:
    assert budgets.size(text) == limit


@pytest.mark.parametrize(("text", "value"), [("5ms", 0.005), ("300us", 3e-4), ("0.25", 0.25)])
def test_latencies(text: str, value: float) -> None:
    assert budgets.latency(text).of(99.0) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "0", "-1", "12 apples", "5ms", "nan", "1e400"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(TccError, match="is no size"):
        budgets.size(text)


def test_measured_seconds_decide_over_predicted_ones() -> None:
    limits = Budgets(0.01, seconds=Limit(0.5, relative=True))
    original = Cost(0.0, 100.0, 1.0, measured=2.0)
    assert not list(limits.exceeded(Cost(0.0, 100.0, 0.9, measured=0.9), original))
    (said,) = limits.exceeded(Cost(0.0, 100.0, 0.4, measured=1.1), original)
    assert "measured" in said
    (said,) = limits.exceeded(Cost(0.0, 1.0, 0.1, slower="ratio 1.2"), original)
    assert "no-speedup" in said
    assert list(limits.exceeded(Cost(float("nan"), 1.0, 0.1), original)), "an unknown loss keeps no budget"


def evaluation(digits: Path) -> str:
    return str(digits / "digits_test.npz")


def test_a_searched_level_lists_its_points(digits: Path) -> None:
    made = tcc.compile(
        digits / "digits.onnx", "z", TARGET, calibration=digits / "digits_calib.npz", evaluation=evaluation(digits)
    )
    points = made.report["search"]
    assert points[0]["pipeline"] == ""
    assert points[0]["loss"] == 0
    assert any(p["front"] for p in points)
    chosen = min((p for p in points if not p["exceeds"]), key=lambda p: p["bytes"])
    assert chosen["bytes"] < points[0]["bytes"]
    assert made.report["accuracy"]["metric"] == "top1 drop"
    assert made.report["accuracy"]["samples"] == 360
    assert made.report["accuracy"]["loss"] == chosen["loss"] <= 0.01


def test_a_budget_that_cannot_be_kept(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.onnx"
    words = [str(digits / "digits.onnx"), "-Oz", f"--target={TARGET}", "-o", str(output), "--max-size=1kB"]
    assert cli.main(words) == Exit.INFEASIBLE
    said = capsys.readouterr().err
    assert "E0501" in said
    assert "1,000" in said
    assert "the best point reached: compress" in said
    assert "loss 0, " in said.partition("reached: ")[2], "with what it costs"
    assert not list(tmp_path.iterdir())


def test_a_budget_that_is_kept_and_one_of_an_exact_level(digits: Path) -> None:
    size = (digits / "digits.onnx").stat().st_size
    small = tcc.compile(digits / "digits.onnx", "z", TARGET, max_size="80%")
    assert small.report["result"].get("bytes") <= 0.8 * size
    with pytest.raises(TccError) as caught:
        tcc.compile(digits / "digits.onnx", 2, TARGET, max_size="80%")
    assert caught.value.exit_code == Exit.INFEASIBLE


@pytest.mark.parametrize("changed", [{"max_size": "no"}, {"max_latency": "5 apples"}, {"objective": "fun"}])
def test_budgets_that_are_none(digits: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(TccError) as caught:
        tcc.compile(digits / "digits.onnx", 3, TARGET, **changed)
    assert caught.value.exit_code == Exit.USAGE


class Killed(BaseException):
    """What no handler of the compiler catches."""


class Kill(Instrument):
    """Stops the process's work after a pass."""

    def after(self, record: Record, model: Model) -> None:
        del model
        if record.name == "compress":
            raise Killed


def test_a_stopped_compilation_goes_on_and_ends_with_the_same_bytes(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(name: str, **options: Any) -> bytes:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        output = folder / "out.onnx"
        tcc.compile(
            digits / "digits.onnx", "z", TARGET, calibration=digits / "digits_calib.npz", output=output, **options
        )
        assert [file.name for file in folder.iterdir()] == ["out.onnx"], "nothing else is left"
        return output.read_bytes()

    expected = compiled("whole")
    with pytest.raises(Killed):
        compiled("stopped", instruments=[Kill()])
    assert [f.name for f in (tmp_path / "stopped").iterdir()] == [".out.onnx.stages"]
    runs = itertools.count()
    once = Compress.run
    monkeypatch.setattr(Compress, "run", lambda *words: (next(runs), once(*words))[1])
    assert compiled("stopped") == expected
    assert next(runs) == 0, "the pass that had ended did not run again"
    assert compiled("again") == expected
    assert next(runs) > 1


def test_a_torn_stage_is_no_result(digits: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    data = digits / "digits_calib.npz"
    with pytest.raises(Killed):
        tcc.compile(digits / "digits.onnx", "z", TARGET, instruments=[Kill()], calibration=data, output=output)
    (record,) = (tmp_path / ".out.onnx.stages").rglob("record.json")
    assert json.loads(record.read_text()).get("pass") == "compress"
    record.write_text('{"changed": tr')
    tcc.compile(digits / "digits.onnx", "z", TARGET, calibration=data, output=output)
    assert output.stat().st_size > 0


def test_the_loss_is_the_drop_of_the_users_metric(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def mine(outputs, labels):\n    return -abs(outputs[0]).sum(-1)\n")
    with np.load(evaluation(digits)) as loaded:
        arrays = {"image": loaded["image"][:64]}
    made = tcc.compile(
        digits / "digits.onnx", "z", TARGET, evaluation=arrays, metric=f"{tmp_path / 'mine.py'}:mine", max_loss=1.0
    )
    assert made.report["accuracy"]["metric"].endswith("mine drop")
    with pytest.raises(TccError, match="no labels"):
        tcc.compile(digits / "digits.onnx", "z", TARGET, evaluation=arrays)


def test_pruned_shapes_are_tried_until_they_lose_too_much(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "PRUNED", ("prune{macs=0.9},simplify", "prune{macs=0.01},simplify"))
    made = tcc.compile(
        digits / "digits.onnx",
        3,
        TARGET,
        calibration=digits / "digits_calib.npz",
        evaluation=evaluation(digits),
        jobs=1,
    )
    said = [d["message"] for d in made.report["diagnostics"] if d["code"] == "N0703"]
    (stopped,) = [message for message in said if "macs=0.01" in message]
    assert "alone loses" in stopped
    shapes = [p["pipeline"].partition(",")[0] for p in made.report["search"]]
    assert "prune{macs=0.01}" not in shapes
    assert "prune{macs=0.9}" in shapes or any("macs=0.9" in message for message in said)


def test_a_budget_of_bytes_is_met_by_the_program_inside(digits: Path) -> None:
    free = tcc.compile(digits / "digits.onnx", 3, TARGET, calibration=digits / "digits_calib.npz", jobs=1)
    limit = int(free.report["result"]["bytes"] * 1.02)
    with_size = tcc.compile(
        digits / "digits.onnx", 3, TARGET, calibration=digits / "digits_calib.npz", max_size=limit, jobs=1
    )
    assert with_size.report["result"]["bytes"] <= limit
    aimed = tcc.compile(
        digits / "digits.onnx", 3, TARGET, calibration=digits / "digits_calib.npz", objective="size", jobs=1
    )
    pipelines = [p["pipeline"] for p in aimed.report["search"]]
    assert "compress{objective=size}" in pipelines
    assert aimed.report["result"]["bytes"] <= free.report["result"]["bytes"]


def test_pruned_shapes_want_a_judge_besides_the_data_they_are_fitted_to(digits: Path) -> None:
    made = tcc.compile(digits / "digits.onnx", 3, TARGET, calibration=digits / "digits_calib.npz", jobs=1)
    assert not any("prune" in point["pipeline"] for point in made.report["search"])
    assert any(d.code == "N0203" for d in made.diagnostics)


@pytest.mark.parametrize(("count", "few"), [(1, True), (15, True), (16, False)])
def test_little_calibration_data_is_told(digits: Path, count: int, few: bool) -> None:  # noqa: FBT001 - a parameter
    with np.load(digits / "digits_calib.npz") as held:
        data = {name: held[name][:count] for name in held.files}
    made = tcc.compile(digits / "digits.onnx", passes="compress{techniques=stored-float16}", target=TARGET,
                       calibration=data, jobs=1)  # fmt: skip
    assert any(d.code == "N0205" for d in made.diagnostics) is few


@pytest.mark.parametrize("level", ["2", "3"])
def test_what_data_would_allow_is_told_where_there_is_none(digits: Path, level: str) -> None:
    made = tcc.compile(digits / "digits.onnx", level, "jetson")
    told = [note for note in made.diagnostics if note.code == "N0206"]
    assert len(told) == (level == "3")
    assert all("--calib" in note.help and "static-int8" in note.help for note in told)


def test_one_of_every_four_samples_is_held_out() -> None:
    samples = [{"x": np.full(1, i)} for i in range(40)]
    fitted, held = held_out(samples)
    assert fitted is not None
    assert [int(feed["x"][0]) // 4 for feed in held] == list(range(10))
    assert len(fitted) + len(held) == 40
    assert not {int(f["x"][0]) for f in fitted} & {int(f["x"][0]) for f in held}
    few = samples[:8]
    assert held_out(few) == (tuple(few), tuple(few))
    assert held_out(None) == (None, ())


def test_an_exact_form_that_seems_slower_is_no_broken_budget(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"": 1.0, "strip": 1.5}  # and what is lossy takes two seconds
    monkeypatch.setattr(
        "tcc.compiler.lowering.TypedForms.predicted_seconds",
        lambda forms, snapshot: (
            2.0 if any("compress" in s.label for s in forms._snapshots) else times.get(snapshot.label, 1.5)
        ),
    )
    made = tcc.compile(digits / "digits.onnx", 3, TARGET, calibration=digits / "digits_calib.npz", jobs=1)
    exact, *others = made.report["search"]
    assert exact["exceeds"] == []
    assert exact["chosen"]
    assert others


def test_a_program_that_loses_too_much_on_unseen_data_is_tried_more_carefully(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What passes see is the calibration data less a fourth; the loss that decides is that of the fourth."""
    true = LossOf.measured

    def much_worse(judge: LossOf, snapshot: Snapshot) -> Loss:
        found = true(judge, snapshot)
        heavy = any(node.op_type in {"QuantizeLinear", "Cast"} for node in snapshot.proto.graph.node)
        return dataclasses.replace(found, value=0.5 if heavy else found.value)

    monkeypatch.setattr(LossOf, "measured", much_worse)
    seen: list[float] = []
    once = Compress.run

    def run(step: Compress, model: Model, context: Context) -> PassResult:
        if not step.only:  # what only stores weights in fewer bits has no integer kernels
            seen.append(context.max_loss)
        return once(step, model, context)

    monkeypatch.setattr(Compress, "run", run)
    made = tcc.compile(digits / "digits.onnx", 3, TARGET, calibration=digits / "digits_calib.npz", jobs=1)
    assert len(seen) == search.TURNS
    assert seen == sorted(seen, reverse=True)
    assert made.report["accuracy"].get("loss", 0.0) <= 0.01


def test_a_program_that_was_made_too_carefully_is_tried_with_more(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of the budget is what is left after a far too large loss; where that loses nothing, more may go."""
    true, once = LossOf.measured, Compress.run
    seen: list[float] = []

    def worse_at_first(judge: LossOf, snapshot: Snapshot) -> Loss:
        found = true(judge, snapshot)
        heavy = any(node.op_type in {"QuantizeLinear", "Cast"} for node in snapshot.proto.graph.node)
        return dataclasses.replace(found, value=0.5 if heavy and len(seen) == 1 else 0.0)

    def run(step: Compress, model: Model, context: Context) -> PassResult:
        if not step.only:
            seen.append(context.max_loss)
        return once(step, model, context)

    monkeypatch.setattr(LossOf, "measured", worse_at_first)
    monkeypatch.setattr(Compress, "run", run)
    tcc.compile(digits / "digits.onnx", 3, TARGET, calibration=digits / "digits_calib.npz", jobs=1)
    first, careful, bolder = seen
    assert careful == pytest.approx(0.1 * first)
    assert bolder == pytest.approx(math.sqrt(careful * first))


def test_a_budget_of_time_is_kept_as_measured_or_refused(digits: Path) -> None:
    def compiled(limit: str) -> Any:
        return tcc.compile(digits / "digits.onnx", 2, "native,threads=1", max_latency=limit, measure=True)

    made = compiled("4x")
    assert made.report["search"][0]["exceeds"] == []
    with pytest.raises(TccError, match="as measured, at most") as caught:
        compiled("0.01x")
    assert caught.value.exit_code == Exit.INFEASIBLE


def test_a_distance_from_the_outputs_is_within_the_budget_to_the_end_of_its_interval() -> None:
    original = Cost(0.0, 100.0, 1.0)
    vague, sure = (Cost(0.007, 50.0, 1.0, bound=Loss("lost confidence", 0.007, 50, end).most) for end in (0.013, 0.009))
    assert list(Budgets(0.01).exceeded(vague, original)) == [
        "its loss is 0.007, 0.013 at the end of its interval, the budget 0.01"
    ]
    assert list(Budgets(0.01).exceeded(sure, original)) == []
    # Nothing seen in 50 samples leaves 3/50 possible: held against a budget of 1 % that would refuse every program.
    assert Loss("lost confidence", 0.0, 50, 0.06).most == 0.0


def test_what_may_lose_more_than_allowed_is_tried_again_with_less(digits: Path) -> None:
    """The end of the interval decides, not the mean: what ships keeps it."""
    result = tcc.compile(digits / "digits.onnx", "z", TARGET, calibration=digits / "digits_calib.npz", max_loss=2e-4)
    found = result.report["accuracy"]
    assert found["status"] == "unmeasured" or found["loss"] == 0.0 or found["upper"] <= 2e-4


def test_an_input_whose_exact_form_loses_too_much_ships_as_it_is(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As quantised models do, which answer to any other rounding.
    monkeypatch.setattr(LossOf, "__call__", lambda *_: Loss("unexplained variance", 0.02, 64, 0.03))
    options: dict[str, Any] = {"target": "x86-64-vnni", "calibration": digits / "digits_calib.npz", "measure": False}
    made = tcc.compile(digits / "digits.onnx", 3, max_loss=0.01, **options)
    assert [note.code for note in made.diagnostics if note.code == "N0711"]
    assert made.model.to_proto() == onnx.load(digits / "digits.onnx")
    with pytest.raises(TccError, match=r"its loss is 0\.02"):
        tcc.compile(digits / "digits.onnx", 3, max_loss=0.01, max_size="50%", **options)
    monkeypatch.setattr(LossOf, "__call__", lambda *_: Loss("unexplained variance", 0.005, 64, 0.03))
    exact = tcc.compile(digits / "digits.onnx", 3, max_loss=0.01, **options)
    assert not [note for note in exact.diagnostics if note.code == "N0711"], "rounding is no estimate"
