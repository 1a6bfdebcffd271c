"""Conditions of rules on Concat and Split: the axis, and where the parts end."""

from __future__ import annotations

from tcc.ir import attributes, facts
from tcc.ir.facts import OUTPUTS_MARK, parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.types import Dimension


def axis_of(attribute_key: str, kind: str) -> int | None:
    """The axis of a Concat or a Split of tensors of this type, counted from the first."""
    found = parse_kind(kind)
    if found is None or not found.rank:
        return None
    return int(attributes.parse(attribute_key).get("axis", 0)) % found.rank


def parts_along(attribute_key: str, kinds: str) -> list[Dimension] | None:
    """The sizes along its axis of a Concat's inputs, whose types stand with a bar behind each."""
    found = [parse_kind(text) for text in kinds.split("|")[:-1]]
    axis = axis_of(attribute_key, kinds.partition("|")[0])
    if axis is None or any(kind is None or kind.shape is None for kind in found):
        return None
    return [kind.shape[axis] for kind in found if kind is not None and kind.shape is not None]


@condition
def cuts_where_joined(concat: str, kinds: str, split: str, sizes: str) -> bool:
    """A Split takes apart what a Concat of these types has joined."""
    parts, first = parts_along(concat, kinds), kinds.partition("|")[0]
    if parts is None or axis_of(concat, first) != axis_of(split, first):
        return False
    options, known = attributes.parse(split), parse_known(sizes)
    stated = options.get("split") or (list(known.values) if known else None)
    if stated is not None:
        return stated == parts
    even = options.get("num_outputs", options.get(OUTPUTS_MARK)) == len(parts)
    return not sizes and even and all(isinstance(p, int) and p == parts[0] for p in parts)


@condition
def is_along_rows(concat: str, first: str, second: str, weight: str) -> bool:
    """A Concat joins two tensors of rows (any axis but the last) that are multiplied with one matrix."""
    x, y, w = parse_kind(first), parse_kind(second), parse_kind(weight)
    axis = axis_of(concat, first)
    if x is None or y is None or w is None or axis is None or w.rank != 2 or x.rank != y.rank:
        return False
    return x.rank is not None and axis < x.rank - 1


@condition
def is_along_batch(concat: str, first: str, second: str) -> bool:
    """A Concat joins along the first axis what products were made of, and their inputs agree on all others."""
    return axis_of(concat, first) == 0 and _agree_beside(0, first, second)


@condition
def can_join(concat: str, first: str, second: str) -> bool:
    """Two tensors agree on every axis but the one that a Concat joins along."""
    axis = axis_of(concat, first)
    return axis is not None and _agree_beside(axis, first, second)


@condition
def on_two_axes(first: str, second: str, kind: str) -> bool:
    """Two Concats of tensors of this rank join along different axes."""
    a, b = axis_of(first, kind), axis_of(second, kind)
    return a is not None and b is not None and a != b


@condition
def joins_along(concat: str, kind: str, axis: int) -> bool:
    """A Concat of tensors of this type joins along this axis, negative ones counted from the end."""
    found = parse_kind(kind)
    return found is not None and bool(found.rank) and axis_of(concat, kind) == axis % (found.rank or 1)


def _agree_beside(axis: int, first: str, second: str) -> bool:
    a, b = parse_kind(first), parse_kind(second)
    if a is None or b is None or a.shape is None or b.shape is None or a.dtype != b.dtype or a.rank != b.rank:
        return False
    pairs = enumerate(zip(a.shape, b.shape, strict=True))
    return all(i == axis or (p == q and p is not None) for i, (p, q) in pairs)


@text_function
def moved_axis(concat: str, permutation: str, kind: str, back: int) -> str:
    """A Concat's attributes for what stands behind (``back`` 0) or before (1) a transposition.

    Args:
        concat: the attributes of the Concat.
        permutation: those of the transposition.
        kind: the type of one tensor before the transposition.
        back: whether the Concat moves from behind the transposition to before it.
    """
    order, axis = facts.permutation(permutation, kind), axis_of(concat, kind)
    if order is None or axis is None:
        return DECLINED
    return attributes.key_of({"axis": order[axis] if back else order.index(axis)})


@text_function
def on_axis(axis: int) -> str:
    """The attributes of a Concat along this axis."""
    return attributes.key_of({"axis": axis})


@condition
def match_inside(first: str, second: str) -> bool:
    """The columns of one matrix are as many as the rows of another."""
    a, b = parse_kind(first), parse_kind(second)
    if a is None or b is None or a.shape is None or b.shape is None or len(a.shape) != 2 or len(b.shape) != 2:
        return False
    return a.shape[1] == b.shape[0] and a.shape[1] is not None


@condition
def same_channels(data: str, weight: str) -> bool:
    """A tensor has as many channels as an ungrouped weight asks for."""
    a, b = parse_kind(data), parse_kind(weight)
    if a is None or b is None or a.shape is None or b.shape is None or min(len(a.shape), len(b.shape)) < 2:
        return False
    return a.shape[1] == b.shape[1] and a.shape[1] is not None
