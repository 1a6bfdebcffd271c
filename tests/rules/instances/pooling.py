"""Instances of ``tcc.rewrites.pooling``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx


def _pooled(draw: Draw, amounts: list[int], value: float | None = -np.inf, *, mode: str | None = None,
            fed: bool = False, **options: Any) -> onnx.ModelProto:  # fmt: skip
    """A MaxPool of a padded image with windows of three."""
    rank = len(amounts) // 2 - 2
    x = draw.tensor((draw.integer(1, 2), 2, *[6, 7][:rank]))
    padded = op.pad(draw, Value(x.name, "float32"), amounts, value=value, mode=mode, value_constant=not fed)
    return draw.model(draw.node("MaxPool", padded, kernel_shape=[3] * rank, **options))


def _around(draw: Draw, rank: int, most: int = 1) -> list[int]:
    begin, end = ([draw.integer(0, most) for _ in range(rank)] for _ in range(2))
    return [0, 0, *begin, 0, 0, *end]


def pad_into_max_pool(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    rank = draw.integer(1, 2)
    options: dict[str, Any] = {}
    if draw.chance():
        options["strides"] = [2] * rank
    if draw.chance():
        options["pads"] = [draw.integer(0, 1) for _ in range(2 * rank)]
    elif draw.chance():
        options["auto_pad"] = "VALID"
    return _pooled(draw, _around(draw, rank), **options)


def pad_into_max_pool__with_value(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _pooled(draw, [0, 0, 1, 1, 0, 0, 1, 1], draw.choice((None, 0.0, -1e30)), fed=draw.chance())


def pad_into_max_pool__mode(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _pooled(draw, [0, 0, 1, 1, 0, 0, 1, 1], None, mode=draw.choice(("reflect", "edge")))


def pad_into_max_pool__wide(draw: Draw) -> onnx.ModelProto:
    """A window may lie in the padding alone."""
    draw.versions(9)
    return _pooled(draw, [0, 0, draw.integer(3, 4), 0, 0, 0, 0, draw.integer(3, 4)])


def pad_into_max_pool__crops(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _pooled(draw, [0, 0, -1, 1, 0, 0, 1, draw.choice((-1, 1))])


def pad_into_max_pool__ceil(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    return _pooled(draw, _around(draw, 2), ceil_mode=1, strides=[2, 2])


def pad_into_max_pool__dilated(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    return _pooled(draw, _around(draw, 2), dilations=[2, 2])


def pad_into_max_pool__on_channels(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    amounts = _around(draw, 2)
    amounts[draw.choice((1, 5))] = 1
    return _pooled(draw, amounts)


def pad_into_max_pool__same(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _pooled(draw, [0, 0, 1, 0, 0, 0, 1, 1], auto_pad=draw.choice(("SAME_UPPER", "SAME_LOWER")))
