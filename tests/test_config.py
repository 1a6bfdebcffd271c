"""Command lines as TOML files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tcc import cli
from tcc.diagnostics import Exit


def test_what_was_asked_for_can_be_done_again(digits: Path, tmp_path: Path) -> None:
    config = tmp_path / "digits.tcc.toml"
    words = [
        str(digits / "digits.onnx"), "-O1", "--target=x86-64-avx2", "--dim", "batch=2", "--dim=batch=3", "--no-measure",
        "--max-loss=2%", "-q",
    ]  # fmt: skip
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    assert cli.main([*words, "-o", str(first), "--save-config", str(config)]) == Exit.DONE
    saved = tomllib.loads(config.read_text())
    assert saved == {
        "input": str(digits / "digits.onnx"), "level": "1", "target": "x86-64-avx2", "dim": ["batch=2", "batch=3"],
        "no-measure": True, "max-loss": 0.02, "quiet": True,
    }  # fmt: skip
    assert cli.main(["--config", str(config), "-o", str(second)]) == Exit.DONE
    assert first.read_bytes() == second.read_bytes()


def test_what_follows_overrides(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f"input = {json.dumps(str(digits / 'digits.onnx'))}\nlevel = 3\n")
    assert cli.main([f"--config={config}", "-O0", "--print-pipeline"]) == Exit.DONE
    assert capsys.readouterr().out.strip() == ""


@pytest.mark.parametrize("content", ["level = ", "level = {a = 1}", "nonsense = 1", "\x00"])
def test_what_is_no_configuration(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.toml"
    config.write_text(content)
    assert cli.main([f"--config={config}", "--print-pipeline"]) == Exit.USAGE
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--config"], ["--config=/no/such/file"]])
def test_a_configuration_that_is_not_there(words: list[str]) -> None:
    assert cli.main(words) == Exit.USAGE
