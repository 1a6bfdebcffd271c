"""Conditions on scalar constants that a formula is written with, and the values of small constant expressions."""

from __future__ import annotations

import math

import numpy as np

from tcc.ir import facts
from tcc.ir.facts import parse_known
from tcc.ir.host import DECLINED, condition, text_function

_ROUNDING = {"float16": 1e-3, "float32": 1e-6, "float64": 1e-6}
"""How far a constant may lie from the formula's own, relative: exporters write double constants in single precision."""
_CORRECTLY_ROUNDED = frozenset({"float32", "float64"})


def scalar_of(known: str) -> float | None:
    """The number that a known value of one element is; None for any other."""
    value = parse_known(known)
    if value is None or len(value.values) != 1 or not value.is_fixed:
        return None
    return float(value.values[0])


@condition
def is_about(known: str, number: str) -> bool:
    """A known scalar is this number, up to the rounding of its own type."""
    value, wanted = parse_known(known), float(number)
    if value is None or len(value.values) != 1 or not value.is_fixed:
        return False
    found = float(value.values[0])
    return math.isclose(found, wanted, rel_tol=_ROUNDING.get(value.dtype, 0.0), abs_tol=0.0)


@condition
def is_positive(known: str) -> bool:
    """A known scalar is finite and larger than zero."""
    found = scalar_of(known)
    return found is not None and 0 < found < math.inf


@text_function
def reciprocal(known: str) -> str:
    """The reciprocal of a known floating-point value, rounded once."""
    value = parse_known(known)
    if value is None or value.dtype not in _CORRECTLY_ROUNDED or not value.is_fixed:
        return DECLINED
    array = value.array()
    if not array.size or not np.isfinite(array).all() or (array == 0).any():
        return DECLINED
    return facts.known_text(np.asarray(np.reciprocal(array), array.dtype))


@text_function
def negated(known: str) -> str:
    """The negative of a known floating-point value."""
    value = parse_known(known)
    if value is None or value.dtype not in _CORRECTLY_ROUNDED or not value.is_fixed:
        return DECLINED
    return facts.known_text(np.negative(value.array()))


@text_function
def one_more(known: str) -> str:
    """A known floating-point scalar and one, added with one rounding; declined where that leaves nothing."""
    value = parse_known(known)
    if value is None or value.dtype not in _CORRECTLY_ROUNDED or len(value.values) != 1 or not value.is_fixed:
        return DECLINED
    made = np.add(value.array(), np.ones((), value.dtype))
    return facts.known_text(np.asarray(made, value.dtype)) if np.isfinite(made).all() and made.any() else DECLINED


@text_function
def product(first: str, second: str) -> str:
    """The product of two known floating-point scalars of one type, rounded once."""
    a, b = parse_known(first), parse_known(second)
    if a is None or b is None or a.dtype != b.dtype or a.dtype not in _CORRECTLY_ROUNDED:
        return DECLINED
    if len(a.values) != 1 or len(b.values) != 1 or not (a.is_fixed and b.is_fixed):
        return DECLINED
    made = np.multiply(a.array(), b.array())
    return facts.known_text(np.asarray(made, a.dtype)) if np.isfinite(made).all() else DECLINED
