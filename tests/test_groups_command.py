"""``tcc groups``: what goes together, what stays and why, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from tcc import cli
from tests import channel_models

if TYPE_CHECKING:
    import pytest


def test_groups_are_listed_with_what_is_frozen(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["groups", str(digits / "digits.onnx"), "--only", "stem.0.weight"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("stem.0.weight[0]: 16 units")
    assert [line.partition(":")[0] for line in lines if "stays" in line] == ["stem.3.weight[0]", "block.0.weight[0]"]
    assert "frozen: head.3.weight[0]: an output of the model" in lines
    assert lines[-1] == "3 groups of 80 units"


def test_every_slice_of_every_unit_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(channel_models.model("grouped"), path)
    assert cli.main(["groups", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    sizes = {group["name"]: group["units"] for group in found["groups"]}
    assert sorted(sizes.values()) == [4, 4, 6]
    for group in found["groups"]:
        assert {unit for s in group["slices"] for unit in s["units"]} - {-1} == set(range(group["units"]))
        assert {"Conv"} <= {edge["operator"] for edge in group["edges"]}
    assert cli.main(["groups", str(path), "--slices"]) == 0
    assert "  weight w1[0] " in capsys.readouterr().out


def test_patterns_that_match_nothing_are_errors(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["groups", str(digits / "digits.onnx"), "--ignore", "nowhere op:LSTM"]) == 2
    assert capsys.readouterr().err.count("E0240") == 2
