"""Calibration data: what is read, how it is cut into samples, and what is said of bad data."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tcc.compiler.data import read, whole
from tcc.diagnostics import Exit, TccError
from tcc.frontends import load
from tcc.ir.model import Model

Array = np.ndarray[Any, Any]
FLOATS = np.arange(24, dtype=np.float32).reshape(6, 4)


def source(**shapes: list[Any]) -> Model:
    """A model that adds up its float32 inputs."""
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, next(iter(shapes.values())))
    graph = helper.make_graph([helper.make_node("Sum", list(shapes), ["y"])], "g", inputs, [output])
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


ONE = source(x=["n", 4])


def saved(path: Path, **arrays: Array) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # its other parameters are flags
    return path


@pytest.mark.parametrize(
    ("shape", "array", "count", "first"),
    [
        (["n", 4], FLOATS, 6, (1, 4)),
        ([2, 4], FLOATS, 3, (2, 4)),
        ([4, 4], FLOATS, 1, (4, 4)),
        ([4], FLOATS, 6, (4,)),
        (["n", 4], FLOATS[:, None], 6, (1, 4)),
        (["n", "m"], FLOATS, 6, (1, 4)),
    ],
)
def test_samples_are_cut_along_the_first_axis(
    shape: list[Any], array: Array, count: int, first: tuple[int, ...], tmp_path: Path
) -> None:
    feeds = read(saved(tmp_path / "d.npz", x=array), source(x=shape)).feeds
    assert len(feeds) == count
    assert feeds[0]["x"].shape == first
    flat = np.concatenate([feed["x"].ravel() for feed in feeds])
    assert np.array_equal(flat, array.ravel()[: flat.size])


def test_arrays_that_are_no_input_are_left_out_with_a_note(tmp_path: Path) -> None:
    data = read(saved(tmp_path / "d.npz", x=FLOATS, labels=np.arange(6)), ONE)
    assert [set(feed) for feed in data.feeds] == [{"x"}] * 6
    note, few = data.notes
    assert note.severity == few.severity == "note"
    assert "labels" in note.message
    assert few.code == "N0602"


def test_several_inputs_are_cut_together(tmp_path: Path) -> None:
    made = source(a=["n", 4], b=["n", 4])
    feeds = read(saved(tmp_path / "d.npz", b=FLOATS + 1, a=FLOATS), made).feeds
    assert all(np.array_equal(feed["a"] + 1, feed["b"]) for feed in feeds)


def test_folders_are_read_in_order(tmp_path: Path) -> None:
    for i in (2, 0, 1):
        saved(tmp_path / f"{i}.npz", x=FLOATS[2 * i : 2 * i + 2])
    feeds = read(tmp_path, ONE).feeds
    assert np.array_equal(np.concatenate([feed["x"] for feed in feeds]), FLOATS)


@pytest.mark.parametrize("rank", [1, 2])
def test_folders_of_npy_files_hold_samples_of_the_only_input(rank: int, tmp_path: Path) -> None:
    for i, row in enumerate(FLOATS):
        np.save(tmp_path / f"{i}.npy", row if rank == 1 else row[None])
    feeds = read(tmp_path, ONE).feeds
    assert np.array_equal(np.concatenate([feed["x"] for feed in feeds]), FLOATS)


def test_folders_of_npy_files_may_be_named_as_the_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FLOATS)
    np.save(tmp_path / "b.npy", FLOATS)
    assert len(read(tmp_path, source(a=["n", 4], b=["n", 4])).feeds) == 6


def test_arrays_and_runs_in_memory_are_taken() -> None:
    assert len(read({"x": FLOATS}, ONE).feeds) == 6
    assert read([{"x": FLOATS}], ONE).feeds == ({"x": FLOATS},)


def test_whole_inputs_are_run_as_they_lie(tmp_path: Path) -> None:
    (feed,) = whole(saved(tmp_path / "d.npz", x=FLOATS), ONE)
    assert feed["x"].shape == (6, 4)
    assert len(whole(saved(tmp_path / "e.npz", x=FLOATS[:, None]), ONE)) == 6


def pickled(path: Path) -> Path:
    path.write_bytes(pickle.dumps(FLOATS))
    return path


def objects(path: Path) -> Path:
    return saved(path, x=np.array([object()]))


def nan(path: Path) -> Path:
    bad = FLOATS.copy()
    bad[0, :2] = np.nan
    return saved(path, x=bad)


@pytest.mark.parametrize(
    ("build", "code", "words"),
    [
        (lambda p: p / "missing.npz", "E0607", "no such file"),
        (lambda p: pickled(p / "d.npz"), "E0606", "cannot be read"),
        (lambda p: pickled(p / "d.pkl"), "E0606", "pickled"),
        (lambda p: objects(p / "d.npz"), "E0606", "pickled"),
        (lambda p: saved(p / "d.npz", y=FLOATS), "E0601", "'x'"),
        (lambda p: saved(p / "d.npz", x=FLOATS.astype(np.float64)), "E0602", "float64, should be float32"),
        (lambda p: saved(p / "d.npz", x=FLOATS[:, :3]), "E0602", "[6, 3]"),
        (lambda p: saved(p / "d.npz", x=FLOATS[0]), "E0602", "[4]"),
        (lambda p: nan(p / "d.npz"), "E0604", "2 elements"),
        (lambda p: saved(p / "d.npz", x=FLOATS[:0]), "E0605", "empty"),
        (lambda p: p, "E0605", "no samples"),
    ],
)
def test_bad_data_exits_with_6(build: Callable[[Path], Path], code: str, words: str, tmp_path: Path) -> None:
    path = build(tmp_path)
    with pytest.raises(TccError) as caught:
        read(path, ONE)
    assert caught.value.exit_code == Exit.DATA
    assert caught.value.diagnostics[0].code == code
    assert words in str(caught.value)
    assert all(d.help and d.where.startswith(str(tmp_path)) for d in caught.value.diagnostics)


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    bad = FLOATS.astype(np.float64)
    bad[0] = np.inf
    made = source(a=["n", 4], b=["n", 4], c=["n", 4])
    with pytest.raises(TccError) as caught:
        read(saved(tmp_path / "d.npz", a=bad, b=FLOATS[:3]), made)
    assert [d.code for d in caught.value.diagnostics] == ["E0601", "E0602", "E0604", "E0602"]


def test_data_that_fills_no_batch_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(TccError) as caught:
        read(saved(tmp_path / "d.npz", x=FLOATS), source(x=[7, 4]))
    assert caught.value.diagnostics[0].code == "E0605"


def test_onnx_test_data_sets_are_runs(tmp_path: Path) -> None:
    made = source(a=["n", 4], b=["n", 4])
    for i in range(11):
        folder = tmp_path / f"test_data_set_{i}"
        folder.mkdir()
        for k, array in enumerate((FLOATS[:1] + i, FLOATS[1:2])):
            (folder / f"input_{k}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())
    feeds = read(tmp_path, made).feeds
    assert [feed["a"][0, 0] for feed in feeds] == list(range(11))
    (tmp_path / "test_data_set_3" / "input_1.pb").unlink()
    with pytest.raises(TccError, match="E0601"):
        read(tmp_path, made)


def test_a_function_gives_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "import numpy as np\ndef rows():\n    for i in range(40):\n        yield {'x': np.full((2, 4), i % 39, 'f')}\n"
    )
    (tmp_path / "my_loader.py").write_text(text + "def broken():\n    return 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    data = read("my_loader:rows", ONE)
    assert [feed["x"].shape for feed in data.feeds] == [(2, 4)] * 40
    assert [note.code for note in data.notes] == ["N0603"]
    for name in ("broken", "missing"):
        with pytest.raises(TccError, match="E0608"):
            read(f"my_loader:{name}", ONE)
