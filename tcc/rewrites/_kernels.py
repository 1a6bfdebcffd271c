"""Conditions of rules on the kernels of convolutions and pools: identities, means, windows, padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tcc.ir import attributes, structures
from tcc.ir.facts import integers, parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function

_NO_PADS = frozenset({"NOTSET", "VALID"})
_SUMMED = frozenset({"float32", "float64"})


def _static(text: str) -> tuple[int, ...] | None:
    kind = parse_kind(text)
    return kind.sizes({}) if kind is not None and kind.is_static else None


def _pads(options: dict[str, Any], rank: int) -> list[int] | None:
    """The pads of a convolution or a pool over so many axes; None where they are left to ``auto_pad``."""
    if options.get("auto_pad", "NOTSET") not in _NO_PADS:
        return None
    none = [0] * (2 * rank)
    return none if options.get("auto_pad") == "VALID" else list(options.get("pads", none))


def _is_one(values: Sequence[int]) -> bool:
    return all(value == 1 for value in values)


def _weight(weight: str, attribute_key: str) -> tuple[dict[str, Any], tuple[int, ...], list[int]] | None:
    """A convolution's attributes, its weight's sizes and its pads, where all of them are known."""
    sizes, options = _static(weight), attributes.parse(attribute_key)
    if sizes is None or len(sizes) < 3:
        return None
    pads = _pads(options, len(sizes) - 2)
    return None if pads is None else (options, sizes, pads)


@condition
def is_filled(structure: str, number: int) -> bool:
    """Every element of a constant is this number."""
    return structures.filled_with(structure) == number


@condition
def is_identity(structure: str) -> bool:
    """A constant is an identity matrix or the kernel of an identity."""
    return structure == structures.IDENTITY


@condition
def gives_back(structure: str, weight: str, attribute_key: str, before: str, after: str) -> bool:
    """A convolution with the kernel of an identity gives its input back: each place and each channel its own."""
    found, x = _weight(weight, attribute_key), parse_kind(before)
    is_kernel = structure == structures.IDENTITY or _is_filled_point(structure, weight)
    if found is None or not is_kernel or x is None or x.shape is None or before != after or None in x.shape:
        return False
    options, sizes, pads = found
    dilations = options.get("dilations", [1] * (len(sizes) - 2))
    middle = [(size // 2) * d for size, d in zip(sizes[2:], dilations, strict=True)]
    own = sizes[0] == sizes[1] * options.get("group", 1)
    return own and _is_one(options.get("strides", [1])) and pads == [*middle, *middle]


def _is_filled_point(structure: str, weight: str) -> bool:
    """A depthwise kernel of one element, a one."""
    sizes = _static(weight)
    return sizes is not None and math.prod(sizes[1:]) == 1 and structures.filled_with(structure) == 1.0


@text_function
def mean_pool(structure: str, weight: str, attribute_key: str) -> str:
    """The attributes of the average pool that does what a convolution with a mean's kernel does."""
    found = _weight(weight, attribute_key)
    if found is None:
        return DECLINED
    options, sizes, pads = found
    window = sizes[2:]
    share = structures.filled_with(structure)
    is_mean = structure == structures.MEAN or (sizes[1] == 1 and share is not None and _is_share(share, window))
    own = sizes[0] == sizes[1] * options.get("group", 1)
    too_wide = any(pad >= size for pad, size in zip(pads, (*window, *window), strict=True))
    if not is_mean or not own or too_wide or not _is_one(options.get("dilations", [1])):
        return DECLINED
    made: dict[str, Any] = {"kernel_shape": list(window), "count_include_pad": 1}
    if any(pads):
        made["pads"] = pads
    if not _is_one(strides := options.get("strides", [1])):
        made["strides"] = strides
    return attributes.key_of(made)


def _is_share(share: float, window: tuple[int, ...]) -> bool:
    # As 32 bits hold it, the widest type but one that weights are stored in.
    return math.isclose(share, 1 / math.prod(window), rel_tol=2**-23)


@text_function
def without_kernel_pad(pad: str, amounts: str, value: str, weight: str, attribute_key: str) -> str:
    """A convolution's attributes where its weight is not padded with zeros; its own pads shrink by as much.

    Args:
        pad, amounts, value: the attributes, amounts and filler of the Pad of the weight.
        weight: the type of the padded weight.
        attribute_key: the convolution's attributes.
    """
    found, known = _weight(weight, attribute_key), parse_known(amounts)
    options = attributes.parse(pad)
    added = options.get("pads") or (known.values if known else None)
    if found is None or added is None or not _fills_zero(options, value):
        return DECLINED
    own, sizes, pads = found
    rank, dilations = len(sizes), own.get("dilations", [1] * (len(sizes) - 2))
    begin, end = added[:rank], added[rank:]
    if len(added) != 2 * rank or any(isinstance(a, str) or a < 0 for a in added) or any((*begin[:2], *end[:2])):
        return DECLINED
    steps = [int(a) * d for a, d in zip((*begin[2:], *end[2:]), (*dilations, *dilations), strict=True)]
    left = [p - s for p, s in zip(pads, steps, strict=True)]
    if any(p < 0 for p in left):
        return DECLINED
    kept = {name: v for name, v in own.items() if name not in {"auto_pad", "pads", "kernel_shape"}}
    return attributes.key_of({**kept, "pads": left} if any(left) else kept)


def _fills_zero(options: dict[str, Any], value: str) -> bool:
    if options.get("mode", "constant") != "constant" or options.get("value", 0.0) != 0.0:
        return False
    known = parse_known(value)
    return not value or (known is not None and all(v == 0 for v in known.values))


@text_function
def enlarging(large: str, first: str, small: str, second: str) -> str:
    """The amounts of the Pad by which a kernel does its own work with the pads and the window of a larger one.

    Args:
        large, first: the larger weight's type and its convolution's attributes.
        small, second: the same for the smaller one, or for one of the same size.
    """
    a, b = _weight(large, first), _weight(small, second)
    if a is None or b is None or len(a[1]) != len(b[1]) or a[1][:2] != b[1][:2]:
        return DECLINED
    (wide, window, pads), (narrow, inner, own) = a, b
    axes, ones = len(window) - 2, [1] * (len(window) - 2)
    dilations = wide.get("dilations", ones)
    same = all(wide.get(name, value) == narrow.get(name, value) for name, value in (("group", 1), ("strides", ones)))
    agree = dilations == narrow.get("dilations", ones) or _is_one(inner[2:])
    around = [p - q for p, q in zip(pads, own, strict=True)]
    if not same or not agree or any(p < 0 or p % d for p, d in zip(around, 2 * dilations, strict=True)):
        return DECLINED
    added = [p // d for p, d in zip(around, 2 * dilations, strict=True)]
    fits = all(inner[2 + i] + added[i] + added[axes + i] == window[2 + i] for i in range(axes))
    return integers([0, 0, *added[:axes], 0, 0, *added[axes:]]) if fits else DECLINED


@text_function
def pooled(structure: str, weight: str, pool: str) -> str:
    """The structure of an identity's kernel after an average pool as wide as it that keeps its size."""
    sizes, options = _static(weight), attributes.parse(pool)
    if sizes is None or structure != structures.IDENTITY or len(sizes) < 3:
        return DECLINED
    window = list(sizes[2:])
    pads = _pads(options, len(window))
    centred = [size // 2 for size in window] * 2
    plain = _is_one(options.get("strides", [1])) and _is_one(options.get("dilations", [1]))
    fits = options.get("kernel_shape") == window and pads == centred and options.get("count_include_pad", 0)
    return structures.MEAN if plain and fits else DECLINED


@text_function
def unmerged(structure: str, mask: str, weight: str, attribute_key: str) -> str:
    """The attributes of the convolution whose groups a kernel joins, two by two, with zeros where the other one's are.

    Args:
        structure: of the mask that makes the zeros in two copies of the kernel, one behind the other.
        mask: its type.
        weight: the type of the kernel of one copy.
        attribute_key: the attributes of the convolution with the joined kernel.
    """
    found, shape = _weight(weight, attribute_key), _static(mask)
    blocks = None if shape is None or len(shape) < 3 else structures.blocks_of(structure, shape)
    if found is None or shape is None or blocks is None:
        return DECLINED
    options, sizes, _ = found
    groups = 2 * int(options.get("group", 1))
    fits = shape[:2] == (sizes[0], 2 * sizes[1]) and sizes[0] % groups == 0
    return attributes.key_of({**options, "group": groups}) if fits and blocks == (2, sizes[0] // groups) else DECLINED


@condition
def sums_all_it_sees(attribute_key: str, weight: str) -> bool:
    """A convolution of one group, in a type that sums have kernels of, whose inputs nothing pads."""
    found, kind = _weight(weight, attribute_key), parse_kind(weight)
    if found is None or kind is None or kind.dtype not in _SUMMED:
        return False
    options, _, pads = found
    return options.get("group", 1) == 1 and not any(pads)


@text_function
def summed_axes(weight: str) -> str:
    """The axes of a convolution's weight that a product with an input sums over: all but the output channels'."""
    kind = parse_kind(weight)
    return DECLINED if kind is None or kind.rank is None else integers([*range(1, kind.rank)])
