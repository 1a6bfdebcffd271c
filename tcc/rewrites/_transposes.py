"""Permutations of what is moved past an operator: axes, amounts and shapes in the other order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tcc.ir import attributes
from tcc.ir.facts import integers, parse_kind, parse_known, permutation
from tcc.ir.host import DECLINED, condition, text_function


def _moving(permutation_key: str, kind: str) -> tuple[int, ...] | None:
    """The order of a transposition that moves elements; None for one that is no more than a view."""
    order, found = permutation(permutation_key, kind), parse_kind(kind)
    if order is None or found is None or found.shape is None or len(order) != len(found.shape):
        return None
    wide = [axis for axis in order if found.shape[axis] != 1]
    return order if wide != sorted(wide) else None


def _key(order: Sequence[int]) -> str:
    return attributes.key_of({"perm": list(order)})


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))


@condition
def undoes(wanted: str, permutation_key: str, kind: str) -> bool:
    """A transposition moves elements of a tensor of this type, and the wanted one moves them back."""
    order = _moving(permutation_key, kind)
    back = None if order is None else permutation(wanted, kind)
    return order is not None and back is not None and len(back) == len(order) and back == _inverse(order)


@text_function
def full(operand: str, kind: str) -> str:
    """The shape of a constant with as many dimensions as a tensor of this type."""
    found, whole = parse_kind(operand), parse_kind(kind)
    if found is None or not found.is_static or whole is None or whole.rank is None or (found.rank or 0) > whole.rank:
        return DECLINED
    sizes = found.sizes({})
    return integers((1,) * (whole.rank - len(sizes)) + sizes) if math.prod(sizes) != 1 else DECLINED


@condition
def is_single(operand: str, kind: str) -> bool:
    """An operand has one element, and no more dimensions than a tensor of this type."""
    found, whole = parse_kind(operand), parse_kind(kind)
    if found is None or not found.is_static or whole is None or whole.rank is None:
        return False
    return len(found.sizes({})) <= whole.rank and math.prod(found.sizes({})) == 1


@condition
def is_view(permutation_key: str, operand: str, kind: str) -> bool:
    """A transposition of an operand of as many dimensions as a tensor of this type moves only dimensions of size 1.

    An operand of size 1 along the last axis is left alone: it may be the mean of a normalization that is written out,
    which runtimes compute faster where the transposition has put it.
    """
    found, whole, order = parse_kind(operand), parse_kind(kind), permutation(permutation_key, operand)
    if found is None or found.shape is None or whole is None or whole.rank != found.rank or order is None:
        return False
    if not found.shape or found.shape[-1] == 1:
        return False
    wide = [axis for axis in order if found.shape[axis] != 1]
    return wide == sorted(wide) and bool(wide)


@condition
def have_one_rank(first: str, second: str) -> bool:
    """Both tensors have the same number of dimensions."""
    a, b = parse_kind(first), parse_kind(second)
    return a is not None and b is not None and a.rank is not None and a.rank == b.rank


@condition
def moves_both(permutation_key: str, first: str, second: str) -> bool:
    """A permutation moves elements of both tensors, which have the same number of dimensions."""
    orders = _moving(permutation_key, first), _moving(permutation_key, second)
    return orders[0] is not None and orders[0] == orders[1]


@text_function
def axis(attribute_key: str, permutation_key: str, kind: str, default: int) -> str:
    """An operator's attributes with the axis of ``kind`` that a transposition puts where they have theirs."""
    order, options = _moving(permutation_key, kind), attributes.parse(attribute_key)
    if order is None:
        return DECLINED
    at = order[int(options.get("axis", default)) % len(order)]
    left = {name: value for name, value in options.items() if name != "axis"}
    return attributes.key_of({**left, "axis": at} if at != default else left)


@text_function
def axes(known: str, starts: str, permutation_key: str, kind: str) -> str:
    """A Slice's axes before a transposition; ``starts`` is the type of its starts, for one without axes."""
    order, value, count = _moving(permutation_key, kind), parse_known(known), parse_kind(starts)
    if order is None:
        return DECLINED
    if value is not None:
        return integers([order[int(at) % len(order)] for at in value.values]) if value.is_fixed else DECLINED
    if known or count is None or not count.is_static or len(count.sizes({})) != 1:
        return DECLINED
    return integers(order[: count.sizes({})[0]])


def _without(order: Sequence[int], dropped: Sequence[int]) -> list[int]:
    """The order of the dimensions that are left when those at these places are dropped."""
    left = [axis for at, axis in enumerate(order) if at not in dropped]
    return [sorted(left).index(axis) for axis in left]


@text_function
def amounts(known: str, permutation_key: str, kind: str) -> str:
    """The amounts of a Pad before a transposition."""
    order, value = _moving(permutation_key, kind), parse_known(known)
    if order is None or value is None or not value.is_fixed or len(value.values) != 2 * len(order):
        return DECLINED
    rank, back = len(order), _inverse(order)
    numbers = [int(v) for v in value.values]
    return integers([numbers[at] for at in back] + [numbers[rank + at] for at in back])


def _over(known: str, rank: int) -> list[int] | None:
    value = parse_known(known)
    if value is None or not value.is_fixed or not value.values:
        return None
    return [int(at) % rank for at in value.values]


@text_function
def reduced_axes(known: str, permutation_key: str, kind: str) -> str:
    """A reduction's axes before a transposition."""
    order = _moving(permutation_key, kind)
    over = None if order is None else _over(known, len(order))
    return DECLINED if order is None or over is None else integers(sorted(order[at] for at in over))


@text_function
def stated_axes(attribute_key: str) -> str:
    """The axes of a reduction that are an attribute, as a known value."""
    stated = attributes.parse(attribute_key).get("axes")
    return integers(stated) if stated else DECLINED


@text_function
def reduced_attributes(attribute_key: str, permutation_key: str, kind: str) -> str:
    """A reduction's attributes with its axes before a transposition."""
    order, options = _moving(permutation_key, kind), attributes.parse(attribute_key)
    if order is None or not options.get("axes"):
        return DECLINED
    return attributes.key_of({**options, "axes": sorted(order[at % len(order)] for at in options["axes"])})


@condition
def leaves_order(attribute_key: str, known: str, permutation_key: str, kind: str) -> bool:
    """What a reduction drops is all that a transposition before it has moved."""
    order = _moving(permutation_key, kind)
    over = None if order is None else _over(known, len(order))
    if order is None or over is None or attributes.parse(attribute_key).get("keepdims", 1):
        return False
    left = _without(order, over)
    return left == sorted(left)


@condition
def leaves_view(attribute_key: str, known: str, permutation_key: str, kind: str) -> bool:
    """What a reduction of several axes keeps is moved by a transposition as by a view."""
    order = _moving(permutation_key, kind)
    over = None if order is None else _over(known, len(order))
    if order is None or over is None or len(over) < 2 or not attributes.parse(attribute_key).get("keepdims", 1):
        return False
    left = _without(order, over)
    return left == sorted(left)


@condition
def keeps_last(attribute_key: str, permutation_key: str, kind: str) -> bool:
    """A transposition leaves the last axis, over which an operator with these attributes runs, where it is."""
    order = _moving(permutation_key, kind)
    if order is None or order[-1] != len(order) - 1:
        return False
    return int(attributes.parse(attribute_key).get("axis", -1)) % len(order) == len(order) - 1
