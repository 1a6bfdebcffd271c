"""Computed values of rules on shape arithmetic, symbolic sizes included."""

from __future__ import annotations

from tcc.ir import attributes
from tcc.ir import sizes as sums
from tcc.ir.facts import Known, integers, parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.sizes import Size
from tcc.ir.symbolic import size_of
from tcc.ir.types import Dimension

_MAXIMUM = 2**31 - 1


def _shape(kind: str, shape_attributes: str) -> tuple[Dimension, ...] | None:
    found = parse_kind(kind)
    if found is None or found.shape is None:
        return None
    options = attributes.parse(shape_attributes)
    return found.shape[slice(options.get("start"), options.get("end"))]


def _picked(kind: str, shape_attributes: str, indices: str) -> tuple[list[Dimension], tuple[int, ...]] | None:
    shape, known = _shape(kind, shape_attributes), parse_known(indices)
    if shape is None or known is None or not known.is_fixed:
        return None
    at = [int(i) for i in known.values]
    return ([shape[i] for i in at], known.shape) if all(-len(shape) <= i < len(shape) for i in at) else None


@text_function
def gathered_sizes(kind: str, shape_attributes: str, indices: str) -> str:
    """The sizes that a Gather picks from a Shape, where all of them are numbers."""
    picked = _picked(kind, shape_attributes, indices)
    if picked is None or not all(isinstance(size, int) for size in picked[0]):
        return DECLINED
    return Known("int64", picked[1], tuple(size for size in picked[0] if isinstance(size, int))).text()


@text_function
def gathered_symbol(kind: str, shape_attributes: str, indices: str, rank: int) -> str:
    """The symbol that a Gather picks from a Shape by one index of this rank."""
    picked = _picked(kind, shape_attributes, indices)
    if picked is None or len(picked[0]) != 1 or len(picked[1]) != rank or not isinstance(picked[0][0], str):
        return DECLINED
    return picked[0][0]


@text_function
def index_vector(indices: str) -> str:
    """A scalar index as a vector of one."""
    known = parse_known(indices)
    return integers([int(known.values[0])]) if known is not None and known.shape == () else DECLINED


@text_function
def sliced_sizes(kind: str, shape_attributes: str, starts: str, ends: str, steps: str) -> str:
    """The part of a Shape that a Slice takes, as ``Known`` text, symbols included."""
    shape, first, last = _shape(kind, shape_attributes), parse_known(starts), parse_known(ends)
    stride = parse_known(steps)
    if (
        shape is None
        or first is None
        or last is None
        or len(first.values) != 1
        or not (first.is_fixed and last.is_fixed)
    ):
        return DECLINED
    if stride is not None and stride.values != (1,):
        return DECLINED
    begin, end = int(first.values[0]), min(int(last.values[0]), _MAXIMUM)
    taken = shape[begin:end]
    if not taken or None in taken:
        return DECLINED
    return Known("int64", (len(taken),), tuple(size for size in taken if size is not None)).text()


@text_function
def chosen(left: str, right: str, then: str, otherwise: str) -> str:
    """The value of ``Where(left == right, then, otherwise)`` on shapes; a symbol is a size, so never negative."""
    values = [parse_known(text) for text in (left, right, then, otherwise)]
    if any(value is None for value in values):
        return DECLINED
    found = [value for value in values if value is not None]
    if any(value.dtype != "int64" for value in found):
        return DECLINED
    length = max(len(value.values) for value in found)
    if any(len(value.values) not in (1, length) for value in found) or any(len(value.shape) > 1 for value in found):
        return DECLINED
    rows = zip(*(value.values * (length if len(value.values) == 1 else 1) for value in found), strict=True)
    result: list[int | str] = []
    for a, b, yes, no in rows:
        equal = _equal(a, b)
        if equal is None:
            return DECLINED
        pick = yes if equal else no
        result.append(pick if isinstance(pick, str) else int(pick))
    shape = (length,) if any(value.shape for value in found) else ()
    return Known("int64", shape, tuple(result)).text()


def _equal(a: float | str, b: float | str) -> bool | None:
    if isinstance(a, str) and isinstance(b, str):
        return True if a == b else None
    if isinstance(a, str) or isinstance(b, str):
        number, size = (b, a) if isinstance(a, str) else (a, b)
        never = isinstance(size, str) and sums.never_negative(size)
        return False if never and isinstance(number, (int, float)) and number < 0 else None
    return a == b


@text_function
def element(known: str, index: int, length: int) -> str:
    """One entry of a one-dimensional shape of this length that has a symbolic entry."""
    value = parse_known(known)
    if value is None or value.is_fixed or value.shape != (length,) or value.dtype != "int64":
        return DECLINED
    return str(value.values[index])


@condition
def is_symbol(text: str) -> bool:
    """An entry of a shape is a symbol, not a number."""
    return not text.lstrip("-").isdigit()


@text_function
def number(text: str) -> str:
    """A number as a tensor of one element."""
    return integers([int(text)]) if text.lstrip("-").isdigit() else DECLINED


@condition
def is_vector_of_one(kind: str) -> bool:
    """The type is ``int64[1]``."""
    return kind == "int64[1]"


@condition
def is_integer_scalar(kind: str) -> bool:
    """The type is ``int64[]``."""
    return kind == "int64[]"


@text_function
def computed(operator: str, first: str, second: str) -> str:
    """The result of integer arithmetic on two known values, one of them a scalar or both of one shape."""
    a, b = parse_known(first), parse_known(second)
    if a is None or b is None or a.dtype != "int64" or b.dtype != "int64":
        return DECLINED
    if (a.shape != b.shape and a.shape and b.shape) or max(len(a.shape), len(b.shape)) > 1:
        return DECLINED
    length = max(len(a.values), len(b.values))
    pairs = zip(*(v.values * (length if not v.shape else 1) for v in (a, b)), strict=True)
    results = [_combined(operator, size_of(x), size_of(y)) for x, y in pairs]
    fits = all(result is not None and (isinstance(result, str) or abs(result) <= _MAXIMUM) for result in results)
    shape = a.shape or b.shape
    return Known("int64", shape, tuple(r for r in results if r is not None)).text() if fits else DECLINED


def _combined(operator: str, x: Size, y: Size) -> Size | None:
    """The result; None for a quotient that is not that of positive integers, which runtimes round differently."""
    if operator != "/":
        return sums.product(x, y) if operator == "*" else sums.total(x, y) if operator == "+" else sums.difference(x, y)
    if isinstance(x, int) and isinstance(y, int):
        return x // y if x >= 0 and y > 0 else None
    # A divisor that may be 0 is none in a program that runs.
    return sums.quotient(x, y)


@text_function
def multiplied(value: str, attribute_key: str) -> str:
    """The product of the entries of a known shape, as a vector of one or a scalar: it has one axis, over which."""
    found = parse_known(value)
    if found is None or found.dtype != "int64" or len(found.shape) != 1 or not found.values:
        return DECLINED
    result = sums.product(*map(size_of, found.values))
    if result is None or (isinstance(result, int) and abs(result) > _MAXIMUM):
        return DECLINED
    options = attributes.parse(attribute_key)
    if options.get("noop_with_empty_axes", 0):
        return DECLINED
    return Known("int64", (1,) * bool(options.get("keepdims", 1)), (result,)).text()


@text_function
def viewed(value: str, kind: str) -> str:
    """A known integer of one element under the shape of this type."""
    found, after = parse_known(value), parse_kind(kind)
    if found is None or after is None or found.dtype != "int64" or len(found.values) != 1:
        return DECLINED
    if not after.is_static or after.dtype != "int64":
        return DECLINED
    return Known("int64", after.sizes({}), found.values).text()


@text_function
def symbolic(value: str, rank: int) -> str:
    """The size, not a number, that a known integer of one element and of this rank is."""
    found = parse_known(value)
    if found is None or found.dtype != "int64" or found.shape != (1,) * rank or len(found.values) != 1:
        return DECLINED
    return found.values[0] if isinstance(found.values[0], str) else DECLINED
