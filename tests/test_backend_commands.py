"""``--emit``, ``tcc run`` and ``tcc check`` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tcc import backends
from tcc.cli import main
from tests.bad_input.cases import model, node, write

Tcc = Callable[..., tuple[int, str, str]]


@pytest.fixture(name="tcc_")
def command(capsys: pytest.CaptureFixture[str]) -> Tcc:
    """Runs ``tcc`` here; the exit code, the output and the errors."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.fixture
def images(digits: Path, tmp_path: Path) -> Path:
    path = tmp_path / "images.npz"
    np.savez(path, image=np.load(digits / "digits_calib.npz")["image"][:4])
    return path


def test_the_kinds_are_what_the_back_ends_emit(tcc_: Tcc) -> None:
    out = tcc_("--help")[1]
    assert {"onnx", "ort"} <= set(backends.kinds())
    assert ", ".join(backends.kinds()) in " ".join(out.split())
    for kind in backends.kinds():
        assert all(found.emits == kind for found in backends.emitters(kind))


@pytest.mark.parametrize("kind", backends.kinds())
def test_each_kind_is_made_or_its_absence_is_one_line(kind: str, digits: Path, tmp_path: Path, tcc_: Tcc) -> None:
    if backends.emitters(kind)[0].absence() is None:
        pytest.skip(f"what writes {kind} is installed: its own tests make it")
    code, out, err = tcc_(digits / "digits.onnx", f"--emit={kind}", "-o", tmp_path / "out")
    assert (code, out) == (8, "")
    assert [line for line in err.splitlines() if "error" in line] == [err.splitlines()[0]]
    assert "pip install 'tensorcompress[" in err
    assert not list(tmp_path.iterdir())


def test_ort_format_runs_as_the_original_does(digits: Path, images: Path, tmp_path: Path, tcc_: Tcc) -> None:
    artefact, outputs, report = tmp_path / "d.ort", tmp_path / "y.npz", tmp_path / "r.json"
    emitted = tcc_(digits / "digits.onnx", "--emit=ort", "-o", artefact, "--no-measure", "--report", report)
    assert emitted[0] == 0
    assert artefact.read_bytes()[4:8] == b"ORTM"
    assert json.loads(report.read_text())["artefact"]["parity"].startswith("equal (tolerance: 1e-05")
    code, out, _ = tcc_("run", artefact, "--input", images, "-o", outputs, "--measure", "3")
    assert code == 0
    assert "median latency" in out
    expected = onnxruntime.InferenceSession(digits / "digits.onnx").run(None, {"image": np.load(images)["image"]})[0]
    ((_, found),) = np.load(outputs).items()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 0.1  # it matters what the images are


def test_without_an_output_the_artefact_lies_beside_the_input(digits: Path, tmp_path: Path, tcc_: Tcc) -> None:
    source = tmp_path / "d.onnx"
    source.write_bytes((digits / "digits.onnx").read_bytes())
    assert tcc_(source, "--emit=ort", "--no-measure", "-q") == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.onnx", "d.tcc.ort"]


def test_run_as_json_and_on_another_back_end(digits: Path, images: Path, tcc_: Tcc) -> None:
    arguments = ("run", digits / "digits.onnx", "--input", images, "--json")
    code, out, _ = tcc_(*arguments)
    made = json.loads(out)
    assert (code, made["backend"], made["seconds"]) == (0, "onnxruntime", None)
    ((_, described),) = made["outputs"].items()
    assert described["shape"] == [4, 10]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        code, out, err = tcc_(*arguments, "--backend=onnxruntime-cuda")
        assert (code, json.loads(out)["backend"]) == (0, "onnxruntime")
        assert "W0802 onnxruntime-cuda is given up, onnxruntime is next" in err
        assert tcc_(*arguments, "--backend=onnxruntime-cuda", "-Werror=fallback")[0] == 8


@pytest.mark.parametrize(
    ("artefact", "data", "expected"),
    [
        ("none.onnx", "x.npz", ("E0234", 2)),
        ("text.txt", "x.npz", ("E0232", 2)),
        ("m.onnx", "none.npz", ("E0606", 6)),
        ("m.onnx", "text.txt", ("E0606", 6)),
        ("m.onnx", "other.npz", ("E0601", 6)),
        ("text.onnx", "x.npz", ("E0406", 4)),
    ],
)
def test_what_cannot_be_run_is_said(
    artefact: str, data: str, expected: tuple[str, int], tmp_path: Path, tcc_: Tcc
) -> None:
    write(tmp_path, model([node("Relu", "x", "y")]), "m.onnx")
    for name in ("text.txt", "text.onnx"):
        (tmp_path / name).write_text("no model and no data")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3), np.float32))
    np.savez(tmp_path / "other.npz", z=np.zeros((2, 3), np.float32))
    found, _, err = tcc_("run", tmp_path / artefact, "--input", tmp_path / data, "-o", tmp_path / "y.npz")
    assert expected[0] in err
    assert found == expected[1]
    assert not (tmp_path / "y.npz").exists()


def test_check_lists_everything_at_once(tmp_path: Path, tcc_: Tcc) -> None:
    nodes = [node("BitwiseNot", "x", "a", "one"), node("BitwiseNot", "a", "b", "two")]
    nodes += [node("Cast", "b", "c", "wide", to=onnx.TensorProto.DOUBLE)]
    nodes += [node("Bernoulli", "c", "d", "draw"), node("Cast", "d", "y", "back", to=onnx.TensorProto.INT64)]
    path = write(tmp_path, model(nodes, integers=["x", "y"], opset=21))
    code, out, err = tcc_("check", path, "--target=jetson@jp6.0", "--json")
    found = json.loads(out)
    assert (code, err, found["runs"]) == (4, "", False)
    by_code: dict[str, list[list[str]]] = {}
    for finding in found["findings"]:
        by_code.setdefault(finding["code"], []).append(finding["nodes"])
        assert finding["remedy"]
    assert ["one", "two"] in by_code["E0412"]
    assert ["draw"] in by_code["E0412"]
    assert any("wide" in nodes for nodes in by_code["E0413"])
    assert by_code["E0411"]
    code, out, err = tcc_("check", path, "--target=jetson@jp6.0")
    assert code == 4
    assert err.count("error: ") == len(found["findings"])
    assert "nodes: one, two" in err


def test_check_says_what_compiling_removes(tmp_path: Path, tcc_: Tcc) -> None:
    """Two casts that cancel: the target does not take the type between them."""
    nodes = [node("Cast", "x", "a", "there", to=onnx.TensorProto.DOUBLE)]
    nodes += [node("Cast", "a", "b", "back", to=onnx.TensorProto.FLOAT), node("Relu", "b", "y", "last")]
    path = write(tmp_path, model(nodes, opset=17))
    code, out, _ = tcc_("check", path, "--target=jetson", "--json")
    found = json.loads(out)
    assert code == 4
    assert found["runs_compiled"]
    assert all(f["solved"] and "removes" in f["remedy"] for f in found["findings"])


def test_check_passes_what_runs_and_shows_the_layers(digits: Path, tcc_: Tcc) -> None:
    code, out, err = tcc_("check", digits / "digits.onnx", "--target=jetson", "--layers")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["layer", "operator", "where", "type"]
    assert sum("Conv" in line and "float32" in line for line in lines) == 4
    assert "takes it as it is" in lines[-1]
