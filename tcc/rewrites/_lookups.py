"""Indices that are known to be within bounds, and what is one where an index says so."""

from __future__ import annotations

import numpy as np

from tcc.ir import attributes
from tcc.ir.facts import parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function
from tcc.rewrites._conditions import FLOATS
from tcc.rewrites._numbers import scalar_of

_WIDE = frozenset({"int32", "int64"})


def _text(first: int, behind: int) -> str:
    return f"{first}:{behind}"


def _bounds(text: str) -> tuple[int, int]:
    first, _, behind = text.partition(":")
    return int(first), int(behind)


@text_function
def of_place(kind: str, attribute_key: str) -> str:
    """The bounds of the places along an axis of this type, as ArgMax tells one."""
    found = parse_kind(kind)
    if found is None or not found.shape:
        return DECLINED
    axis = int(attributes.parse(attribute_key).get("axis", 0))
    size = found.shape[axis] if -len(found.shape) <= axis < len(found.shape) else None
    return _text(0, size) if isinstance(size, int) and size else DECLINED


@text_function
def of_clip(low: str, high: str) -> str:
    """The bounds of integers that are cut to these."""
    first, last = scalar_of(low), scalar_of(high)
    return DECLINED if first is None or last is None or first > last else _text(int(first), int(last) + 1)


@condition
def holds_indices(kind: str) -> bool:
    """The type is one of indices."""
    found = parse_kind(kind)
    return found is not None and found.dtype in _WIDE


@text_function
def of_one_hot(kind: str, attribute_key: str, depth: str, values: str) -> str:
    """Which indices a OneHot of this type has a one for, the rest zeros: those below zero count from the end."""
    found, size, value = parse_kind(kind), scalar_of(depth), parse_known(values)
    if found is None or not found.shape or found.dtype not in FLOATS or size is None or value is None:
        return DECLINED
    is_last = int(attributes.parse(attribute_key).get("axis", -1)) in {-1, len(found.shape) - 1}
    is_plain = value.values == (0, 1) and found.shape[-1] == size
    return _text(-int(size), int(size)) if is_last and is_plain else DECLINED


@text_function
def of_comparison(index: str, column: str, places: str, kind: str) -> str:
    """Which indices have a one in the comparison of ``[..., 1]`` with 0, 1, 2, ..., as a number of this type."""
    own, wide, made, value = parse_kind(index), parse_kind(column), parse_kind(kind), parse_known(places)
    if own is None or wide is None or made is None or value is None or own.shape is None or made.shape is None:
        return DECLINED
    if wide.shape != (*own.shape, 1) or None in own.shape or made.dtype not in FLOATS or not value.is_fixed:
        return DECLINED
    size = len(value.values)
    is_counted = np.array_equal(value.array().reshape(-1), np.arange(size)) and value.shape[-1:] == (size,)
    return _text(0, size) if is_counted and made.shape == (*own.shape, size) else DECLINED


@condition
def looks_up(indices: str, ones: str, table: str) -> bool:
    """Each index has a one, and a table of this type a row for each place."""
    (first, behind), (low, high), found = _bounds(indices), _bounds(ones), parse_kind(table)
    if found is None or found.shape is None or len(found.shape) != len("KN"):
        return False
    return low <= first and behind <= high == found.shape[0]


@text_function
def within(outer: str, inner: str, kind: str, indices: str) -> str:
    """The attributes of the Gather of indices that a Gather of what they pick stands for.

    Args:
        outer, inner: the attributes of the Gather of what was picked, and of that which picked it.
        kind, indices: the types of what it was picked from and of the indices.
    """
    found, own = parse_kind(kind), parse_kind(indices)
    if found is None or found.rank is None or own is None or own.rank is None or not found.rank:
        return DECLINED
    rank = found.rank - 1 + own.rank
    at = int(attributes.parse(inner).get("axis", 0)) % found.rank
    axis = int(attributes.parse(outer).get("axis", 0)) % rank - at if rank else -1
    return attributes.key_of({"axis": axis} if axis else {}) if 0 <= axis < own.rank else DECLINED


@condition
def picks_rows(attribute_key: str, indices: str) -> bool:
    """A GatherND of no batches picks by the first axis alone: its indices are vectors of one number."""
    found = parse_kind(indices)
    return (
        not attributes.parse(attribute_key).get("batch_dims", 0)
        and found is not None
        and bool(found.shape and found.shape[-1] == 1)
    )
