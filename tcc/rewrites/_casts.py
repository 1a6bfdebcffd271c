"""Which Casts may be left out of a chain."""

from __future__ import annotations

from tcc.ir import attributes, facts
from tcc.ir.facts import parse_kind
from tcc.ir.host import condition
from tcc.rewrites._conditions import WIDENS

_WIDTHS = {f"{sign}int{bits}": bits for sign in ("", "u") for bits in (8, 16, 32, 64)}
_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
_HALVES = frozenset({"float16", "bfloat16"})
_SMALL = frozenset({"bool", "int8", "uint8", "int16", "uint16"})
"""Types whose values single precision holds, through which runtimes turn numbers into halves."""


@condition
def may_skip(kind: str, first: str, second: str) -> bool:
    """A tensor of this type needs not take the type of the first Cast on its way to that of the second."""
    found = parse_kind(kind)
    if found is None:
        return False
    middle, last = (facts.dtype_of(attributes.parse(key)["to"]) for key in (first, second))
    source = found.dtype
    if {source, middle, last} <= _WIDTHS.keys():
        return _WIDTHS[last] <= _WIDTHS[middle] or middle in WIDENS.get(source, ())
    if middle not in WIDENS.get(source, ()):
        return False
    if last in _WIDTHS:
        return source == "bool"
    if last in _HALVES:
        return source in _SMALL or source in _FLOATS
    return last in _FLOATS or last == "bool"
