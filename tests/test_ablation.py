"""What a compilation can do without: techniques, pruning, hardware-aware prices, the integer program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tcc
from tcc import cli
from tcc.cost_models.roofline import unaware
from tcc.diagnostics import Exit
from tcc.targets import parse_target

TARGET = "x86-64-vnni"


def compiled(digits: Path, *without: str, level: str = "3") -> dict[str, Any]:
    made = tcc.compile(
        digits / "digits.onnx", level, TARGET, calibration=digits / "digits_calib.npz", without=without, jobs=1
    )
    (facts,) = [entry["facts"] for entry in made.report["passes"] if entry["pass"].startswith("compress")][:1] or [{}]
    return {"seconds": made.report["predicted"]["seconds_after"], "bytes": made.report["result"]["bytes"], **facts}


@pytest.fixture(scope="module")
def full(digits: Path) -> dict[str, Any]:
    return compiled(digits)


def test_a_technique_that_is_left_out_is_not_used(digits: Path, full: dict[str, Any]) -> None:
    assert any(site.startswith("stored-int8") for site in full["sites"])
    made = compiled(digits, "stored-int8")
    assert not any(site.startswith("stored-int8") for site in made.get("sites", []))
    assert made["bytes"] > full["bytes"]


def test_greedy_is_no_better_than_the_program(digits: Path, full: dict[str, Any]) -> None:
    made = compiled(digits, "program", level="z")
    assert made["method"] == "greedy"
    assert made["gap"] == 1.0, "nothing is proven of it"
    assert full["seconds"] <= made["seconds"]


def test_prices_that_know_no_hardware_choose_no_faster_program(digits: Path, full: dict[str, Any]) -> None:
    assert compiled(digits, "hardware-prices")["seconds"] >= full["seconds"]
    blind = unaware(parse_target(TARGET))
    assert blind.peak["int8"] == 16 * blind.peak["float32"], "bit operations"


def test_what_cannot_be_left_out_is_told(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(digits / "digits.onnx"), "-O3", f"--target={TARGET}", "--without=prune,magic", "--dry-run"]
    assert cli.main(words) == Exit.USAGE
    said = capsys.readouterr().err
    assert "E0249" in said
    assert "'magic'" in said
    assert "hardware-prices" in said


def test_saved_options_are_read_back(digits: Path, tmp_path: Path) -> None:
    config = tmp_path / "o.toml"
    model, output = str(digits / "digits.onnx"), str(tmp_path / "o.onnx")
    words = [f"--target={TARGET}", "-o", output, "-q", "--without=float16,prune", "--without=low-rank"]
    assert cli.main([model, "-O3", *words, f"--save-config={config}"]) == Exit.DONE
    assert 'without = ["float16", "prune", "low-rank"]' in config.read_text()
    assert cli.main([f"--config={config}", "-o", output, "-q"]) == Exit.DONE
