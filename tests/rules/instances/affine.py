"""Instances of ``tcc.rewrites.affine``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

_CHANNELS = 3


def _normalized(draw: Draw, dtype: str = "float32", vectors: str = "", *, fed: bool = False) -> tuple[Value, int]:
    """A normalised input and the number of its spatial axes; with ``fed`` its scale and bias are inputs too."""
    rank = draw.integer(0, 2)
    x = draw.tensor((draw.integer(1, 2), _CHANNELS, *(draw.integer(2, 4) for _ in range(rank))), dtype)
    own = vectors or dtype
    scale, bias = (draw.operand(draw.array((_CHANNELS,), own), constant=not fed) for _ in range(2))
    mean, variance = draw.constant(draw.array((_CHANNELS,), own)), draw.constant(draw.positive((_CHANNELS,), own))
    return draw.node("BatchNormalization", x, scale, bias, mean, variance), rank


def _along(draw: Draw, rank: int) -> tuple[int, ...]:
    """A shape that varies at most along the channels."""
    ones = (1,) * rank
    return draw.choice(((_CHANNELS, *ones), (1, _CHANNELS, *ones), (1, *ones), (), (1,)))


def _on_wrong_axis(draw: Draw, operator: str) -> onnx.ModelProto:
    """A constant along the batch or a spatial axis, as long as there are channels."""
    draw.versions(9)
    x = draw.input((3, 3, 3, 3))
    vectors = [draw.constant(draw.positive((3,))) for _ in range(4)]
    shape = draw.choice(((3,), (3, 1), (3, 1, 1, 1), (3, 3), (3, 1, 3), (1, 3, 3, 3)))
    return draw.model(
        draw.node(operator, draw.node("BatchNormalization", x, *vectors), draw.constant(draw.array(shape)))
    )


def _behind(draw: Draw, operator: str, *, fed: bool = False, mixed: bool = False) -> onnx.ModelProto:
    draw.versions(15 if mixed else 9)
    dtype = "float16" if mixed else "float32"
    # A scale that is computed from inputs is left alone, and so is a factor that is one.
    made, rank = _normalized(draw, dtype, "float32", fed=fed)
    return draw.model(draw.node(operator, made, draw.operand(draw.array(_along(draw, rank), dtype), constant=True)))


def scale_into_batchnorm(draw: Draw) -> onnx.ModelProto:
    return _behind(draw, "Mul")


def scale_into_batchnorm__wrong_axis(draw: Draw) -> onnx.ModelProto:
    return _on_wrong_axis(draw, "Mul")


def scale_into_batchnorm__fed(draw: Draw) -> onnx.ModelProto:
    return _behind(draw, "Mul", fed=True)


def scale_into_batchnorm__mixed_types(draw: Draw) -> onnx.ModelProto:
    return _behind(draw, "Mul", mixed=True)


def shift_into_batchnorm(draw: Draw) -> onnx.ModelProto:
    return _behind(draw, "Add")


def shift_into_batchnorm__wrong_axis(draw: Draw) -> onnx.ModelProto:
    return _on_wrong_axis(draw, "Add")


def shift_into_batchnorm__fed(draw: Draw) -> onnx.ModelProto:
    return _behind(draw, "Add", fed=True)


def shift_into_batchnorm__mixed_types(draw: Draw) -> onnx.ModelProto:
    return _behind(draw, "Add", mixed=True)
