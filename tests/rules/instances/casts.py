"""Instances of ``tcc.rewrites.casts``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

_CHAINS = (
    ("bool", "int64", "float32"), ("bool", "float32", "int32"), ("float16", "float32", "float64"),
    ("float32", "float64", "float16"), ("int64", "int32", "int8"), ("int32", "int64", "uint8"),
    ("uint8", "int32", "float16"), ("int32", "int64", "float32"), ("float32", "float64", "bool"),
    ("int8", "int16", "int64"), ("uint16", "float32", "float64"),
)  # fmt: skip


def _cast(draw: Draw, x: Value, dtype: str) -> Value:
    return draw.node("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _chain(draw: Draw, array: np.ndarray, middle: str, last: str) -> onnx.ModelProto:
    return draw.model(_cast(draw, _cast(draw, draw.input_of(array), middle), last))


def cast_of_cast(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    source, middle, last = draw.choice(_CHAINS)
    array = draw.array((4, 5), source)
    if source in {"int32", "int64"}:
        array = array * draw.choice((1, 37, 123_457))
    return _chain(draw, array, middle, last)


def cast_of_cast__narrows(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    source, middle, last = draw.choice(
        (("int64", "int8", "int32"), ("float32", "int32", "float32"), ("int32", "uint8", "float32"))
    )
    return _chain(draw, draw.array((4, 5), source) * np.array(300, source), middle, last)


def cast_of_cast__rounds_twice(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    array = 1 + draw.array((400,), "float64") * 1e-3
    return _chain(draw, array, "float32", "float16")


def cast_of_cast__truth(draw: Draw) -> onnx.ModelProto:
    """What is left of an integer that does not fit may be 0."""
    draw.versions(13)
    return _chain(draw, draw.array((4, 5), "int32") * 256, "uint8", "bool")


def cast_of_cast__sign(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    return _chain(draw, draw.array((4, 5), "int8"), draw.choice(("uint8", "uint16")), "int64")
