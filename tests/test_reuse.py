"""The same command on the same files is answered with what it gave before; whatever decides a result counts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest

import tcc
from tcc.cli import main
from tcc.compiler import reuse
from tcc.diagnostics import Exit
from tcc.targets import native
from tests.bad_input.cases import model, node, write

Compiled = Callable[..., bool]
"""Runs ``tcc`` and says whether it compiled; that it succeeded is asserted."""


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compiled:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(reuse.SWITCH)
    calls: list[object] = []
    original = tcc.compile

    def counted(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tcc, "compile", counted)

    def run(*arguments: str | Path) -> bool:
        before = len(calls)
        assert main([*map(str, arguments), "--no-measure", "--target=x86-64-vnni"]) == Exit.DONE
        return len(calls) > before

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path, model([node("Relu", "x", "h"), node("Relu", "h", "y")]))


def test_the_second_time_the_same_bytes_are_there_and_it_is_said(
    compiled: Compiled, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, report = tmp_path / "out.onnx", tmp_path / "r.json"
    assert compiled(source, "-o", output, "--report", report)
    first, told = output.read_bytes(), json.loads(report.read_text())
    capsys.readouterr()
    output.unlink()
    assert not compiled(source, "-o", output, "--report", report)
    again = json.loads(report.read_text())
    assert output.read_bytes() == first
    assert "N0712" in capsys.readouterr().err
    assert again["diagnostics"].pop()["code"] == "N0712"
    assert again == told
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_options_that_only_show_do_not_count(compiled: Compiled, source: Path, tmp_path: Path) -> None:
    compiled(source, "-o", tmp_path / "out.onnx")
    assert not compiled(source, "-o", tmp_path / "out.onnx", "-q", "--diagnostics=json", "--color=never")


@pytest.mark.parametrize("options", [["-O1"], ["--objective=size"], ["--max-loss=2%"], ["--jobs=1"]])
def test_another_option_is_another_compilation(
    options: list[str], compiled: Compiled, source: Path, tmp_path: Path
) -> None:
    compiled(source, "-o", tmp_path / "out.onnx")
    assert compiled(source, "-o", tmp_path / "out.onnx", *options)


@pytest.mark.parametrize("options", [["--no-reuse"], ["-v"], ["--print-ir-after"], ["--dry-run"]])
def test_some_options_ask_for_a_compilation(
    options: list[str], compiled: Compiled, source: Path, tmp_path: Path
) -> None:
    compiled(source, "-o", tmp_path / "out.onnx")
    assert compiled(source, "-o", tmp_path / "out.onnx", *options)


def test_the_switch_turns_it_off(
    compiled: Compiled, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(source, "-o", tmp_path / "out.onnx")
    monkeypatch.setenv(reuse.SWITCH, "0")
    assert compiled(source, "-o", tmp_path / "out.onnx")


def test_another_model_in_the_same_place_is_compiled(compiled: Compiled, source: Path, tmp_path: Path) -> None:
    compiled(source, "-o", tmp_path / "out.onnx")
    write(tmp_path, model([node("Sigmoid", "x", "y")]))
    assert compiled(source, "-o", tmp_path / "out.onnx")
    assert [n.op_type for n in onnx.load(tmp_path / "out.onnx").graph.node] == ["Sigmoid"]


def test_weights_beside_the_model_count(compiled: Compiled, digits: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "m.onnx", tmp_path / "out.onnx"
    onnx_ir.save(onnx_ir.load(digits / "digits.onnx"), source, external_data="m.data", size_threshold_bytes=0)
    assert compiled(source, "-o", output, "-O1")
    assert not compiled(source, "-o", output, "-O1")
    first, weights = output.read_bytes(), bytearray((tmp_path / "m.data").read_bytes())
    weights[4] ^= 1  # a mantissa's low bit
    (tmp_path / "m.data").write_bytes(weights)
    assert compiled(source, "-o", output, "-O1")
    assert output.read_bytes() != first


@pytest.mark.parametrize("given", ["data", "data/calib.npz"])
def test_data_counts(given: str, compiled: Compiled, digits: Path, tmp_path: Path) -> None:
    samples = dict(np.load(digits / "digits_calib.npz"))
    place = tmp_path / "data" / "calib.npz"
    place.parent.mkdir()
    np.savez(place, **{name: array[:40] for name, array in samples.items()})
    options = ("-O0", "--calib", tmp_path / given, "-o", tmp_path / "out.onnx")
    assert compiled(digits / "digits.onnx", *options)
    assert not compiled(digits / "digits.onnx", *options)
    np.savez(place, **{name: array[1:41] for name, array in samples.items()})
    assert compiled(digits / "digits.onnx", *options)


def test_data_that_python_computes_may_change(
    compiled: Compiled, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reuse_data.py").write_text(
        "import numpy\ndef make():\n    return [{'x': numpy.ones((2, 3), 'f')}] * 2"
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = (source, "-o", tmp_path / "out.onnx", "--calib", "reuse_data:make")
    shape = [d.dim_value for d in onnx.load(source).graph.input[0].type.tensor_type.shape.dim]
    (tmp_path / "reuse_data.py").write_text(
        f"import numpy\ndef make():\n    return [{{'x': numpy.ones({shape}, 'f')}}] * 2\n"
    )
    assert compiled(*given)
    assert compiled(*given)


def test_another_machine_or_measurement_is_another_compilation(
    compiled: Compiled, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (source, "-o", tmp_path / "out.onnx")
    compiled(*given)
    (tmp_path / "cache" / "tcc" / "kernels.sqlite").write_bytes(b"")
    assert compiled(*given)
    assert not compiled(*given)
    monkeypatch.setattr(native, "processors", lambda: 77)
    assert compiled(*given)


def test_a_kept_file_that_was_damaged_is_made_anew(compiled: Compiled, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    compiled(source, "-o", output)
    first = output.read_bytes()
    [kept] = reuse.folder().glob("*/out.onnx")
    kept.write_bytes(first[:-1])
    assert compiled(source, "-o", output)
    assert output.read_bytes() == first
    assert not compiled(source, "-o", output)


def test_what_the_clock_may_have_decided_is_not_kept(
    compiled: Compiled, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reuse, "_IN_TIME", 1e-9)
    compiled(source, "-o", tmp_path / "out.onnx")
    assert not reuse.folder().exists()


def test_what_was_not_used_for_longest_goes_first(
    compiled: Compiled, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        compiled(source, "-o", tmp_path / f"{name}.onnx")
    places = {place.parent: place.stem for place in reuse.folder().glob("*/*.onnx")}
    for place, name in places.items():
        os.utime(place, (10.0 * "bac".index(name),) * 2)
    size = max(sum(file.stat().st_size for file in place.iterdir()) for place in places)
    monkeypatch.setattr(reuse, "LIMIT", int(3.5 * size))
    compiled(source, "-o", tmp_path / "d.onnx")
    assert sorted(path.stem for path in reuse.folder().glob("*/*.onnx")) == ["a", "c", "d"]


def test_a_place_that_cannot_be_written_is_no_success(compiled: Compiled, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "sub" / "out.onnx"
    output.parent.mkdir()
    assert compiled(source, "-o", output)
    output.unlink()
    output.mkdir()
    assert main([str(source), "-o", str(output), "--no-measure", "--target=x86-64-vnni"]) == Exit.USAGE


def test_a_cache_that_cannot_be_written_does_no_harm(
    compiled: Compiled, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiled(source, "-o", tmp_path / "out.onnx")
    assert compiled(source, "-o", tmp_path / "out.onnx")
