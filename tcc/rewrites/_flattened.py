"""Shapes of products of flattened rows: what a view after the product makes of them."""

from __future__ import annotations

import math

from tcc.ir.facts import integers, parse_kind
from tcc.ir.host import DECLINED, condition, text_function


@condition
def restores_rows(after: str, before: str, weight: str) -> bool:
    """A product of flattened rows with a matrix, in this shape, is that of the rows as they were before."""
    made, given, matrix = parse_kind(after), parse_kind(before), parse_kind(weight)
    if made is None or made.shape is None or given is None or given.shape is None or matrix is None:
        return False
    if matrix.shape is None or len(matrix.shape) != 2 or len(made.shape) != len(given.shape) or len(made.shape) < 3:
        return False
    sizes = *made.shape[:-1], *given.shape[:-1], *matrix.shape
    if None in sizes or made.shape[:-1] != given.shape[:-1]:
        return False
    return (given.shape[-1], made.shape[-1]) == matrix.shape


@condition
def flattens_rows(after: str, before: str) -> bool:
    """A matrix holds the rows of a tensor of three dimensions or more."""
    made, given = parse_kind(after), parse_kind(before)
    if made is None or made.shape is None or given is None or given.shape is None:
        return False
    last = given.shape[-1] if given.shape else None
    return len(made.shape) == 2 and len(given.shape) > 2 and isinstance(last, int) and made.shape[1] == last


@text_function
def column(operand: str, view: str, kind: str) -> str:
    """The shape of a constant that spans the last dimensions of a view, which are the last one of what it views."""
    found, after, before = parse_kind(operand), parse_kind(view), parse_kind(kind)
    if found is None or not found.is_static or after is None or after.shape is None or before is None:
        return DECLINED
    if not before.shape or len(before.shape) >= len(after.shape):
        return DECLINED
    sizes = found.sizes({})
    while sizes and sizes[0] == 1:
        sizes = sizes[1:]
    if not sizes or after.shape[-len(sizes) :] != sizes or math.prod(sizes) != before.shape[-1]:
        return DECLINED
    return integers([math.prod(sizes)])
