"""Shapes and conditions of the rules that absorb constants before a linear operator into its weight."""

from __future__ import annotations

import math

from tcc.ir import attributes
from tcc.ir.facts import integers, parse_kind
from tcc.ir.host import DECLINED, condition, text_function


def _sizes(text: str) -> tuple[int, ...] | None:
    kind = parse_kind(text)
    return kind.sizes({}) if kind is not None and kind.is_static else None


@text_function
def operand_shape(constant: str, weight: str, convolution: str) -> str:
    """The shape in which a constant along a convolution's input channels multiplies its weight."""
    sizes, window = _sizes(constant), _sizes(weight)
    if sizes is None or window is None or len(window) < 3:
        return DECLINED
    count, groups = math.prod(sizes), int(attributes.parse(convolution).get("group", 1))
    spatial = [1] * (len(window) - 2)
    if count == 1 or groups == 1:
        return integers([1, count, *spatial])
    # One channel a group and one output each: output i reads channel i alone.
    return integers([count, 1, *spatial]) if window[:2] == (groups, 1) and count == groups else DECLINED


@condition
def pads_nothing(convolution: str) -> bool:
    """A convolution of one group whose windows all lie inside its operand."""
    options = attributes.parse(convolution)
    inside = options.get("auto_pad", "NOTSET") == "VALID" or (
        options.get("auto_pad", "NOTSET") == "NOTSET" and not any(options.get("pads", ()))
    )
    return inside and int(options.get("group", 1)) == 1


@text_function
def window_shape(weight: str, what: str) -> str:
    """A shape of a convolution's weight [outputs, channels, window].

    ``channels`` is [channels, elements of the window], ``column`` [channels x elements, 1], ``rows``
    [outputs, channels x elements], ``vector`` [outputs].
    """
    sizes = _sizes(weight)
    if sizes is None or len(sizes) < 3:
        return DECLINED
    outputs, channels, elements = sizes[0], sizes[1], math.prod(sizes[2:])
    shapes = {
        "channels": [channels, elements], "column": [channels * elements, 1],
        "rows": [outputs, channels * elements], "vector": [outputs],
    }  # fmt: skip
    return integers(shapes[what])


@text_function
def column_shape(constant: str) -> str:
    """The shape of a constant along one axis as a column."""
    sizes = _sizes(constant)
    return DECLINED if sizes is None else integers([math.prod(sizes), 1])


@text_function
def inner_shape(constant: str, gemm: str) -> str:
    """The shape in which a constant along the columns of a Gemm's first operand multiplies its second one."""
    sizes, options = _sizes(constant), attributes.parse(gemm)
    if sizes is None or options.get("transA", 0):
        return DECLINED
    count = math.prod(sizes)
    return integers([1, count] if options.get("transB", 0) else [count, 1])
