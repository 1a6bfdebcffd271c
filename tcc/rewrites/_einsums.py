"""Reads the equations of Einsum."""

from __future__ import annotations

import math
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tcc.ir import attributes
from tcc.ir.facts import integers, parse_kind
from tcc.ir.host import DECLINED, text_function
from tcc.ir.types import Dimension

_FLOATS = frozenset({"float32", "float64", "float16", "bfloat16"})


@dataclass(frozen=True)
class _Equation:
    """Terms and result, one letter a dimension, and the letters' sizes."""

    terms: tuple[str, ...]
    result: str
    sizes: Mapping[str, Dimension]


def _read(attribute_key: str, *kinds: str) -> _Equation | None:
    """An equation without repeated letters and without sizes of 1 that stand for others; None for any other."""
    found = [parse_kind(kind) for kind in kinds]
    shapes = [kind.shape for kind in found if kind is not None and kind.shape is not None and kind.dtype in _FLOATS]
    written = str(attributes.parse(attribute_key)["equation"]).replace(" ", "")
    left, arrow, result = written.partition("->")
    terms = left.split(",")
    if not len(terms) == len(kinds) == len(shapes) or not arrow:
        return None
    spelled = _spelled(terms, result, shapes)
    if spelled is None:
        return None
    terms, result = spelled
    sizes: dict[str, Dimension] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(set(term)) != len(term) or len(term) != len(shape):
            return None
        for letter, size in zip(term, shape, strict=True):
            if size is None or sizes.setdefault(letter, size) != size:
                return None
    is_plain = len(set(result)) == len(result) and set(result) <= sizes.keys()
    return _Equation(tuple(terms), result, sizes) if is_plain else None


def _spelled(
    terms: Sequence[str], result: str, shapes: Sequence[tuple[Dimension, ...]]
) -> tuple[list[str], str] | None:
    """The same with letters in the place of dots; None where not all dots stand for as many dimensions."""
    counts = {len(shape) - len(term) + 3 for term, shape in zip(terms, shapes, strict=True) if "..." in term}
    if not counts:
        return list(terms), result
    used = set("".join(terms))
    letters = [letter for letter in string.ascii_letters if letter not in used]
    if len(counts) > 1 or not 0 <= (count := counts.pop()) <= len(letters):
        return None
    dots = "".join(letters[:count])
    return [term.replace("...", dots) for term in terms], result.replace("...", dots)


@dataclass(frozen=True)
class _Product:
    """The letters of two operands by where they stand: in all three, in both operands, in one of them."""

    equation: _Equation
    batch: str
    summed: str
    left: str
    right: str


def _product(attribute_key: str, first: str, second: str) -> _Product | None:
    found = _read(attribute_key, first, second)
    if found is None:
        return None
    x, y = found.terms
    summed = "".join(letter for letter in x if letter in y and letter not in found.result)
    if (set(x) ^ set(y)) - set(found.result):
        return None
    batch, left, right = (
        "".join(letter for letter in found.result if letter in among)
        for among in (set(x) & set(y), set(x) - set(y), set(y) - set(x))
    )
    return _Product(found, batch, summed, left, right)


def _order(source: str, wanted: str) -> str:
    return attributes.key_of({"perm": [source.index(letter) for letter in wanted]})


def _target(before: str, groups: Iterable[str], sizes: Mapping[str, Dimension]) -> str:
    """The Reshape's target that makes one dimension of each group of letters; ``before`` is what stands there."""
    target: list[int] = []
    for group in groups:
        at = len(target)
        if all(isinstance(sizes[letter], int) for letter in group):
            target.append(math.prod(int(sizes[letter] or 0) for letter in group))
        else:
            target.append(0 if group == before[at : at + 1] else -1)
    is_empty = any(sizes[letter] == 0 for letter in before)
    return DECLINED if target.count(-1) > 1 or is_empty else integers(target)


@text_function
def matmul(part: int, attribute_key: str, first: str, second: str) -> str:
    """A step of a sum of products over two operands as a product of stacks of matrices.

    Args:
        part: 0 and 1 are the first operand's order and shape, 2 and 3 the second one's, 4 and 5 the result's.
        attribute_key: Einsum's attributes.
        first, second: the operands' types.
    """
    found = _product(attribute_key, first, second)
    if found is None or not found.summed:
        return DECLINED
    (x, y), sizes = found.equation.terms, found.equation.sizes
    rows, columns = found.batch + found.left + found.summed, found.batch + found.summed + found.right
    made = found.batch + found.left + found.right
    stacked = [*found.batch, found.left, found.right]
    if part in {0, 2}:
        return _order(x, rows) if part == 0 else _order(y, columns)
    if part == 1:
        return _target(rows, [*found.batch, found.left, found.summed], sizes)
    if part == 3:
        return _target(columns, [*found.batch, found.summed, found.right], sizes)
    if part == 5:
        return _order(made, found.equation.result)
    between = [letters if len(letters) == 1 else "" for letters in stacked]
    return _target_of(made, between, sizes)


def _target_of(made: str, between: Sequence[str], sizes: Mapping[str, Dimension]) -> str:
    """The Reshape's target that gives each letter its own dimension again."""
    target: list[int] = []
    for at, letter in enumerate(made):
        size = sizes[letter]
        same = at < len(between) and between[at] == letter
        target.append(size if isinstance(size, int) else 0 if same else -1)
    return DECLINED if target.count(-1) > 1 else integers(target)


@text_function
def mul(part: int, attribute_key: str, first: str, second: str) -> str:
    """A step of a product without a sum: the operands' orders and shapes as for ``matmul``; 4 is the result's order."""
    found = _product(attribute_key, first, second)
    if found is None or found.summed:
        return DECLINED
    (x, y), sizes = found.equation.terms, found.equation.sizes
    made = found.batch + found.left + found.right
    own = found.batch + found.left, found.batch + found.right
    if part == 4:
        return _order(made, found.equation.result)
    term, letters = ((x, own[0]), (y, own[1]))[part // 2]
    if part % 2 == 0:
        return _order(term, letters)
    target: list[int] = []
    for at, letter in enumerate(made):
        size = sizes[letter]
        if letter not in letters:
            target.append(1)
        elif isinstance(size, int):
            target.append(size)
        else:
            target.append(0 if letters[at : at + 1] == letter else -1)
    return DECLINED if target.count(-1) > 1 or 0 in sizes.values() else integers(target)


@text_function
def moved(part: int, attribute_key: str, kind: str) -> str:
    """The order of a transposition (``part`` 0), or the axes of a sum (1) and the order of what is left of it (2)."""
    found = _read(attribute_key, kind)
    if found is None:
        return DECLINED
    (term,) = found.terms
    left = "".join(letter for letter in term if letter in found.result)
    if (left == term) != (part == 0):
        return DECLINED
    return integers([i for i, x in enumerate(term) if x not in left]) if part == 1 else _order(left, found.result)
