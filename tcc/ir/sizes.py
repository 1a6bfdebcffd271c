"""Sizes that are sums and products of symbols, written so that equal ones have one text: ``4*batch``, ``past+seq``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote

AT_MOST = "^"
"""Between a symbol and a number: the smaller of the two, which is what a Slice to the symbol's size leaves."""
_PLUS, _TIMES = "+", "*"
RESERVED = _PLUS + _TIMES + AT_MOST
"""What no symbol's own text holds, so that a size is never taken for a symbol of that name."""
_MOST_TERMS = 6

Size = int | str
Terms = dict[tuple[str, ...], int]
"""Coefficients by monomial, a monomial as its symbols in order; the constant's is empty."""


@lru_cache(maxsize=65536)
def _terms(size: Size) -> Terms:
    if isinstance(size, int):
        return {(): size} if size else {}
    found: Counter[tuple[str, ...]] = Counter()
    for part in size.split(_PLUS):
        factors = part.split(_TIMES)
        number = math.prod(int(f) for f in factors if _is_number(f))
        found[tuple(sorted(f for f in factors if not _is_number(f)))] += number
    return dict(found)


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _written(terms: Mapping[tuple[str, ...], int]) -> Size | None:
    left = {symbols: number for symbols, number in terms.items() if number}
    if not left.keys() - {()}:
        return left.get((), 0)
    if len(left) > _MOST_TERMS:
        return None
    rows = sorted(left.items(), key=lambda row: (-len(row[0]), row[0]))
    return _PLUS.join(_TIMES.join((*([str(n)] if n != 1 or not symbols else []), *symbols)) for symbols, n in rows)


def total(*sizes: Size) -> Size | None:
    """The sum of sizes; None where it is too long to be written."""
    found: Counter[tuple[str, ...]] = Counter()
    for size in sizes:
        for symbols, number in _terms(size).items():
            found[symbols] += number
    return _written(found)


def difference(a: Size, b: Size) -> Size | None:
    """The first size less the second."""
    found = Counter(_terms(a))
    for symbols, number in _terms(b).items():
        found[symbols] -= number
    return _written(found)


def product(*sizes: Size) -> Size | None:
    """The product of sizes; None where it is too long to be written."""
    found: Terms = {(): 1}
    for size in sizes:
        found = _multiplied(found, _terms(size))
    return _written(found)


def _multiplied(a: Terms, b: Terms) -> Terms:
    found: Counter[tuple[str, ...]] = Counter()
    for left, m in a.items():
        for right, n in b.items():
            found[tuple(sorted((*left, *right)))] += m * n
    return dict(found)


def quotient(a: Size, b: Size) -> Size | None:
    """The first size divided by a second of one term, where that leaves nothing over."""
    divisor = _terms(b)
    if len(divisor) != 1:
        return None
    ((symbols, number),) = divisor.items()
    found: Terms = {}
    for own, n in _terms(a).items():
        if number <= 0 or n % number or Counter(symbols) - Counter(own):
            return None
        found[tuple(sorted((Counter(own) - Counter(symbols)).elements()))] = n // number
    return _written(found)


def never_negative(size: Size) -> bool:
    """A size is at least 0 whatever its symbols are: none of them is negative."""
    return all(number >= 0 for number in _terms(size).values())


def never_zero(size: Size) -> bool:
    """A size is at least 1 whatever its symbols are."""
    return never_negative(size) and _terms(size).get((), 0) > 0


def is_symbolic(size: Size) -> bool:
    """A size depends on a symbol."""
    return isinstance(size, str)


def evaluated(size: str, symbols: Mapping[str, int], default: int) -> int:
    """A size's number under these sizes of symbols, by the names that the model gives them."""
    if (found := symbols.get(size)) is not None:
        return found
    whole = 0
    for names, number in _terms(size).items():
        whole += number * math.prod(_symbol(name, symbols, default) for name in names)
    return max(whole, 0)


def _symbol(name: str, symbols: Mapping[str, int], default: int) -> int:
    own, _, most = name.partition(AT_MOST)
    found = symbols.get(own, symbols.get(unquote(own), default))
    return min(found, int(most)) if _is_number(most) else found
