"""Energy: estimated from counts, measured by the processor's counters, an objective of the search."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import tcc
from tcc import cli, report
from tcc.compiler import energy
from tcc.cost_models.energy import joules
from tcc.ir.inference import annotate
from tcc.targets import parse_target

TARGET = "x86-64-vnni"


def test_an_estimate_is_the_sum_of_operations_and_bytes(digits: Path) -> None:
    known = joules()
    assert known.operation["int8"] < known.operation["float16"] < known.operation["float32"]
    model = tcc.compile(digits / "digits.onnx", 2, TARGET).model
    annotate(model)
    found = report.predicted_joules(model, parse_target(TARGET), {"batch": 1})
    # 97 kB of weights from main memory alone, and at most all of it twenty times over.
    assert model.parameter_bytes * known.byte < found < 20 * model.parameter_bytes * known.byte


def test_energy_is_an_objective(digits: Path) -> None:
    made = tcc.compile(
        digits / "digits.onnx", 3, TARGET, calibration=digits / "digits_calib.npz", objective="energy", jobs=1
    )
    points = [point for point in made.report["search"] if not point["exceeds"]]
    (chosen,) = [point for point in points if point["chosen"]]
    assert chosen["estimated_joules"] == pytest.approx(min(point["estimated_joules"] for point in points))
    assert chosen["bytes"] < points[0]["bytes"], "of equals the smaller file"
    estimated = {point["pipeline"]: point["estimated_joules"] for point in made.report["search"]}
    assert estimated["compress{objective=energy}"] < estimated["compress"], "chosen by energy, however slow"


def test_a_program_is_priced_in_joules(digits: Path) -> None:
    """What the integer program adds up is what the report estimates of the program that was written."""
    made = tcc.compile(
        digits / "digits.onnx", passes="simplify,compress{objective=energy},strip", target=TARGET,
        calibration=digits / "digits_calib.npz",
    )  # fmt: skip
    (facts,) = [record.facts for record in made.records if record.name == "compress"]
    assert facts["sites"]
    annotate(made.model)
    estimated = report.predicted_joules(made.model, parse_target(TARGET), {})
    assert facts["objective_value"] == pytest.approx(estimated, rel=0.1)


def counter(folder: Path, name: str, value: int, largest: int = 1000) -> Path:
    place = folder / name
    place.mkdir()
    (place / "energy_uj").write_text(str(value))
    (place / "max_energy_range_uj").write_text(str(largest))
    return place / "energy_uj"


def test_the_processors_counters_are_read_and_wrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "PLACE", tmp_path)
    assert "not measurable here" in energy.unmeasurable()
    file = counter(tmp_path, "intel-rapl:0", 990)
    counter(tmp_path, "intel-rapl:0:0", 5)  # a part of the package
    assert energy.unmeasurable() == ""

    def run(microjoules: int) -> None:
        time.sleep(0.001)
        file.write_text(str((int(file.read_text()) + microjoules) % 1001))

    a, b = energy.measured([lambda: run(3), lambda: run(6)], 0.1)
    assert a == pytest.approx(3e-6, rel=1e-6)
    assert b == pytest.approx(6e-6, rel=1e-6)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert "not readable" in energy.unmeasurable()


def test_compare_says_what_is_estimated_and_what_is_measured(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", str(digits / "digits.onnx"), str(digits / "digits.onnx"), "--seconds=0.2"]
    assert cli.main([*words, f"--eval={digits / 'digits_test.npz'}"]) == 0
    said = capsys.readouterr().out
    assert "energy, estimated" in said
    assert energy.unmeasurable() in said
