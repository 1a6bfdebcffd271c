"""Whatever is wrong with an input, the message says what, where and what to do, with the exit code of its kind."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tcc.diagnostics import TccError
from tcc.frontends import load
from tests.bad_input.cases import CASES, Case, model, node, write

CASE_IDS = [case.name for case in CASES]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write(tmp_path, model([node("Relu", "x", "y", "relu")]), "sound.onnx")


@pytest.mark.parametrize("case", CASES, ids=CASE_IDS)
def test_loading_says_what_is_wrong(case: Case, tmp_path: Path) -> None:
    path = case.build(tmp_path)
    with pytest.raises(TccError) as caught:
        load(path)
    error = caught.value
    assert error.diagnostics[0].code == case.code
    assert int(error.exit_code) == case.exit_code
    assert {d.code[1:3] for d in error.diagnostics} == {case.code[1:3]}
    text = str(error)
    for words in case.says:
        assert words in text
    for diagnostic in error.diagnostics:
        assert diagnostic.where.startswith(str(path))
        assert diagnostic.help
        assert "\n" not in diagnostic.message
        assert "Traceback" not in diagnostic.text()


def test_names_are_unique() -> None:
    assert len(set(CASE_IDS)) == len(CASE_IDS)


@pytest.mark.parametrize("case", CASES, ids=CASE_IDS)
def test_the_command_exits_with_the_code_and_writes_nothing(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = pytest.importorskip("tcc.cli", reason="the command line is not there")
    path = case.build(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert cli.main([str(path), "-O0", "-o", str(tmp_path / "out.onnx")]) == case.exit_code
    shown = capsys.readouterr()
    assert case.code in shown.err
    assert "Traceback" not in shown.err + shown.out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--target=warp-drive"], "warp-drive"),
        (["--passes=frobnicate"], "frobnicate"),
        (["-o", "{folder}/no/such/folder/out.onnx"], "no/such/folder"),
        (["-o", "{folder}/sound.onnx/out.onnx"], "out.onnx"),
        (["-o", "{folder}/sound.onnx"], "sound.onnx"),
    ],
    ids=["unknown target", "unknown pass", "missing output folder", "file as output folder", "input as output"],
)
def test_bad_arguments_are_usage_errors(
    arguments: list[str], word: str, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = pytest.importorskip("tcc.cli", reason="the command line is not there")
    content, before = sound.read_bytes(), sorted(sound.parent.rglob("*"))
    filled = [argument.format(folder=sound.parent) for argument in arguments]
    if "-o" not in filled:
        filled += ["-o", str(sound.parent / "out.onnx")]
    assert cli.main([str(sound), "-O1", *filled]) == 2
    shown = capsys.readouterr()
    assert "error" in shown.err
    assert word in shown.err
    assert "Traceback" not in shown.err
    assert sound.read_bytes() == content
    assert sorted(sound.parent.rglob("*")) == before


def test_a_source_of_another_kind_is_a_usage_error() -> None:
    with pytest.raises(TccError) as caught:
        load(3.14)
    assert int(caught.value.exit_code) == 2
    assert "builtins.float" in str(caught.value)
    assert "onnx.ModelProto" in caught.value.diagnostics[0].help


def test_every_truncation_is_noticed() -> None:
    whole = model([node("Relu", "x", "a", "first"), node("Neg", "a", "y", "second")]).SerializeToString()
    load(whole)
    for end in range(len(whole)):
        with pytest.raises(TccError) as caught:
            load(whole[:end])
        assert int(caught.value.exit_code) in (3, 4), whole[:end]


def test_every_flipped_bit_is_read_or_reported() -> None:
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    whole = model(
        [node("Add", "x w", "a", "first"), node("Relu", "a", "y", "act")], weights=[weight]
    ).SerializeToString()
    reported = 0
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            load(bytes(damaged)).to_bytes()
        except TccError:
            reported += 1
    assert reported > len(whole)
