"""A time limit ends a search with a valid program, and what it cut short is said and kept by nobody."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tcc
from tcc.compiler import levels, programs, search
from tcc.compiler.accuracy import LossOf
from tcc.compiler.attempts import Attempt, Bench, Branch, attempts
from tcc.compiler.timing import Timing
from tcc.diagnostics import Diagnostic, Exit, TccError, fail
from tcc.ir import deadline
from tcc.ir.execution import Runner
from tcc.ir.loss import Loss
from tcc.passes import compress
from tcc.passes.compress import _Search
from tcc.passes.manager import Snapshot, Stages


@pytest.fixture(autouse=True)
def unpruned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruning takes long."""
    monkeypatch.setattr(levels, "PRUNED", ())


def compiled(digits: Path, **more: Any) -> Any:
    given: dict[str, Any] = {"target": "x86-64-vnni", "calibration": digits / "digits_calib.npz", "jobs": 1}
    return tcc.compile(digits / "digits.onnx", 3, **given | more)


def noted(result: Any, code: str) -> list[str]:
    return [d.message for d in result.diagnostics if d.code == code]


def test_what_runs_asks_for_the_time(digits: Path) -> None:
    runner, feed = Runner(digits / "digits.onnx"), {"image": np.load(digits / "digits_calib.npz")["image"]}
    with deadline.until(time.time() + 1000), deadline.until(math.inf):
        deadline.check()
        runner.run(feed)
    for threads in (1, 2):
        with deadline.until(0.0), pytest.raises(TccError, match="time limit") as caught:
            list(runner.run_each([feed], threads))
        assert caught.value.exit_code is Exit.LIMIT
    runner.run(feed)


def test_no_time_at_all_leaves_the_exact_program(digits: Path) -> None:
    result = compiled(digits, time_limit=1e-3)
    assert len(noted(result, "N0706")) >= 2, "no branch was tried"
    assert [p["pipeline"] for p in result.report["search"]] == [""]
    assert result.report["accuracy"]["status"] == "unmeasured"
    assert result.report["verification"]["promise"] == "bits", "it was not simplified either"
    (entry,) = [entry for entry in result.report["passes"] if entry["stopped"]]
    assert entry["stopped"] == ["deadline"]
    assert "the time limit has come: simplify took the best it had by then" in noted(result, "N0706")


def test_the_best_program_so_far_is_taken_and_not_kept(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []
    monkeypatch.setattr(Stages, "keep", lambda *given: kept.append(str(sorted(s.value for s in given[2].stops))))

    def late(*_: Any, **__: Any) -> bool:
        raise fail(Exit.LIMIT, deadline.CODE, "the time limit has come")

    monkeypatch.setattr(_Search, "_goes_on", late)
    result = compiled(digits, output=tmp_path / "out.onnx")
    assert result.report["result"].get("bytes") < (digits / "digits.onnx").stat().st_size
    assert result.report["accuracy"]["status"] == "measured"
    assert kept == []
    (said,) = noted(result, "N0706")
    assert "took the best it had by then" in said
    assert [entry["stopped"] for entry in result.report["passes"] if entry["stopped"]] == [["deadline"]]


def test_what_is_not_measured_in_time_is_predicted(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: Any, **__: Any) -> list[float]:
        raise fail(Exit.LIMIT, deadline.CODE, "the time limit has come")

    monkeypatch.setattr(Timing, "_sample", late)
    monkeypatch.setattr("tcc.compiler.records.Records.kept", lambda _self, _key, make: make())
    result = compiled(digits, measure=True, target="native")
    (said,) = noted(result, "N0706")
    assert "predicted, not measured" in said
    assert result.report["measured"]["latency"] == "the time limit has come"


@pytest.mark.parametrize("part", ["_OBSERVING", "_GATHERING", "_MEASURING"])
def test_what_there_is_no_time_to_find_out_is_done_without(
    part: str, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress, part, 0.0)
    result = compiled(digits)
    assert result.report["result"]["bytes"] < 0.5 * (digits / "digits.onnx").stat().st_size
    assert result.report["accuracy"]["status"] == "measured"
    (said,) = noted(result, "N0706")
    assert "took the best it had by then" in said


def test_a_branch_without_time_is_tried_in_the_next_turn(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    orders: list[list[str]] = []

    def late(bench: Bench, start: Snapshot, branches: list[Branch], *more: Any) -> list[Attempt]:
        tried.append(len(branches))
        orders.append([branch.text for branch in branches])
        if len(tried) == 1:
            note = Diagnostic("N0706", "the time limit has come")
            return [Attempt(None, note, late=True, begun=branch is branches[0]) for branch in branches]
        return attempts(bench, start, branches, *more)

    monkeypatch.setattr(search, "attempts", late)
    result = compiled(digits)
    assert tried[:2] == [tried[0]] * 2
    assert tried[0] > 1
    assert orders[1] == [*orders[0][1:], orders[0][0]], "what took all of the time goes last"
    assert len(result.report["search"]) == 1 + tried[0]
    assert noted(result, "N0706") == []


def test_losses_are_measured_as_long_as_there_is_time(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    measured = LossOf.measured

    def slow(self: LossOf, form: Snapshot) -> Loss:
        asked.append(bool(form.label))
        deadline.check()
        return measured(self, form)

    monkeypatch.setattr(LossOf, "measured", slow)
    result = compiled(digits, time_limit=1e-3)
    assert asked == [], "what is exact is verified, and there is no time to measure it as well"
    assert any("is not measured, only verified" in message for message in noted(result, "N0706"))
    # What is made in time and not measured in time is no program.
    monkeypatch.setattr("tcc.compiler.request.Request.share_of_time", lambda _, part: 0.0 if part == 1 else math.inf)
    result = compiled(digits)
    assert asked
    assert [p["pipeline"] for p in result.report["search"]] == [""]
    assert any("so it is not taken" in message for message in noted(result, "N0706"))


def test_what_is_soon_made_counts_where_there_is_no_time_for_more(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = compiled(digits)
    monkeypatch.setattr(programs, "_MUCH", 0.0)
    tried: list[bool] = []

    def late(bench: Bench, start: Snapshot, branches: list[Branch], *more: Any) -> list[Attempt]:
        tried.append(bench.context.calibration is None)
        if tried[-1]:
            return attempts(bench, start, branches, *more)
        note = Diagnostic("N0706", "the time limit has come")
        return [Attempt(None, note, late=True) for _ in branches]

    def watched(bench: Bench, *more: Any) -> list[Attempt]:
        tried.append(bench.context.calibration is None)
        return attempts(bench, *more)

    monkeypatch.setattr(search, "attempts", watched)
    unhurried = compiled(digits)
    assert tried[:2] == [True, False]
    assert unhurried.to_proto() == plain.to_proto(), "where there is time it changes nothing"
    assert unhurried.report["search"] == plain.report["search"]
    tried.clear()
    monkeypatch.setattr(search, "attempts", late)
    hurried = compiled(digits)
    assert tried == [True, False, False, False]
    assert hurried.report["result"]["bytes"] < 0.5 * (digits / "digits.onnx").stat().st_size
    assert hurried.report["accuracy"]["status"] == "measured"
    assert noted(hurried, "N0706")
