"""Instances of ``tcc.rewrites.resizing``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

_PLACES = (None, "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_ROUNDS = (None, "floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def _resize(draw: Draw, x: Value, scales: Sequence[float] | None, sizes: Sequence[int] | None = None,
            **options: Any) -> Value:  # fmt: skip
    empty = draw.constant(np.array([], np.float32)) if draw.chance() or draw.opset < 13 else None
    given = draw.constant(np.array(scales, np.float32)) if scales is not None else empty
    wanted = None if sizes is None else draw.constant(np.array(sizes, np.int64))
    return draw.node("Resize", x, empty, given, wanted, **options)


def _image(draw: Draw, **options: Any) -> Value:
    shape = (1, draw.integer(1, 2), draw.integer(2, 5), draw.integer(2, 5))
    return Value(draw.tensor(shape, **options).name, "float32", shape)


def _own(draw: Draw, mode: str | None, **options: Any) -> onnx.ModelProto:
    by_scale = draw.chance()
    x = _image(draw, symbols=0.3 if by_scale else 0.0)
    given = ((1, 1, 1, 1), None) if by_scale else (None, x.shape)
    return draw.model(_resize(draw, x, *given, mode=mode, **options))


def resize_to_own_size(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    return _own(
        draw, draw.choice((None, "nearest")), nearest_mode=draw.choice(_ROUNDS),
        coordinate_transformation_mode=draw.choice(_PLACES),
    )  # fmt: skip


def resize_to_own_size__scaled(draw: Draw) -> onnx.ModelProto:
    """The size stays, the scale is not 1."""
    draw.versions(13)
    x = draw.input((1, 1, 3, 3), symbols=0.0)
    places = draw.choice(("asymmetric", "half_pixel"))
    scales = (1, 1, draw.choice((1.3, 1.2)), 1)
    return draw.model(
        _resize(draw, x, scales, nearest_mode="ceil", coordinate_transformation_mode=places, mode="nearest")
    )


def resize_to_own_size__larger(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    return draw.model(_resize(draw, _image(draw), (1, 1, draw.choice((1, 2)), 2), mode="nearest"))


def interpolate_to_own_size(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    return _own(draw, draw.choice(("linear", "cubic")), coordinate_transformation_mode=draw.choice(_PLACES))


def interpolate_to_own_size__scaled(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    return draw.model(_resize(draw, draw.input((1, 1, 3, 3), symbols=0.0), (1, 1, 1.3, 1), mode="linear"))


def interpolate_to_own_size__larger(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    return draw.model(_resize(draw, _image(draw), (1, 1, 2, 2), mode="linear"))


def _repeated(draw: Draw, first: Sequence[float], second: Sequence[float], **options: Any) -> onnx.ModelProto:
    x = _image(draw, symbols=0.3)
    roi = draw.constant(np.array([], np.float32))
    scales = [draw.constant(np.array((1, 1, *own), np.float32)) for own in (first, second)]
    for own in scales:
        x = draw.node("Resize", x, roi, own, **options)
    return draw.model(x)


def repeat_of_repeat(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    places, rounds = draw.choice((("asymmetric", "floor"), ("half_pixel", None), ("half_pixel", "round_prefer_ceil")))
    first, second = ([draw.integer(1, 3), draw.integer(1, 3)] for _ in range(2))
    options = {"mode": "nearest", "coordinate_transformation_mode": places, "nearest_mode": rounds}
    return _repeated(draw, first, second, **options)


def repeat_of_repeat__parts(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    scale = draw.choice((1.5, 2.5, 0.5))
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return _repeated(draw, [scale, 1], [draw.choice((1.5, 2)), 2], **options)


def repeat_of_repeat__interpolated(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    return _repeated(draw, [2, 2], [2, 1], mode="linear", coordinate_transformation_mode=draw.choice(_PLACES[1:3]))


def repeat_of_repeat__other_places(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    places, rounds = draw.choice((("asymmetric", "ceil"), ("align_corners", "floor"), ("asymmetric", None)))
    return _repeated(draw, [2, 3], [2, 2], mode="nearest", coordinate_transformation_mode=places, nearest_mode=rounds)
