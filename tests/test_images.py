"""Folders of images as calibration data: the stated preparation, and what is wrong with a request."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from tcc.compiler.data import read
from tcc.diagnostics import TccError
from tcc.frontends import load
from tcc.ir.model import Model

RED = (255, 51, 0)


def taking(shape: list[Any], kind: int = onnx.TensorProto.FLOAT) -> Model:
    ports = [helper.make_tensor_value_info(name, kind, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ports[:1], ports[1:])
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        Image.new("RGB", (40 + 10 * i, 30), RED).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


@pytest.mark.parametrize(
    ("shape", "kind", "options", "first"),
    [
        (["n", 3, 16, 16], onnx.TensorProto.FLOAT, "scale=255", (1.0, 0.2, 0.0)),
        (["n", 16, 20, 3], onnx.TensorProto.FLOAT, "scale=1", RED),
        (["n", 3, "h", "w"], onnx.TensorProto.FLOAT, "scale=255,mean=0.5/0.2/0,std=0.5/1/2,size=8", (1.0, 0.0, 0.0)),
        ([1, 3, 16, 16], onnx.TensorProto.FLOAT, "scale=255,order=bgr,resize=20", (0.0, 0.2, 1.0)),
        (["n", 16, 16, 3], onnx.TensorProto.UINT8, "", RED),
    ],
)
def test_images_are_prepared_as_stated(
    shape: list[Any], kind: int, options: str, first: tuple[float, ...], folder: Path
) -> None:
    found = read(f"images:{folder},{options}".rstrip(","), taking(shape, kind)).feeds
    assert len(found) == 3
    array = found[0]["x"]
    channels = array[0, :, 0, 0] if shape[1] == 3 else array[0, 0, 0]
    assert channels == pytest.approx(first, abs=1e-6)
    assert array.dtype == (np.uint8 if kind == onnx.TensorProto.UINT8 else np.float32)
    assert all(isinstance(size, str) or size == given for size, given in zip(shape, array.shape, strict=True))


@pytest.mark.parametrize(
    ("shape", "text", "words"),
    [
        (["n", 3, 16, 16], "images:{}", "scale of the pixels is not stated"),
        (["n", 3, 16, 16], "images:{},scale=255,blur=3", "states no preparation"),
        (["n", 3, "h", "w"], "images:{},scale=255", "size is not known"),
        (["n", 10], "images:{},scale=255", "holds no images"),
        (["n", 3, 16, 16], "images:{}/none,scale=255", "there are no images"),
    ],
)
def test_what_is_wrong_is_one_clear_line(shape: list[Any], text: str, words: str, folder: Path) -> None:
    with pytest.raises(TccError, match=words) as raised:
        read(text.format(folder), taking(shape))
    assert len(raised.value.diagnostics) == 1


def test_images_are_not_held(tmp_path: Path) -> None:
    model, peaks = taking(["n", 3, 96, 96]), []
    for count in (8, 64):
        folder = tmp_path / str(count)
        folder.mkdir()
        for i in range(count):
            Image.effect_noise((96, 96), 20 + i).save(folder / f"{i:03}.png")
        tracemalloc.start()
        feeds = read(f"images:{folder},scale=255", model).feeds
        sums = [float(feed["x"].sum()) for feed in feeds]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(set(sums)) == count
    # 64 images are 7 MB.
    assert peaks[1] - peaks[0] < 1e6
