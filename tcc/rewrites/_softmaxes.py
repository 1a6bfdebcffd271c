"""Axes of softmaxes that are written out, and what bounds their exponents."""

from __future__ import annotations

from tcc.ir import attributes
from tcc.ir.facts import parse_kind
from tcc.ir.host import DECLINED, condition, text_function
from tcc.rewrites._normalized import reduced
from tcc.rewrites._numbers import scalar_of

_TYPES = frozenset({"float32", "float64"})
"""Types whose exponentials of up to 60, summed over any axis, are finite, and of as much below 0 are numbers."""
_LARGEST = 60.0


def _axis(kind: str, reduction: str, axes: str) -> tuple[int, int] | None:
    found = parse_kind(kind)
    if found is None or found.rank is None or found.dtype not in _TYPES:
        return None
    over = reduced(reduction, axes, found)
    return (over[0], found.rank) if over is not None and len(over) == 1 else None


@text_function
def axis(kind: str, reduction: str, axes: str) -> str:
    """The attributes of the Softmax over the one axis that a reduction of ``kind`` runs over."""
    found = _axis(kind, reduction, axes)
    if found is None:
        return DECLINED
    return attributes.key_of({} if found[0] == found[1] - 1 else {"axis": found[0]})


@text_function
def last_axis(kind: str, reduction: str, axes: str) -> str:
    """The same, for the last axis only and counted from the front, as it had to be before opset 11."""
    found = _axis(kind, reduction, axes)
    return DECLINED if found is None or found[0] != found[1] - 1 else attributes.key_of({"axis": found[0]})


@condition
def are_small(low: str, high: str) -> bool:
    """Both bounds are known, and neither is far from 0."""
    bounds = scalar_of(low), scalar_of(high)
    return all(bound is not None and abs(bound) <= _LARGEST for bound in bounds)


@condition
def is_along(kind: str, reduction: str, axes: str, attribute_key: str) -> bool:
    """A reduction of ``kind`` that keeps its dimensions runs over the axis of this Softmax, among others maybe."""
    found = parse_kind(kind)
    if found is None or found.rank is None:
        return False
    over = reduced(reduction, axes, found)
    return over is not None and attributes.parse(attribute_key).get("axis", -1) % found.rank in over
