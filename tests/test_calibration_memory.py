"""Calibration data stays in its files: samples are read when a run asks for them."""

from __future__ import annotations

import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcc import frontends
from tcc.compiler import arrays, data
from tcc.compiler.arrays import Sample, Stored
from tcc.diagnostics import TccError
from tcc.ir.model import Model
from tests.quantized_models import Builder


def model() -> Model:
    made = Builder()
    x = made.input(1, 3, 64, 64)
    return frontends.load(made.model(made.op("Relu", x)))


def images(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(count, 3, 64, 64)).astype(np.float32)


def saved(path: Path, array: np.ndarray[Any, Any], how: str) -> Path:
    if how == "folder":
        for i, image in enumerate(array):
            np.save(path / f"{i:04}.npy", image)
        return path
    target = path / ("d.npy" if how == "npy" else "d.npz")
    if how == "npy":
        np.save(target, array)
    else:
        (np.savez if how == "npz" else np.savez_compressed)(target, x0=array)
    return target


@pytest.mark.parametrize("how", ["npz", "compressed", "npy", "folder"])
def test_samples_are_the_arrays(how: str, tmp_path: Path) -> None:
    array = images(40)
    feeds = data.read(saved(tmp_path, array, how), model()).feeds
    assert len(feeds) == 40
    for i in (0, 17, 39):
        assert np.array_equal(feeds[i]["x0"], array[i : i + 1])
        assert np.array_equal(pickle.loads(pickle.dumps(feeds[i]))["x0"], array[i : i + 1])  # noqa: S301 - made here
    if how != "folder":
        assert isinstance(feeds[0], Sample)


@pytest.mark.parametrize("how", ["npz", "compressed", "npy"])
def test_memory_does_not_grow_with_the_samples(how: str, tmp_path: Path) -> None:
    peaks = []
    for count in (64, 1024):
        folder = tmp_path / str(count)
        folder.mkdir()
        path, given = saved(folder, images(count), how), model()
        tracemalloc.start()
        feeds = data.read(path, given).feeds
        total = sum(float(feed["x0"].sum()) for feed in feeds)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert np.isfinite(total)
    # What is left is the list of the samples itself, about a kilobyte each.
    # What grows is the list of the samples itself, about a kilobyte each, while the data grows by 960 x 48 KiB.
    assert peaks[1] - peaks[0] < 4e6


def test_a_cut_off_array_is_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path, images(64), "npy")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(TccError, match="E0606"):
        data.read(path, model())


def test_what_is_not_finite_is_counted_in_blocks(tmp_path: Path) -> None:
    array = images(200)
    array[3, 0, 0, 0], array[199, 2, 63, 63] = np.nan, np.inf
    loaded = arrays.load(saved(tmp_path, array, "npy"))
    assert isinstance(loaded, Stored)
    assert arrays.not_finite(loaded) == 2


def test_columns_first_is_read_as_well(tmp_path: Path) -> None:
    array = np.asfortranarray(images(64))
    np.savez(tmp_path / "d.npz", x0=array)
    with zipfile.ZipFile(tmp_path / "d.npz") as archive:
        assert archive.namelist() == ["x0.npy"]
    feeds = data.read(tmp_path / "d.npz", model()).feeds
    assert np.array_equal(feeds[5]["x0"], array[5:6])
