"""Operators whose form depends on the opset, each written as the instance's opset has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.rules.draw import Draw, Value


def _integers(draw: Draw, values: Sequence[int] | None) -> Value | None:
    return None if values is None else draw.constant(np.array(values, np.int64))


def reshape(draw: Draw, x: Value, shape: Sequence[int]) -> Value:
    """Reshape to a constant shape (an input since opset 5)."""
    return draw.node("Reshape", x, _integers(draw, shape))


def _with_axes(
    draw: Draw, operator: str, x: Value, axes: Sequence[int] | None, *, since: int, keepdims: int | None = None
) -> Value:
    if draw.opset >= since:
        return draw.node(operator, x, _integers(draw, axes), keepdims=keepdims)
    return draw.node(operator, x, axes=None if axes is None else list(axes), keepdims=keepdims)


def squeeze(draw: Draw, x: Value, axes: Sequence[int] | None) -> Value:
    """Squeeze; its axes are an input since opset 13."""
    return _with_axes(draw, "Squeeze", x, axes, since=13)


def unsqueeze(draw: Draw, x: Value, axes: Sequence[int]) -> Value:
    """Unsqueeze; its axes are an input since opset 13."""
    return _with_axes(draw, "Unsqueeze", x, axes, since=13)


def reduce(draw: Draw, operator: str, x: Value, axes: Sequence[int] | None, keepdims: int | None = None) -> Value:
    """A reduction; its axes are an input since opset 13 (ReduceSum) or 18."""
    return _with_axes(draw, operator, x, axes, since=13 if operator == "ReduceSum" else 18, keepdims=keepdims)


def pad(
    draw: Draw,
    x: Value,
    amounts: Sequence[int],
    *,
    value: float | None = None,
    mode: str | None = None,
    value_constant: bool = True,
) -> Value:
    """Pad; its amounts and value are inputs since opset 11."""
    if draw.opset < 11:
        return draw.node("Pad", x, pads=list(amounts), value=value, mode=mode)
    filler = None if value is None else draw.operand(np.array(value, x.dtype or "float32"), constant=value_constant)
    return draw.node("Pad", x, _integers(draw, amounts), filler, mode=mode)


def slice_(
    draw: Draw,
    x: Value,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None = None,
    *,
    steps: Sequence[int] | None = None,
) -> Value:
    """Slice from opset 10, when its ranges became inputs."""
    return draw.node(
        "Slice", x, _integers(draw, starts), _integers(draw, ends), _integers(draw, axes), _integers(draw, steps)
    )


def split(draw: Draw, x: Value, axis: int | None, sizes: Sequence[int]) -> list[Value]:
    """Split into parts of these sizes (an input since opset 13)."""
    if draw.opset < 13:
        return draw.nodes("Split", len(sizes), x, axis=axis, split=list(sizes))
    return draw.nodes("Split", len(sizes), x, _integers(draw, sizes), axis=axis)
