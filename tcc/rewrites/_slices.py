"""Conditions and computed inputs of rules on Slice and Pad."""

from __future__ import annotations

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
    """Starts, ends, axes or steps (``part`` 0 to 3) of the Slice that does what two on different axes do."""
    inner, outer = _ranges(kind, s1, e1, c1, p1), _ranges(kind, s2, e2, c2, p2)
    if inner is None or outer is None or inner.keys() & outer.keys():
        return DECLINED
    both = dict(sorted({**inner, **outer}.items()))
    columns = [[row[i] for row in both.values()] for i in range(3)]
    return integers([columns[0], columns[1], list(both), columns[2]][part])


@condition
def pads_nothing(attribute_key: str, pads: str) -> bool:
    """A Pad adds no element on any side."""
    known = parse_known(pads)
    amounts = attributes.parse(attribute_key).get("pads") or (known.values if known else None)
    return amounts is not None and all(amount == 0 for amount in amounts)
