"""What a lossy model says of itself: from what, how and with what data it was compiled."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import onnx
import pytest

import tcc
from tcc import cli
from tcc.diagnostics import Exit

TARGET = "x86-64-vnni"


@pytest.fixture(scope="module")
def made(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("provenance") / "small.onnx"
    words = [str(digits / "digits.onnx"), "-O3", f"--target={TARGET}", f"--calib={digits / 'digits_calib.npz'}"]
    report = output.with_suffix(".json")
    assert cli.main([*words, "--without=low-rank", f"--report={report}", "-q", "-o", str(output)]) == Exit.DONE
    return output


def test_a_lossy_model_says_where_it_comes_from(digits: Path, made: Path) -> None:
    found = {entry.key: entry.value for entry in onnx.load(made).metadata_props}
    assert found["tcc.version"] == tcc.__version__
    assert found["tcc.input"] == f"sha256:{hashlib.sha256((digits / 'digits.onnx').read_bytes()).hexdigest()}"
    assert re.search(r"compress\{[^}]*without=low-rank\}", found["tcc.pipeline"])
    assert found["tcc.options"].startswith(f"-O3 --target={TARGET} --objective=latency --max-loss=0.01")
    assert found["tcc.calibration"].startswith("sha256:")
    assert not any(str(digits) in text or str(made.parent) in text for text in found.values()), "no paths"
    report = json.loads(made.with_suffix(".json").read_text())
    assert {f"tcc.{name}": text for name, text in report["provenance"].items()} == found
    assert report["result"]["bytes"] == made.stat().st_size
    (chosen,) = [point for point in report["search"] if point["chosen"]]
    assert chosen["bytes"] == made.stat().st_size, "what is written besides counts"


def test_check_prints_it(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(made), f"--target={TARGET}"]) == Exit.DONE
    assert "compiled: input: sha256:" in capsys.readouterr().out
    assert cli.main(["check", str(made), f"--target={TARGET}", "--json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["provenance"]["version"] == tcc.__version__


def test_an_exact_form_says_nothing(digits: Path, tmp_path: Path) -> None:
    tcc.compile(digits / "digits.onnx", 2, TARGET, output=tmp_path / "exact.onnx")
    assert not onnx.load(tmp_path / "exact.onnx").metadata_props
