"""Shapes with and without dimensions of size 1: what is moved past a view that only drops such dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from tcc.ir import attributes
from tcc.ir.facts import integers, parse_kind, parse_known, permutation
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.types import Dimension, TensorType
from tcc.rewrites._conditions import target_of


def _wide(shape: Sequence[Dimension]) -> list[int]:
    return [axis for axis, size in enumerate(shape) if size != 1]


def _shape(kind: str) -> tuple[Dimension, ...] | None:
    found = parse_kind(kind)
    return None if found is None or found.shape is None or None in found.shape else found.shape


@text_function
def order_of_rest(permutation_key: str, kind: str) -> str:
    """The attributes of a Transpose for what is left of a tensor without its dimensions of size 1, if they matter.

    It moves something, and one dimension of size 1 at least stands in its way.
    """
    shape, order = _shape(kind), permutation(permutation_key, kind)
    if shape is None or order is None or len(order) != len(shape):
        return DECLINED
    wide = _wide(shape)
    left = [wide.index(axis) for axis in order if axis in wide]
    return attributes.key_of({"perm": left}) if len(wide) < len(shape) and left != sorted(left) else DECLINED


@text_function
def rest(kind: str) -> str:
    """The target of a Reshape that drops the dimensions of size 1."""
    found, shape = parse_kind(kind), _shape(kind)
    if found is None or shape is None:
        return DECLINED
    return target_of(TensorType(found.dtype, tuple(shape[axis] for axis in _wide(shape))), found)


def _places(view: str, kind: str) -> list[int] | None:
    """For each dimension of a view that drops or moves those of size 1 of ``kind``, where it was; -1 for such a one."""
    after, before = _shape(view), _shape(kind)
    if after is None or before is None or len(after) > len(before) or after == before:
        return None
    wide = _wide(before)
    if [after[axis] for axis in _wide(after)] != [before[axis] for axis in wide]:
        return None
    rest = iter(wide)
    return [-1 if size == 1 else next(rest) for size in after]


@condition
def is_squeezed(view: str, kind: str) -> bool:
    """A view drops or moves dimensions of size 1, and has no more dimensions."""
    return _places(view, kind) is not None


@text_function
def shape_before(operand: str, view: str, kind: str) -> str:
    """The shape in which a constant operand of a view that drops dimensions of size 1 is one of the tensor before."""
    found, places, before = parse_kind(operand), _places(view, kind), _shape(kind)
    if found is None or not found.is_static or places is None or before is None:
        return DECLINED
    sizes = found.sizes({})
    if len(sizes) > len(places):
        return DECLINED
    made = [1] * len(before)
    for size, place in zip(sizes, places[len(places) - len(sizes) :], strict=True):
        if size != 1 and (place < 0 or before[place] != size):
            return DECLINED
        if size != 1:
            made[place] = size
    return integers(made)


@text_function
def pads_before(known: str, view: str, kind: str) -> str:
    """The amounts of a Pad of a view that drops dimensions of size 1, for what it is a view of."""
    value, places, before = parse_known(known), _places(view, kind), _shape(kind)
    if value is None or not value.is_fixed or places is None or before is None:
        return DECLINED
    rank, amounts = len(places), [int(amount) for amount in value.values]
    if len(amounts) != 2 * rank:
        return DECLINED
    made = [0] * (2 * len(before))
    for axis, place in enumerate(places):
        begin, end = amounts[axis], amounts[rank + axis]
        if place < 0 and (begin or end):
            return DECLINED
        if place >= 0:
            made[place], made[len(before) + place] = begin, end
    return integers(made)
