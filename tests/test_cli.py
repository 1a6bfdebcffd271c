"""The command line: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import tcc
from tcc import commands
from tcc.cli import main
from tcc.compiler.levels import LEVELS
from tcc.diagnostics import Exit
from tcc.passes import available
from tcc.passes.fold import Fold
from tests.bad_input.cases import model, node, write

Tcc = Callable[..., tuple[int, str, str]]


@pytest.fixture
def relu(tmp_path: Path) -> Path:
    return write(tmp_path, model([node("Relu", "x", "h", "first"), node("Identity", "h", "y", "last")]), "relu.onnx")


@pytest.fixture(name="tcc_")
def command(capsys: pytest.CaptureFixture[str]) -> Tcc:
    """Runs ``tcc`` here; the exit code, the output and the errors."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_help_names_the_levels_and_the_commands(tcc_: Tcc) -> None:
    code, out, err = tcc_("--help")
    assert (code, err) == (0, "")
    assert out.startswith("usage: tcc")
    assert all(f"-O{level}" in out for level in LEVELS)
    assert all(f"tcc {name}" in out for name in commands.names() if name != commands.DEFAULT)


@pytest.mark.parametrize("name", commands.names())
def test_each_command_has_its_help(name: str, tcc_: Tcc) -> None:
    code, out, _ = tcc_(name, "--help")
    assert code == 0
    assert f"usage: tcc {name}" in out


def test_the_version_is_the_distribution_s(tcc_: Tcc) -> None:
    assert tcc_("--version") == (0, f"tcc {tcc.__version__}\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion(shell: str, tcc_: Tcc) -> None:
    code, out, _ = tcc_("--print-completion", shell)
    assert code == 0
    assert "target" in out
    assert "print-pipeline" in out


def test_the_table_and_the_written_file_are_told(relu: Path, tcc_: Tcc) -> None:
    out = relu.with_name("out.onnx")
    code, shown, err = tcc_(relu, "-O2", "-o", out)
    assert code == 0
    assert "error" not in err
    assert shown.splitlines()[-1] == f"wrote {out}"
    for words in ("nodes", "Identity", "-100.0%", "bytes", "predicted latency", "largest difference", "unmeasured"):
        assert words in shown
    assert [n.op_type for n in onnx.load(out).graph.node] == ["Relu"]


def test_without_an_output_the_file_lies_beside_the_input(relu: Path, tcc_: Tcc) -> None:
    code, shown, _ = tcc_(relu, "--no-measure")
    expected = relu.with_name("relu.tcc.onnx")
    assert code == 0
    assert expected.is_file()
    assert f"wrote {expected}" in shown


def test_quiet_says_nothing(relu: Path, tcc_: Tcc) -> None:
    assert tcc_(relu, "-q", "--no-measure", "-o", relu.with_name("out.onnx")) == (0, "", "")


def test_a_dry_run_writes_nothing(relu: Path, tcc_: Tcc) -> None:
    code, shown, _ = tcc_(relu, "--dry-run", "--no-measure")
    assert code == 0
    assert "predicted latency" in shown
    assert list(relu.parent.iterdir()) == [relu]


def test_verbose_says_what_each_pass_did(relu: Path, tcc_: Tcc) -> None:
    _, _, err = tcc_(relu, "-v", "--no-measure", "--dry-run", "--passes=fold,simplify")
    assert "fold: 2 nodes" in err
    assert "simplify: 2 → 1 nodes" in err


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_s_pipeline_is_printed(level: str, tcc_: Tcc) -> None:
    assert tcc_(f"-O{level}", "--print-pipeline") == (0, f"{LEVELS[level]}\n", "")


def test_a_given_pipeline_is_printed_in_its_canonical_form(tcc_: Tcc) -> None:
    assert (
        tcc_("--passes", "simplify{nodes=7 equality=value}, fold", "--print-pipeline")[1] == "simplify{nodes=7},fold\n"
    )


@pytest.mark.parametrize(
    ("options", "ending"),
    [
        (("-O3", "--max-memory=50%"), "simplify,compress,tile,strip"),
        (("-O1", "--max-memory=50%"), "simplify{equality=bits},strip"),
        (("-O3", "--objective=energy", "--without=low-rank"), "compress{objective=energy,without=low-rank},strip"),
    ],
)
def test_what_options_add_to_a_level_s_pipeline_is_printed(options: tuple[str, ...], ending: str, tcc_: Tcc) -> None:
    code, out, _ = tcc_(*options, "--print-pipeline")
    assert code == 0
    assert out.strip().endswith(ending)


@pytest.mark.parametrize(("option", "count"), [("--print-ir-after", 2), ("--print-ir-after=fold", 1)])
def test_the_model_is_printed_between_passes(option: str, count: int, relu: Path, tcc_: Tcc) -> None:
    code, _, err = tcc_(option, relu, "--passes=fold,canonicalize", "--dry-run", "--no-measure")
    assert code == 0
    assert err.count("// after") == count
    assert err.count("h = Relu (x)") == count


def test_the_report_is_json(relu: Path, tcc_: Tcc) -> None:
    path = relu.with_name("r.json")
    tcc_(relu, "-o", relu.with_name("out.onnx"), "--report", path)
    report = json.loads(path.read_text())
    assert report["schema"] == 1
    assert report["source"] == str(relu)
    assert report["pipeline"] == LEVELS["2"]
    assert report["result"]["nodes"] == 1


def test_calibration_data_is_read(digits: Path, tmp_path: Path, tcc_: Tcc) -> None:
    code, _, err = tcc_(digits / "digits.onnx", "--calib", digits / "digits_calib.npz", "--dry-run", "--no-measure")
    assert code == 0
    assert "labels" in err
    code, _, err = tcc_(digits / "digits.onnx", "--calib", tmp_path / "none.npz", "--dry-run")
    assert code == Exit.DATA
    assert "E0607" in err


def test_inputs_of_the_user_s_are_verified_on(relu: Path, tcc_: Tcc) -> None:
    feeds = relu.with_name("feeds.npz")
    np.savez(feeds, x=np.ones((2, 4), np.float32))
    assert tcc_(relu, "--inputs", feeds, "--dry-run", "--no-measure")[0] == 0
    np.savez(feeds, x=np.ones((2, 5), np.float32))
    code, _, err = tcc_(relu, "--inputs", feeds, "--dry-run")
    assert code == Exit.DATA
    assert "E0602" in err


def test_arguments_may_stand_in_a_file(relu: Path, tcc_: Tcc) -> None:
    out = relu.with_name("with space.onnx")
    arguments = relu.with_name("arguments")
    arguments.write_text(f"# what to do\n-O1 --no-measure\n-o '{out}'  # where to\n")
    assert tcc_(relu, f"@{arguments}")[0] == 0
    assert out.is_file()


def test_sizes_of_dimensions_reach_the_prices(digits: Path, tcc_: Tcc) -> None:
    def predicted(*arguments: str) -> float:
        path = "report.json"
        tcc_(digits / "digits.onnx", "--dry-run", "--no-measure", "-O0", "--report", path, *arguments)
        return float(json.loads(Path(path).read_text())["predicted"]["seconds_before"])

    assert predicted("--dim", "batch=64") > 2 * predicted()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--tagret=native"], "--tagret might be --target"),
        (["-O7"], "invalid choice: '7'"),
        (["--max-loss=lots"], "lots"),
        (["--max-loss=150%"], "between 0 and 1"),
        (["--dim", "batch"], "NAME=SIZE"),
        (["--dim", "batch=0"], "NAME=SIZE"),
        (["--time-limit=-1"], "seconds"),
        (["-Wnone"], "-Wnone"),
        (["-Werror=none"], "unknown warning 'none'"),
        (["--print-ir-after=fould"], "did you mean 'fold'"),
        (["--passes=fold{growth=x}"], "should be a whole number"),
        (["--report", "nowhere/r.json"], "nowhere"),
        (["--report", "relu.onnx"], "overwrite"),
        (["-o", "out.onnx", "--report", "out.onnx"], "overwrite"),
        (["--inputs", "missing.npz"], "missing.npz"),
        (["@missing"], "missing"),
        (["-o", "/dev/null"], "no regular file"),
    ],
)
def test_wrong_arguments_are_told_with_help_and_write_nothing(
    arguments: list[str], word: str, relu: Path, tcc_: Tcc
) -> None:
    code, out, err = tcc_("relu.onnx", *arguments)
    assert code == (Exit.DATA if "--inputs" in arguments else Exit.USAGE)
    assert out == ""
    assert word in err
    assert "  help: " in err
    assert list(relu.parent.iterdir()) == [relu]


def test_no_model_is_a_usage_error(tcc_: Tcc) -> None:
    code, _, err = tcc_("-O2")
    assert code == Exit.USAGE
    assert "the model is missing" in err


def test_diagnostics_as_json_are_one_a_line(relu: Path, tcc_: Tcc) -> None:
    _, _, err = tcc_(relu, "--diagnostics=json", "--target=jetson", "--dry-run")
    assert {json.loads(line)["severity"] for line in err.splitlines()} == {"note", "warning"}
    # Even what is wrong with the arguments themselves.
    _, _, err = tcc_("--diagnostics", "json", "--nonsense")
    assert json.loads(err)["code"] == "E0230"


def test_colours_are_for_those_who_ask(tcc_: Tcc) -> None:
    assert "\033[1;31merror: " in tcc_("missing.onnx", "--color=always")[2]
    assert "\033" not in tcc_("missing.onnx")[2]


def test_warnings_can_be_errors(relu: Path, tcc_: Tcc) -> None:
    assert tcc_(relu, "--target=jetson", "--dry-run")[0] == 0
    for option in ("-Werror=fallback", "-Werror"):
        code, _, err = tcc_(relu, "--target=jetson", option)
        assert code == Exit.BACKEND
        assert "error: E0801" in err
    assert tcc_(relu, "--target=jetson", "-Werror=slower,unverified", "--dry-run")[0] == 0
    assert list(relu.parent.iterdir()) == [relu]


def test_an_interruption_exits_with_130(relu: Path, tcc_: Tcc, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Fold, "run", interrupt)
    code, _, err = tcc_(relu, "--passes=fold")
    assert code == Exit.INTERRUPTED
    assert "Traceback" not in err
    assert list(relu.parent.iterdir()) == [relu]


def test_an_unexpected_exception_is_one_line_and_a_reproducer(
    relu: Path, tcc_: Tcc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def crash(*_: object) -> None:
        message = "first line\nsecond line"
        raise ZeroDivisionError(message)

    (tmp_path / "kept").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "kept"))
    monkeypatch.setattr(Fold, "run", crash)
    code, _, err = tcc_(relu, "--passes=canonicalize,fold{growth=7}", "-o", tmp_path / "out.onnx")
    assert code == Exit.INTERNAL
    assert "E0101 internal error: ZeroDivisionError: first line second line" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out.onnx").exists()
    (folder,) = (tmp_path / "kept").iterdir()
    replay = (folder / "replay.sh").read_text().split()
    assert replay[0] == "tcc"
    assert " ".join(replay[1:2]) in err
    code, _, err = tcc_(*[word.strip("'") for word in replay[1:]])
    assert code == Exit.INTERNAL
    assert "Traceback" in err  # the command asks for it with -vv


def test_the_targets_are_listed_without_heavy_imports() -> None:
    code = """
import sys
from tcc.cli import main
main(["targets"])
print(*sorted({"numpy", "onnx", "onnx_ir", "rich"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(tcc.targets.available())


def test_a_target_s_facts_are_told(tcc_: Tcc) -> None:
    code, out, _ = tcc_("targets", "jetson@jp6.0")
    assert code == 0
    facts = {line[: line.index("  ")]: line.split("  ")[-1].strip() for line in out.splitlines() if "  " in line}
    assert facts["max opset"] == "17"
    assert facts["quantization symmetric"] == "True"
    assert tcc_("targets", "jetsun")[0] == Exit.USAGE


def test_passes_are_listed_with_their_options(tcc_: Tcc) -> None:
    code, out, _ = tcc_("passes")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(available())
    assert "a whole number (default: 512)" in tcc_("passes", "fold")[1]
    assert "did you mean 'fold'" in tcc_("passes", "fald")[2]


def test_rules_are_listed_with_their_algebra(tcc_: Tcc) -> None:
    code, out, _ = tcc_("rules")
    assert code == 0
    name = out.split()[0]
    reference = tcc_("rules", name)[1]
    assert f"name      {name}" in reference
    assert "algebra" in reference
    assert tcc_("rules", f"{name}x")[0] == Exit.USAGE


def test_a_reader_that_leaves_early_is_no_error_message(digits: Path) -> None:
    pipe = f"{sys.executable} -m tcc rules | head -n 1"
    environment = os.environ | {"PYTHONPATH": str(digits.parent.parent)}
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=True, env=environment)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_a_folder_that_is_not_writable_is_noticed_before_the_work(
    relu: Path, tcc_: Tcc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    def work(*_: object) -> None:
        pytest.fail("a pass has run")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    monkeypatch.setattr(Fold, "run", work)
    code, _, err = tcc_(relu, "-o", relu.with_name("out.onnx"))
    assert code == Exit.USAGE
    assert "E0223 cannot write the file: Permission denied" in err
