"""Nothing lost: with a budget of 0 the predictions on the calibration data stay what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tcc
from tcc.ir.execution import Runner
from tests.quantized_models import Builder


def facts(result: Any) -> dict[str, Any]:
    return dict(next(r for r in result.records if r.name == "compress").facts)


@pytest.mark.parametrize("level", ["3", "z"])
def test_no_prediction_on_the_calibration_data_changes(level: str, digits: Path) -> None:
    data = np.load(digits / "digits_calib.npz")
    name = data.files[0]
    source = digits / "digits.onnx"
    result = tcc.compile(source, level, "x86-64-vnni", calibration={name: data[name]}, max_loss=0.0)
    assert facts(result)["sites"]
    assert result.report["accuracy"]["loss"] == 0.0
    assert result.report["accuracy"]["samples"] == len(data[name])
    before, after = Runner(tcc.compile(source, 0).to_proto()), Runner(result.to_proto(), optimise=True)
    for sample in data[name]:
        feed = {name: sample[None]}
        assert before.run(feed)[0].argmax() == after.run(feed)[0].argmax()


def test_of_other_outputs_any_change_is_a_loss() -> None:
    made = Builder()
    x = made.input(1, 64)
    draw = np.random.default_rng(0)
    model = made.model(made.op("MatMul", x, made.constant(draw.normal(size=(64, 1)))))
    samples = {"x0": draw.normal(size=(64, 64)).astype(np.float32)}
    result = tcc.compile(model, "z", "x86-64-vnni", calibration=samples, max_loss=0.0)
    assert "any change" in facts(result)["declined"]["all"]
