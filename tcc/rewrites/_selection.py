"""Indices and ranges of slices and gathers of each other."""

from __future__ import annotations

import numpy as np

from tcc.ir import attributes, facts
from tcc.ir.facts import Known, integers, parse_kind, parse_known
from tcc.ir.host import DECLINED, text_function
from tcc.ir.types import TensorType
from tcc.rewrites._slices import Bounds, bounds_of

_LARGEST = facts.LARGEST_KNOWN


def _along(attribute_key: str, kind: TensorType | None) -> tuple[int, int | None] | None:
    """The axis of a Gather from a tensor of this type, and its size where that is a number."""
    if kind is None or kind.shape is None or not kind.shape:
        return None
    axis = int(attributes.parse(attribute_key).get("axis", 0)) % len(kind.shape)
    size = kind.shape[axis]
    return axis, size if isinstance(size, int) else None


def _indices(known: str, size: int | None) -> np.ndarray | None:
    """Known indices, counted from the front; None where that cannot be told, or one is outside."""
    value = parse_known(known)
    if value is None or not value.is_fixed or not value.values:
        return None
    found = value.array().astype(np.int64)
    if size is None:
        return found if (found >= 0).all() else None
    found = np.where(found < 0, found + size, found)
    return found if ((found >= 0) & (found < size)).all() else None


def _text(array: np.ndarray) -> str:
    return Known("int64", array.shape, tuple(array.reshape(-1).tolist())).text() if array.size <= _LARGEST else DECLINED


@text_function
def of_picked(kind: str, inner: str, first: str, outer: str, second: str) -> str:
    """The indices of the Gather that does what one of ``first`` and one of ``second`` from its result do."""
    whole, chosen = parse_kind(kind), parse_known(first)
    along = _along(inner, whole)
    if along is None or whole is None or whole.rank is None or chosen is None:
        return DECLINED
    rank = whole.rank - 1 + len(chosen.shape)
    at = int(attributes.parse(outer).get("axis", 0)) % rank if rank else 0
    own = at - along[0]
    indices = _indices(first, along[1])
    if indices is None or not 0 <= own < indices.ndim:
        return DECLINED
    taken = _indices(second, indices.shape[own])
    return DECLINED if taken is None else _text(np.take(indices, taken, axis=own))


@text_function
def of_sliced(kind: str, starts: str, ends: str, axes: str, steps: str, outer: str, indices: str) -> str:
    """The indices into a tensor of this type that those into its Slice along one axis stand for."""
    whole = parse_kind(kind)
    along, found = _along(outer, whole), bounds_of(kind, starts, ends, axes, steps)
    if along is None or found is None or found.keys() != {along[0]}:
        return DECLINED
    bounds = found[along[0]]
    taken = _indices(indices, bounds.length)
    if taken is None or bounds.start < 0 or bounds.step < 0:
        return DECLINED
    return _text(bounds.start + bounds.step * taken)


@text_function
def run(part: int, kind: str, attribute_key: str, indices: str) -> str:
    """Start, end, axis or step (``part`` 0 to 3) of the Slice that takes what a Gather of these indices takes."""
    along = _along(attribute_key, parse_kind(kind))
    if along is None:
        return DECLINED
    found = _indices(indices, along[1])
    if found is None or found.ndim != 1:
        return DECLINED
    step = int(found[1] - found[0]) if found.size > 1 else 1
    if step < 1 or (np.diff(found) != step).any():
        return DECLINED
    return integers([(int(found[0]), int(found[-1]) + 1, along[0], step)[part]])


def _is_dropped(before: TensorType | None, after: TensorType | None, axis: int) -> bool:
    if before is None or after is None or before.shape is None or after.shape is None:
        return False
    left = before.shape[:axis] + before.shape[axis + 1 :]
    return left == after.shape and None not in left


@text_function
def one(part: int, kind: str, after: str, starts: str, ends: str, axes: str, steps: str) -> str:
    """The index of the one element that a Slice takes along one axis (``part`` 0), or the attributes of its Gather."""
    found = bounds_of(kind, starts, ends, axes, steps)
    if found is None or len(found) != 1:
        return DECLINED
    ((axis, bounds),) = found.items()
    if bounds.length != 1 or bounds.start < 0 or not _is_dropped(parse_kind(kind), parse_kind(after), axis):
        return DECLINED
    return _scalar(bounds.start) if part == 0 else attributes.key_of({"axis": axis} if axis else {})


def _scalar(number: int) -> str:
    return Known("int64", (), (number,)).text()


@text_function
def one_gathered(kind: str, after: str, attribute_key: str, indices: str) -> str:
    """The index of the one element that a Gather takes, where its axis is dropped afterwards."""
    before, value = parse_kind(kind), parse_known(indices)
    along = _along(attribute_key, before)
    if along is None or value is None or not value.is_fixed or value.shape != (1,):
        return DECLINED
    return _scalar(int(value.values[0])) if _is_dropped(before, parse_kind(after), along[0]) else DECLINED


@text_function
def joined(part: int, concat: str, kind: str, s1: str, e1: str, c1: str, p1: str, s2: str, e2: str, c2: str,
           p2: str) -> str:  # fmt: skip
    """Start, end, axis or step (``part`` 0 to 3) of the Slice that takes what two, one behind the other, take."""
    whole = parse_kind(kind)
    first, second = bounds_of(kind, s1, e1, c1, p1), bounds_of(kind, s2, e2, c2, p2)
    if whole is None or whole.rank is None or first is None or second is None:
        return DECLINED
    axis = int(attributes.parse(concat)["axis"]) % whole.rank
    if first.keys() != {axis} or second.keys() != {axis}:
        return DECLINED
    made = _behind(first[axis], second[axis])
    return DECLINED if made is None else integers([[made.start, made.stop, axis, made.step][part]])


def _behind(a: Bounds, b: Bounds) -> Bounds | None:
    """One range for two that touch; None where they do not."""
    length = None if a.length is None or b.length is None else a.length + b.length
    if a.step == b.step == 1:
        # Where the axis ends before they touch, the second one is empty.
        return Bounds(a.start, b.stop, 1, length) if a.start <= a.stop == b.start <= b.stop else None
    if a.step != b.step or not a.length or not b.length or b.start != a.start + a.step * a.length:
        return None
    return Bounds(a.start, b.stop, a.step, length)
