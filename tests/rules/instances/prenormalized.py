"""Instances of ``tcc.rewrites.prenormalized``: convolutions of normalised inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx


def _normal(draw: Draw, x: Value, *, fed: bool = False, training: bool = False) -> Value:
    channels, dtype = int(x.shape[1]), x.dtype
    scale, shift, mean = (draw.operand(draw.array((channels,), dtype), constant=not fed) for _ in range(3))
    variance = draw.operand(draw.positive((channels,), dtype), constant=not fed)
    options: dict[str, Any] = {"epsilon": draw.choice((None, 1e-3, 1e-5))}
    if training:
        return draw.nodes("BatchNormalization", 3, x, scale, shift, mean, variance, training_mode=1, **options)[0]
    return draw.node("BatchNormalization", x, scale, shift, mean, variance, **options)


def _model(draw: Draw, *, groups: int = 1, fed: str = "", training: bool = False, **options: Any) -> onnx.ModelProto:
    draw.versions(14)
    rank, dtype = draw.integer(1, 2), "float32"
    inside, outside = draw.integer(1, 3), draw.integer(1, 3)
    x = draw.tensor((draw.integer(1, 2), inside * groups, *(draw.integer(5, 6) for _ in range(rank))), dtype)
    kernel = [draw.integer(1, 2) for _ in range(rank)]
    w = draw.operand(draw.array((outside * groups, inside, *kernel), dtype), constant=fed != "w")
    b = (
        draw.operand(draw.array((outside * groups,), dtype), constant=fed != "b")
        if fed == "b" or draw.chance()
        else None
    )
    if "pads" in options:
        options["pads"] = [1] * (2 * rank)
    elif draw.chance(0.4):
        options["strides"] = [draw.integer(1, 2) for _ in range(rank)]
    normal = _normal(draw, x, fed=fed == "normalisation", training=training)
    return draw.model(draw.node("Conv", normal, w, b, group=groups if groups > 1 else None, **options))


def batchnorm_before_conv(draw: Draw) -> onnx.ModelProto:
    return _model(draw, auto_pad="VALID") if draw.chance(0.2) else _model(draw)


def batchnorm_before_conv__padded(draw: Draw) -> onnx.ModelProto:
    """Zeros behind the normalisation are not zeros before it."""
    return _model(draw, pads=True)


def batchnorm_before_conv__same(draw: Draw) -> onnx.ModelProto:
    return _model(draw, auto_pad="SAME_UPPER")


def batchnorm_before_conv__grouped(draw: Draw) -> onnx.ModelProto:
    return _model(draw, groups=draw.integer(2, 3))


def batchnorm_before_conv__fed(draw: Draw) -> onnx.ModelProto:
    return _model(draw, fed=draw.choice(("w", "b", "normalisation")))


def batchnorm_before_conv__training(draw: Draw) -> onnx.ModelProto:
    return _model(draw, training=True)
