"""Conditions and computed inputs of rules on Slice and Pad."""

from __future__ import annotations

from dataclasses import dataclass

from tcc.ir import attributes
from tcc.ir.facts import integers, parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function

_END = 2**31 - 1
"""Exporters write an open end as this or as the largest 64-bit integer."""

Ranges = dict[int, tuple[int, int, int]]


def _ranges(kind: str, starts: str, ends: str, axes: str, steps: str) -> Ranges | None:
    """Start, end and step by axis; None where one of them is not known."""
    found = parse_kind(kind)
    first, last = parse_known(starts), parse_known(ends)
    if found is None or found.rank is None or first is None or last is None:
        return None
    where, stride = parse_known(axes), parse_known(steps)
    at = where.values if where else tuple(range(len(first.values)))
    by = stride.values if stride else (1,) * len(first.values)
    cells = [*first.values, *last.values, *at, *by]
    if any(isinstance(cell, str) for cell in cells):
        return None
    rows = zip(at, first.values, last.values, by, strict=True)
    return {int(a) % found.rank: (int(s), int(e), int(p)) for a, s, e, p in rows}


@dataclass(frozen=True)
class Bounds:
    """What a Slice takes along one axis, counted from the front: every ``step``-th element up to ``stop``.

    ``length`` is how many these are, None where the axis is symbolic: it may end before ``stop``.
    """

    start: int
    stop: int
    step: int
    length: int | None


def _bounds(size: object, start: int, end: int, step: int) -> Bounds | None:
    """The bounds on an axis of this size; None where they depend on a size that is no number, or run backwards."""
    if step < 1:
        return None
    if not isinstance(size, int):
        return Bounds(start, end if end < _END else 2**63 - 1, step, None) if min(start, end) >= 0 else None
    first, last = (min(max(at + size if at < 0 else at, 0), size) for at in (start, end))
    return Bounds(first, last, step, max(0, -((first - last) // step)))


def bounds_of(kind: str, starts: str, ends: str, axes: str, steps: str) -> dict[int, Bounds] | None:
    """The bounds by axis of a Slice of a tensor of this type; None where any of them is not known."""
    ranges, found = _ranges(kind, starts, ends, axes, steps), parse_kind(kind)
    if ranges is None or found is None or found.shape is None:
        return None
    made = {axis: _bounds(found.shape[axis], *row) for axis, row in ranges.items()}
    return {axis: bounds for axis, bounds in made.items() if bounds is not None} if None not in made.values() else None


def _within(size: object, first: tuple[int, int, int], second: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """Start, end and step of the Slice along one axis that takes the second's part of what the first takes."""
    inner = _bounds(size, *first)
    outer = None if inner is None else _bounds(inner.length, *second)
    if inner is None or outer is None or outer.length == 0:
        return None
    if outer.length is None:
        # Elements that are not adjacent end at a place that depends on the size.
        stop = min(inner.stop, inner.start + outer.stop)
        return (inner.start + outer.start, stop, outer.step) if inner.step == 1 and stop > inner.start else None
    start = inner.start + inner.step * outer.start
    return start, start + inner.step * outer.step * (outer.length - 1) + 1, inner.step * outer.step


@condition
def takes_everything(kind: str, starts: str, ends: str, axes: str, steps: str) -> bool:
    """A Slice takes each axis from its first to its last element."""
    ranges, found = _ranges(kind, starts, ends, axes, steps), parse_kind(kind)
    if ranges is None or found is None or found.shape is None:
        return False
    return all(
        s == 0 and p == 1 and (e >= _END or (isinstance(size := found.shape[axis], int) and e >= size))
        for axis, (s, e, p) in ranges.items()
    )


@text_function
def merged(part: int, kind: str, s1: str, e1: str, c1: str, p1: str, s2: str, e2: str, c2: str, p2: str) -> str:
    """Starts, ends, axes or steps (``part`` 0 to 3) of the Slice that does what two, one of the other, do."""
    inner, outer, found = _ranges(kind, s1, e1, c1, p1), _ranges(kind, s2, e2, c2, p2), parse_kind(kind)
    if inner is None or outer is None or found is None or found.shape is None:
        return DECLINED
    both = dict(sorted({**inner, **outer}.items()))
    for axis in inner.keys() & outer.keys():
        composed = _within(found.shape[axis], inner[axis], outer[axis])
        if composed is None:
            return DECLINED
        both[axis] = composed
    columns = [[row[i] for row in both.values()] for i in range(3)]
    return integers([columns[0], columns[1], list(both), columns[2]][part])


@condition
def pads_nothing(attribute_key: str, pads: str) -> bool:
    """A Pad adds no element on any side."""
    known = parse_known(pads)
    amounts = attributes.parse(attribute_key).get("pads") or (known.values if known else None)
    return amounts is not None and all(amount == 0 for amount in amounts)
