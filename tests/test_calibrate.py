"""A target of the user's own: measured here, written strictly, and used like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

import tcc
from tcc import cli
from tcc.diagnostics import Exit, TccError
from tcc.targets import available, native, parse_target, shipped
from tcc.targets.calibration import calibrate


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's own targets; measurements take a few milliseconds each."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(native, "REPEAT_SECONDS", 0.002)
    monkeypatch.setattr(native, "GEMM", (32, 64, 64))
    monkeypatch.setattr(native, "COPY_BYTES", 2**20)
    return tmp_path / "tcc" / "targets"


def test_a_calibrated_machine_is_a_target_like_any_other(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["targets", "calibrate", "my-board", "--threads", "1"]) == 0
    assert str(own / "my-board.toml") in capsys.readouterr().out
    target = parse_target("my-board")
    assert (target.threads, target.kind, target.backends) == (1, "cpu", ("onnxruntime",))
    assert target.max_opset == parse_target("native").max_opset
    assert "by tcc targets calibrate" in target.sources["peak"]
    # Three digits, and no more than that: the file says what was measured, not what a clock said.
    assert all(rate == float(f"{rate:.3g}") > 0 for rate in (*target.peak.values(), target.bandwidth))
    assert "my-board" in available()
    assert "my-board" not in shipped()
    assert cli.main(["targets"]) == 0
    assert "my-board" in capsys.readouterr().out
    assert tcc.compile("examples/digits/digits.onnx", 2, target="my-board").report["target"] == "my-board"


def test_it_can_be_done_again(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"float32": 1e9, "int8": 2e9, "single_thread": 1.0, "bandwidth": 1e9, "launch": 1e-6}
    for factor in (1, 3):
        monkeypatch.setattr(
            native, "measure", lambda *_, f=factor, **__: {name: f * value for name, value in rates.items()}
        )
        calibrate("board", 1)
        assert parse_target("board").peak["int8"] == factor * 2e9
    assert [path.name for path in own.iterdir()] == ["board.toml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["calibrate"], "takes the name"),
        (["jetson", "board"], "takes the name"),
        (["jetson", "--threads", "1"], "takes the name"),
        (["calibrate", "jetson"], "comes with tcc"),
        (["calibrate", "calibrate"], "no name"),
        (["calibrate", "../board"], "no name"),
        (["calibrate", "board", "--threads", "0"], "not possible"),
    ],
)
def test_what_cannot_be_made_is_refused(
    own: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["targets", *arguments]) == Exit.USAGE
    assert message in capsys.readouterr().err
    assert not own.exists()


def test_a_target_that_was_edited_badly_is_an_error(own: Path) -> None:
    path = calibrate("board", 1)
    path.write_text(path.read_text().replace("bytes_per_second", "bytes_a_second"))
    with pytest.raises(TccError, match="bytes_per_second is missing"):
        parse_target("board")
    assert own.exists()
