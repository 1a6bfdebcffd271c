"""Lossy alternatives: taken within the measured loss, legal on the target, left alone where they do not pay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tcc


def facts(result: Any) -> dict[str, Any]:
    (record,) = (record for record in result.records if record.name == "compress")
    return dict(record.facts)


def test_smallest_takes_8_bit_weights_within_the_measured_loss(digits: Path) -> None:
    result = tcc.compile(digits / "digits.onnx", "z", "x86-64-vnni", calibration=digits / "digits_calib.npz")
    exact = tcc.compile(digits / "digits.onnx", 2, "x86-64-vnni")
    assert any(site.startswith("weight-int8:") for site in facts(result)["sites"])
    assert result.report["result"]["bytes"] < 0.5 * exact.report["result"]["bytes"]
    assert result.report["accuracy"]["loss"] <= 0.01
    assert facts(result)["gap"] < 1e-4


HALVES = "simplify,compress{techniques=float16,objective=size,slower=true}"


def test_half_precision_only_where_the_target_has_it(digits: Path) -> None:
    jetson = tcc.compile(digits / "digits.onnx", "z", "jetson", passes=HALVES)
    assert any(site.startswith("float16:") for site in facts(jetson)["sites"])
    processor = tcc.compile(digits / "digits.onnx", 3, "x86-64-avx2")
    assert not any(site.startswith("float16:") for site in facts(processor)["sites"])
    assert "computes no faster" in facts(processor)["declined"]["float16"]


def test_no_loss_allowed_leaves_the_exact_program(digits: Path) -> None:
    result = tcc.compile(digits / "digits.onnx", "z", "x86-64-vnni", max_loss=0.0)
    assert facts(result)["sites"] == []
    assert result.report["accuracy"]["status"] == "unmeasured"
