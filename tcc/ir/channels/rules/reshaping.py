"""Operators that regroup axes: each axis is a product of factors, in row-major order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from tcc.ir.channels.links import Factors, Link, MismatchError, Operand, tied
from tcc.ir.channels.resizing import Resizing
from tcc.ir.channels.rule import Rule
from tcc.ir.channels.site import Site


def _regrouped(site: Site) -> list[Link]:
    """Common factors of the axes before and after, one block of equal products at a time.

    A block whose sizes divide each other in no chain ([3, 4] to [2, 6]) has no common factors and cannot be followed.
    """
    before, after = site.shape(), site.shape_out()
    if before is None or after is None:
        raise MismatchError("its sizes are not known")
    sizes: dict[str, int] = {}
    left: list[Factors | None] = []
    right: list[Factors | None] = []
    for a, b in _blocks(before, after):
        made = _factors(a, b, sizes)
        left += [None] * len(a) if made is None else made[0]
        right += [None] * len(b) if made is None else made[1]
    operands: list[Operand] = [(0, left), (~0, right)]
    return tied(site, operands, sizes)


def _blocks(before: tuple[int, ...], after: tuple[int, ...]) -> Iterator[tuple[list[int], list[int]]]:
    """The shortest runs of axes with equal products; axes of size 1 stand alone."""
    i = j = 0
    while i < len(before) or j < len(after):
        a, b = list(before[i : i + 1]), list(after[j : j + 1])
        while math.prod(a) != math.prod(b):
            shorter, whole, at = (a, before, i) if math.prod(a) < math.prod(b) else (b, after, j)
            if at + len(shorter) >= len(whole):
                break
            shorter.append(whole[at + len(shorter)])
        if math.prod(a) != math.prod(b):
            # One side is at its end: what is left of the other is of size 1, or the sizes are wrong.
            raise MismatchError("its sizes have different products")
        yield a, b
        i, j = i + len(a), j + len(b)


def _factors(a: list[int], b: list[int], sizes: dict[str, int]) -> tuple[list[Factors], list[Factors]] | None:
    """Names of the common factors of each axis of two runs of equal product, entered into ``sizes``."""
    cuts = sorted({1, *_strides(a), *_strides(b)})
    if any(large % small for small, large in itertools.pairwise(cuts)):
        return None
    names: dict[int, str] = {}
    for small, large in itertools.pairwise(cuts):
        names[small] = f"f{len(sizes)}"
        sizes[names[small]] = large // small
    return tuple([_axis(inner, size, names) for inner, size in _inner(side)] for side in (a, b))  # type: ignore[return-value]


def _strides(sizes: list[int]) -> list[int]:
    return [math.prod(sizes[i:]) for i in range(len(sizes))]


def _inner(sizes: list[int]) -> list[tuple[int, int]]:
    return [(math.prod(sizes[i + 1 :]), size) for i, size in enumerate(sizes)]


def _axis(inner: int, size: int, names: dict[int, str]) -> Factors:
    return tuple(names[cut] for cut in sorted(names, reverse=True) if inner <= cut < inner * size)


def _expanded(site: Site) -> list[Link]:
    """Axes that keep their size are the input's; the others are made here."""
    rank = len(site.shape_out() or ())
    own = len(site.shape() or ())
    axes: list[Factors] = [(f"a{i}",) for i in range(rank)]
    return tied(site, [(0, axes[rank - own :]), (~0, axes)])


def _rescale(resizing: Resizing) -> None:
    resizing.rescale(1)


RULES = {
    "Reshape": Rule(_regrouped, _rescale),
    "Flatten": Rule(_regrouped),
    "Squeeze": Rule(_regrouped),
    "Unsqueeze": Rule(_regrouped),
    "Expand": Rule(_expanded, _rescale),
}
