"""Instances of ``tcc.rewrites.convolution``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value
from tests.rules.instances.products import _gemm, _sizes

if TYPE_CHECKING:
    import onnx

_FLOATS = ("float32", "float32", "float16")


@dataclass
class _Conv:
    """A convolution's result: its value, channels and spatial rank."""

    value: Value
    channels: int
    rank: int


def _spatial(draw: Draw, rank: int) -> dict[str, Any]:
    """Random kernel, strides, dilations and pads."""
    options: dict[str, Any] = {"kernel": [draw.integer(1, 3) for _ in range(rank)]}
    if draw.chance(0.4):
        options["strides"] = [draw.integer(1, 2) for _ in range(rank)]
    if draw.chance(0.3):
        options["dilations"] = [draw.integer(1, 2) for _ in range(rank)]
    if draw.chance(0.4):
        options["pads"] = [draw.integer(0, 1) for _ in range(2 * rank)]
    elif draw.chance(0.3):
        # Dilations and SAME padding together are not supported by every kernel.
        options["auto_pad"] = draw.choice(("VALID", "SAME_UPPER") if "dilations" not in options else ("VALID",))
    return options


def _conv(draw: Draw, *, transposed: bool = False, groups: int | None = None, bias: bool | None = None,
          fed: tuple[str, ...] = (), channels: int | None = None, dtype: str | None = None) -> _Conv:  # fmt: skip
    """A convolution of an input; ``fed`` names what is an input instead of a constant: ``w``, ``b``."""
    rank, group = draw.integer(1, 2), groups or draw.choice((1, 1, 2, 3))
    if transposed:
        dtype = "float32"
    dtype = dtype or draw.choice(_FLOATS)
    inside, outside = draw.integer(1, 2), draw.integer(1, 3)
    outside = channels // group if channels else outside
    options = _spatial(draw, rank)
    kernel = options.pop("kernel")
    x = draw.tensor((draw.integer(1, 2), inside * group, *(draw.integer(6, 7) for _ in range(rank))), dtype)
    first, second = (inside * group, outside) if transposed else (outside * group, inside)
    w = draw.operand(draw.array((first, second, *kernel), dtype), constant="w" not in fed)
    has_bias = draw.chance() if bias is None else bias
    b = draw.operand(draw.array((outside * group,), dtype), constant="b" not in fed) if has_bias else None
    operator = "ConvTranspose" if transposed else "Conv"
    value = draw.node(operator, x, w, b, group=group if group > 1 or draw.chance() else None, **options)
    return _Conv(value, outside * group, rank)


def _normalized(draw: Draw, x: Value, channels: int, dtype: str = "float32", *, training: bool = False,
                fed: bool = False, small: bool = False) -> Value:  # fmt: skip
    """A BatchNormalization; ``small`` makes its variances so small that epsilon matters."""
    scale, shift, mean = (draw.operand(draw.array((channels,), dtype), constant=not fed) for _ in range(3))
    spread = draw.positive((channels,), dtype) * (1e-4 if small else 1)
    variance = draw.operand(spread.astype(dtype), constant=not fed)
    options: dict[str, Any] = {"epsilon": draw.choice((None, 1e-3, 1e-5))}
    if training:
        return draw.nodes("BatchNormalization", 3, x, scale, shift, mean, variance, training_mode=1, **options)[0]
    return draw.node("BatchNormalization", x, scale, shift, mean, variance, **options)


def batchnorm_into_conv(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    dtype = draw.choice(_FLOATS)
    conv = _conv(draw, dtype=dtype)
    return draw.model(_normalized(draw, conv.value, conv.channels, dtype, small=draw.chance(0.3)))


def batchnorm_into_conv__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    fed = draw.choice((("w",), ("b",), ()))
    conv = _conv(draw, bias=True, fed=fed, dtype="float32")
    return draw.model(_normalized(draw, conv.value, conv.channels, fed=not fed))


def batchnorm_into_conv__training(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    conv = _conv(draw, dtype="float32")
    return draw.model(_normalized(draw, conv.value, conv.channels, training=True))


def batchnorm_into_conv__mixed_types(draw: Draw) -> onnx.ModelProto:
    draw.versions(15)
    x = draw.input((1, 2, 5, 5), "float16")
    conv = draw.node("Conv", x, draw.constant(draw.array((2, 2, 3, 3), "float16")))
    return draw.model(_normalized(draw, conv, 2, "float32"))


def batchnorm_into_transposed_conv(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    conv = _conv(draw, transposed=True, groups=1)
    return draw.model(_normalized(draw, conv.value, conv.channels))


def batchnorm_into_transposed_conv__grouped(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    conv = _conv(draw, transposed=True, groups=draw.integer(2, 3))
    return draw.model(_normalized(draw, conv.value, conv.channels))


def batchnorm_into_transposed_conv__training(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    conv = _conv(draw, transposed=True, groups=1)
    return draw.model(_normalized(draw, conv.value, conv.channels, training=True))


def batchnorm_into_gemm(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    sizes, dtype = _sizes(draw), draw.choice(("float32", "float64"))
    return draw.model(_normalized(draw, _gemm(draw, sizes, dtype), sizes[2], dtype))


def batchnorm_into_gemm__scaled_bias(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    return draw.model(_normalized(draw, _gemm(draw, (2, 3, 4), "float32", beta=True, bias=draw.chance(0.8)), 4))


def batchnorm_into_gemm__training(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    return draw.model(_normalized(draw, _gemm(draw, (3, 3, 4), "float32"), 4, training=True))


def batchnorm_into_gemm__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    fed = draw.chance()
    return draw.model(_normalized(draw, _gemm(draw, (2, 3, 4), "float32", fed=not fed), 4, fed=fed))


def _along(draw: Draw, conv: _Conv) -> tuple[int, ...]:
    """A shape that varies at most along the channels."""
    return draw.choice((
        (conv.channels, *[1] * conv.rank), (1, conv.channels, *[1] * conv.rank), (1, *[1] * conv.rank),
        (), (1,), (1, 1),
    ))  # fmt: skip


def scale_into_conv(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    dtype = draw.choice(_FLOATS)
    conv = _conv(draw, dtype=dtype)
    return draw.model(draw.node("Mul", conv.value, draw.constant(draw.array(_along(draw, conv), dtype))))


def _on_wrong_axis(draw: Draw, operator: str, *, transposed: bool = False) -> onnx.ModelProto:
    """A constant along a spatial axis, or along the batch, as long as there are channels."""
    draw.versions(9)
    name = "ConvTranspose" if transposed else "Conv"
    x = draw.input((4, 2, 4, 4))
    conv = draw.node(name, x, draw.constant(draw.array((2, 4, 1, 1) if transposed else (4, 2, 1, 1))))
    shape = draw.choice(((4,), (4, 1), (4, 1, 1, 1), (4, 4), (4, 1, 4), (4, 4, 4), (2, 1, 1, 1, 1)))
    return draw.model(draw.node(operator, conv, draw.constant(draw.array(shape))))


def _widened(draw: Draw, operator: str) -> onnx.ModelProto:
    """A constant with more channels than the one that the convolution makes."""
    draw.versions(9)
    conv = draw.node("Conv", draw.input((2, 2, 4, 4)), draw.constant(draw.array((1, 2, 3, 3))),
                     draw.constant(draw.array((1,))) if draw.chance() else None)  # fmt: skip
    return draw.model(draw.node(operator, conv, draw.constant(draw.array((draw.integer(2, 3), 1, 1)))))


def scale_into_conv__wrong_axis(draw: Draw) -> onnx.ModelProto:
    return _on_wrong_axis(draw, "Mul")


def scale_into_conv__widens(draw: Draw) -> onnx.ModelProto:
    return _widened(draw, "Mul")


def scale_into_conv__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    what = draw.choice((("w",), ("b",), ()))
    conv = _conv(draw, bias=True, fed=what, dtype="float32")
    c = draw.operand(draw.array((conv.channels, *[1] * conv.rank)), constant=bool(what))
    return draw.model(draw.node("Mul", conv.value, c))


def shift_into_conv(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    transposed = draw.chance(0.3)
    dtype = "float32" if transposed else draw.choice(_FLOATS)
    conv = _conv(draw, transposed=transposed, dtype=dtype, fed=("w",) if draw.chance(0.2) else ())
    return draw.model(draw.node("Add", conv.value, draw.constant(draw.array(_along(draw, conv), dtype))))


def shift_into_conv__wrong_axis(draw: Draw) -> onnx.ModelProto:
    return _on_wrong_axis(draw, "Add", transposed=draw.chance())


def shift_into_conv__widens(draw: Draw) -> onnx.ModelProto:
    return _widened(draw, "Add")


def shift_into_conv__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    conv = _conv(draw, bias=True, fed=("b",), dtype="float32")
    shape = (conv.channels, *[1] * conv.rank)
    return draw.model(draw.node("Add", conv.value, draw.operand(draw.array(shape), constant=draw.chance())))


def _padded_conv(draw: Draw, amounts: list[int], *, value: float | None = None, mode: str | None = None,
                 fed: bool = False, auto_pad: str | None = None) -> onnx.ModelProto:  # fmt: skip
    """A Conv of a padded image of two channels; fewer dimensions follow from the amounts."""
    rank = len(amounts) // 2 - 2
    sizes = [5, 6][:rank]
    x = draw.tensor((draw.integer(1, 2), 2, *sizes))
    padded = op.pad(draw, Value(x.name, "float32"), amounts, value=value, mode=mode, value_constant=not fed)
    channels = 2 + amounts[1] + amounts[rank + 3]
    w = draw.constant(draw.array((3, channels, *[draw.integer(1, 3) for _ in range(rank)])))
    own = [draw.integer(0, 1) for _ in range(2 * rank)] if auto_pad is None and draw.chance() else None
    return draw.model(draw.node("Conv", padded, w, draw.constant(draw.array((3,))) if draw.chance() else None,
                                pads=own, auto_pad=auto_pad,
                                strides=[2] * rank if draw.chance(0.3) else None))  # fmt: skip


def _around(draw: Draw, rank: int) -> list[int]:
    """Amounts around the spatial axes, different on each side."""
    begin, end = ([draw.integer(0, 2) for _ in range(rank)] for _ in range(2))
    return [0, 0, *begin, 0, 0, *end]


def pad_into_conv(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    value, auto_pad = draw.choice((None, 0.0, -0.0)), draw.choice((None, None, "VALID"))
    return _padded_conv(draw, _around(draw, draw.integer(1, 2)), value=value, auto_pad=auto_pad)


def pad_into_conv__on_channels(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    amounts = _around(draw, 2)
    amounts[draw.choice((1, 5))] = 1
    return _padded_conv(draw, amounts)


def pad_into_conv__on_batch(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    amounts = _around(draw, 2)
    amounts[draw.choice((0, 4))] = 1
    return _padded_conv(draw, amounts)


def pad_into_conv__with_value(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _padded_conv(draw, [0, 0, 1, 1, 0, 0, 1, 1], value=1.5, fed=draw.chance())


def pad_into_conv__mode(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _padded_conv(draw, [0, 0, 1, 1, 0, 0, 1, 1], mode=draw.choice(("reflect", "edge")))


def pad_into_conv__crops(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _padded_conv(draw, [0, 0, draw.choice((-1, 1)), 1, 0, 0, 1, -1])


def pad_into_conv__same(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _padded_conv(draw, [0, 0, 1, 0, 0, 0, 1, 2], auto_pad=draw.choice(("SAME_UPPER", "SAME_LOWER")))


def pad_into_conv__axes(draw: Draw) -> onnx.ModelProto:
    draw.versions(18)
    x = draw.input((1, 2, 5, 5))
    axes = draw.choice(([2, 3], [3, 2], [-1, -2], [1, 2]))
    amounts = draw.constant(np.array([1, 0, 0, 2], np.int64))
    padded = draw.node("Pad", x, amounts, None, draw.constant(np.array(axes, np.int64)))
    w = draw.constant(draw.array((3, 3 if axes[0] == 1 else 2, 3, 3)))
    return draw.model(draw.node("Conv", padded, w))
