"""Calibration samples from a folder of images, prepared as the user states it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcc.compiler import arrays
from tcc.compiler.arrays import Array
from tcc.diagnostics import Exit, fail
from tcc.ir.types import TensorType

PREFIX = "images:"
_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"})
_COLOURS = (1, 3)
_FORM = "images:FOLDER,scale=255[,mean=0.485/0.456/0.406][,std=0.229/0.224/0.225][,resize=256][,size=224][,order=bgr]"


@dataclass(frozen=True)
class Preparation:
    """What is done to each image: shorter side to ``resize``, centre cut to ``size``, ``(x / scale - mean) / std``.

    Without ``resize`` the whole image is brought to ``size``; without ``size`` that of the model's input is taken.
    """

    scale: float
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: int = 0
    size: int = 0
    order: str = "rgb"


def read(text: str, ports: Mapping[str, TensorType]) -> dict[str, Array]:
    """All images of a folder, in the order of their names, as one array for the model's only input.

    Each is prepared once and put into a temporary file, from which samples are read: memory does not grow with them.

    Args:
        text: ``images:FOLDER`` with the preparation behind commas; ``scale`` has to be stated for a float input.
        ports: the model's inputs: one, of shape [N, C, H, W] or [N, H, W, C] with 1 or 3 channels.

    Raises:
        TccError: exit DATA: E0602 for another input, E0606 for what is no image, E0607 without any, E0609 for a
            preparation that is not understood; exit USAGE, E0242, where pillow is not installed.
    """
    folder, _, options = text.removeprefix(PREFIX).partition(",")
    if len(ports) != 1:
        raise fail(Exit.DATA, "E0602", f"images fit one input, the model has {len(ports)}", where=text)
    ((name, kind),) = ports.items()
    stated = _stated(options, text, needs_scale="float" in kind.dtype)
    paths = sorted(path for path in Path(folder).glob("**/*") if path.suffix.lower() in _ENDINGS)
    if not paths:
        raise fail(Exit.DATA, "E0607", "there are no images", where=folder, help=f"give {_FORM}")
    last, channels, size = _layout(kind, stated.size, text)
    images = (_image(path, channels, size, stated, kind.dtype) for path in paths)
    return {name: arrays.spooled((image if last else image.transpose(2, 0, 1) for image in images), len(paths))}


def _stated(options: str, text: str, *, needs_scale: bool) -> Preparation:
    found: dict[str, Any] = {}
    for item in options.split(",") if options else ():
        key, _, value = item.partition("=")
        try:
            found[key] = _READ[key](value)
        except (KeyError, ValueError) as error:
            message = f"{item!r} states no preparation of images"
            raise fail(Exit.DATA, "E0609", message, where=text, help=f"write {_FORM}") from error
    if needs_scale and "scale" not in found:
        advice = "scale=255 for pixels between 0 and 1, scale=1 for pixels as they are"
        raise fail(Exit.DATA, "E0609", "the scale of the pixels is not stated", where=text, help=advice)
    return Preparation(**{"scale": 1.0, **found})


def _numbers(value: str) -> tuple[float, ...]:
    return tuple(float(part) for part in value.split("/"))


_READ: Mapping[str, Callable[[str], Any]] = {
    "scale": float, "mean": _numbers, "std": _numbers, "resize": int, "size": int,
    "order": {"rgb": "rgb", "bgr": "bgr"}.__getitem__,
}  # fmt: skip


def _layout(kind: TensorType, size: int, where: str) -> tuple[bool, int, tuple[int, int]]:
    """Whether channels come last, how many there are, and the height and width of an image."""
    shape: Sequence[Any] = kind.shape or ()
    for last, places in ((False, (1, 2, 3)), (True, (3, 1, 2))):
        if len(shape) == len(places) + 1 and shape[places[0]] in _COLOURS:
            sides = [shape[place] if isinstance(shape[place], int) else size for place in places[1:]]
            if all(sides):
                return last, shape[places[0]], (sides[0], sides[1])
            advice = "add size=224, or what the model was made for"
            raise fail(Exit.DATA, "E0609", f"the input is {kind}: its size is not known", where=where, help=advice)
    raise fail(Exit.DATA, "E0602", f"the input is {kind}, which holds no images", where=where)


def _image(path: Path, channels: int, size: tuple[int, int], stated: Preparation, dtype: str) -> np.ndarray[Any, Any]:
    """One image as [H, W, C]."""
    try:
        from PIL import Image
    except ImportError as error:
        advice = "pip install 'tensorcompress[images]'"
        raise fail(Exit.USAGE, "E0242", "reading images needs pillow", help=advice) from error
    height, width = size
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB" if channels > 1 else "L")
    except OSError as error:
        raise fail(Exit.DATA, "E0606", f"cannot be read: {error}", where=str(path)) from error
    if stated.resize:
        part = max(stated.resize / min(image.size), width / image.width, height / image.height)
        image = image.resize((round(image.width * part), round(image.height * part)), Image.Resampling.BILINEAR)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    else:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image).reshape(height, width, channels)
    if stated.order == "bgr":
        pixels = pixels[:, :, ::-1]
    if "float" not in dtype:
        return pixels.astype(dtype)
    scaled = (pixels.astype(np.float64) / stated.scale - np.array(stated.mean)) / np.array(stated.std)
    return np.asarray(scaled, dtype=dtype)
