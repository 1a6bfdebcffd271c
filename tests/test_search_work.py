"""What the search measures of a model it measures once, and several runs at once change nothing."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tcc
from tcc import frontends
from tcc.compiler import levels
from tcc.ir import calibration, covariance
from tcc.ir.execution import Runner
from tcc.ir.loss import Loss, measure
from tcc.passes.base import Memo

TARGET = "x86-64-vnni"


def scaled() -> onnx.ModelProto:
    """[4, 3] times two."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])], "scaled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 3])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


FEEDS = [{"x": np.full((4, 3), i, np.float32)} for i in range(40)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_runs_at_once_come_in_the_order_of_their_inputs(threads: int) -> None:
    found = [float(y[0, 0]) for (y,) in Runner(scaled()).run_each(iter(FEEDS), threads)]
    assert found == [2.0 * i for i in range(40)]


def test_runs_that_nobody_asks_for_are_not_begun() -> None:
    begun: list[int] = []

    def counted() -> Any:
        for i, feed in enumerate(FEEDS):
            begun.append(i)
            yield feed

    runs = Runner(scaled()).run_each(counted(), 2)
    next(runs)
    runs.close()  # type: ignore[attr-defined]
    assert len(begun) < 6


def test_a_loss_is_measured_on_as_much_data_as_it_takes() -> None:
    model, wrong = frontends.load(scaled()), [[np.ones((4, 3), np.float32)]] * 40
    asked: list[int] = []

    def enough(found: Loss) -> bool:
        asked.append(found.samples)
        return found.value > 1

    assert measure(model, FEEDS, wrong, every=8, enough=enough).samples == 32
    assert asked == [32]
    assert measure(model, FEEDS, wrong).samples == 160


def test_a_memo_keeps_the_last_value_and_stays_in_its_process() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    memo = Memo()
    assert [memo.kept(key, make) for key in ("a", "a", "b", "a")] == [0, 0, 1, 2]
    assert pickle.loads(pickle.dumps(memo)).kept("a", make) == 3  # noqa: S301 - our own


def test_the_programs_of_a_shape_share_what_is_measured_of_it(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "PRUNED", ())
    runs: list[str] = []
    observe, stream = calibration.observe, covariance.stream

    def observing(*given: Any, **more: Any) -> Any:
        runs.append("observe")
        return observe(*given, **more)

    def streaming(*given: Any, **more: Any) -> Any:
        runs.append("stream")
        return stream(*given, **more)

    monkeypatch.setattr("tcc.passes._prepared.observe", observing)
    monkeypatch.setattr(covariance, "stream", streaming)
    made = tcc.compile(digits / "digits.onnx", 3, TARGET, calibration=digits / "digits_calib.npz", jobs=1)
    tried = [p["pipeline"] for p in made.report["search"]]
    assert len(tried) > 2, "the fastest, and the one that only stores its weights narrow"
    assert runs.count("observe") == 1
    assert runs.count("stream") <= 3, "of integers, of ranks by inputs and of windows"


def test_threads_change_nothing(digits: Path) -> None:
    files = [
        tcc.compile(digits / "digits.onnx", 3, TARGET, calibration=digits / "digits_calib.npz", jobs=jobs).to_proto()
        for jobs in (1, 2)
    ]
    assert files[0] == files[1]
