"""Types of tensors whose shape is put together of sizes and symbols."""

from __future__ import annotations

import json

from tcc.ir import sizes as sums
from tcc.ir.facts import INVENTED, Known, parse_kind, parse_known
from tcc.ir.host import DECLINED, text_function
from tcc.ir.types import Dimension, TensorType

AT_MOST = sums.AT_MOST
BROADCAST = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mul", "Or"}
    | {"Pow", "Sub", "Where"}
)
"""Operators whose inputs are broadcast to each other; the types of imported ones follow what becomes known."""
VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators that keep the elements in their row-major order."""
_LONGEST = 8
"""Entries of the longest shape."""


@text_function
def size_of_symbol(symbol: str, rank: int) -> str:
    """The known value of the size that a symbol stands for, as a scalar (rank 0) or a vector of one."""
    return Known("int64", (1,) * rank, (symbol,)).text()


@text_function
def shape_of(kind: str, attributes: str) -> str:
    """The known value of the Shape of a tensor of this type, symbols included."""
    found, options = parse_kind(kind), json.loads(attributes)
    if found is None or found.shape is None:
        return DECLINED
    sizes = [size for size in found.shape[slice(options.get("start"), options.get("end"))] if size is not None]
    whole = len(sizes) == len(found.shape[slice(options.get("start"), options.get("end"))])
    return Known("int64", (len(sizes),), tuple(sizes)).text() if whole and 0 < len(sizes) <= _LONGEST else DECLINED


@text_function
def counted(start: str, limit: str, step: str) -> str:
    """The type of ``Range(m, m + n, 1)`` for a size n, symbols included."""
    values = [parse_known(text) for text in (start, limit, step)]
    if any(v is None or len(v.values) != 1 or v.dtype != "int64" for v in values):
        return DECLINED
    first, last, by = (size_of(v.values[0]) for v in values if v is not None)
    length = sums.difference(last, first) if by == 1 else None
    if length is None or not sums.never_negative(length):
        return DECLINED
    return str(TensorType("int64", (length,)))


def size_of(value: float | str) -> sums.Size:
    """An element of a known integer as a size."""
    return value if isinstance(value, str) else int(value)


@text_function
def sliced(kind: str, starts: str, ends: str, axes: str, steps: str) -> str:
    """The type of a Slice of one axis from 0 to a size that is a symbol."""
    before, first, last = parse_kind(kind), parse_known(starts), parse_known(ends)
    where, by = parse_known(axes), parse_known(steps)
    if before is None or before.shape is None or first is None or last is None or first.values != (0,):
        return DECLINED
    if len(last.values) != 1 or not isinstance(last.values[0], str) or (by is not None and by.values != (1,)):
        return DECLINED
    axis = where.values[0] if where is not None and len(where.values) == 1 else 0
    if isinstance(axis, str) or not -len(before.shape) <= axis < len(before.shape):
        return DECLINED
    size, symbol = before.shape[int(axis)], last.values[0]
    if size != symbol and not (isinstance(size, int) and size > 1):
        return DECLINED
    shape = list(before.shape)
    shape[int(axis)] = symbol if size == symbol else f"{symbol}{AT_MOST}{size}"
    return str(TensorType(before.dtype, tuple(shape)))


def meeting(kinds: list[TensorType | None]) -> list[TensorType | None]:
    """The types of inputs that are broadcast to each other, ``min(n, size)`` written n where it meets n.

    They are broadcast, so the two are equal or one of them is 1; n is 1 exactly where ``min(n, size)`` is, for any
    size above 1.
    """
    shapes = [None if kind is None else kind.shape for kind in kinds]
    found: list[TensorType | None] = []
    for kind in kinds:
        if kind is None or kind.shape is None or not any(AT_MOST in str(size) for size in kind.shape):
            found.append(kind)
            continue
        sizes = list(kind.shape)
        for i in range(1, len(sizes) + 1):
            size = sizes[-i]
            partners = {shape[-i] for shape in shapes if shape is not None and len(shape) >= i}
            if isinstance(size, str) and (whole := size.partition(AT_MOST)[0]) in partners:
                sizes[-i] = whole
        found.append(TensorType(kind.dtype, tuple(sizes)))
    return found


def meets(size: Dimension, other: Dimension) -> bool:
    """A size is another one with which it is broadcast, or the smaller one of that and a number."""
    return size is not None and (size == other or (isinstance(size, str) and size.startswith(f"{other}{AT_MOST}")))


@text_function
def concatenated(attributes: str, knowns: str) -> str:
    """The known value of vectors of integers put together; ``knowns`` ends each value with a bar."""
    values = [parse_known(text) for text in knowns.split("|")[:-1]]
    if json.loads(attributes).get("axis") not in {0, -1} or not values:
        return DECLINED
    found = [v for v in values if v is not None and v.dtype == "int64" and len(v.shape) == 1]
    entries = [entry for v in found for entry in v.values]
    if len(found) < len(values) or len(entries) > _LONGEST:
        return DECLINED
    return Known("int64", (len(entries),), tuple(entries)).text()


def _entries(known: str) -> list[int | str] | None:
    value = parse_known(known)
    if value is None or value.dtype != "int64" or len(value.shape) != 1:
        return None
    return [entry if isinstance(entry, str) else int(entry) for entry in value.values]


@text_function
def expanded(kind: str, shape: str) -> str:
    """The type of an Expand to this shape: a size of the shape stands unless it is 1."""
    before, target = parse_kind(kind), _entries(shape)
    if before is None or before.shape is None or target is None or any(isinstance(e, int) and e < 1 for e in target):
        return DECLINED
    rank = max(len(target), len(before.shape))
    own: list[Dimension] = [*[1] * (rank - len(before.shape)), *before.shape]
    asked: list[Dimension] = [*[1] * (rank - len(target)), *target]
    return str(TensorType(before.dtype, tuple(map(_broadcast, own, asked))))


def _broadcast(size: Dimension, asked: Dimension) -> Dimension:
    if asked in {1, size}:
        return size
    if size == 1:
        return asked
    # A size of one symbol may be 1 when the other is a number: the number stands; two symbols may be either.
    return size if isinstance(size, int) else asked if isinstance(asked, int) else None


@text_function
def reshaped(kind: str, shape: str, attributes: str) -> str:
    """The type of a Reshape to this shape, a size that is left to infer included where it follows."""
    before, target = parse_kind(kind), _entries(shape)
    if before is None or before.shape is None or target is None or json.loads(attributes).get("allowzero"):
        return DECLINED
    after: list[Dimension] = []
    for axis, entry in enumerate(target):
        if (entry == 0 and axis >= len(before.shape)) or not (entry == -1 or sums.never_negative(entry)):
            return DECLINED
        after.append(before.shape[axis] if entry == 0 else entry)
    if -1 in after:
        at = after.index(-1)
        after[at] = _left(list(before.shape), [size for i, size in enumerate(after) if i != at])
    return str(TensorType(before.dtype, tuple(after)))


def _left(all_sizes: list[Dimension], others: list[Dimension]) -> Dimension:
    """What is left of a product of sizes when others are divided out; None where that is no size."""
    known, divisors = ([size for size in sizes if size is not None] for sizes in (all_sizes, others))
    if len(known) < len(all_sizes) or len(divisors) < len(others):
        return None
    whole, divisor = sums.product(*known), sums.product(*divisors)
    return None if whole is None or divisor in {None, 0} else sums.quotient(whole, divisor or 1)


@text_function
def filled(kind: str, shape: str) -> str:
    """The type of a ConstantOfShape of this shape, its element type as it is known already."""
    before, target = parse_kind(kind), _entries(shape)
    if before is None or target is None or not all(sums.never_negative(entry) for entry in target):
        return DECLINED
    return str(TensorType(before.dtype, tuple(target)))


@text_function
def joined(attributes: str, kinds: str) -> str:
    """The type of a Concat; ``kinds`` ends each type with a bar."""
    found = [parse_kind(text) for text in kinds.split("|")[:-1]]
    shapes = [kind.shape for kind in found if kind is not None and kind.shape is not None]
    axis = json.loads(attributes)["axis"]
    if len(shapes) < len(found) or found[0] is None or not all(len(shape) == len(shapes[0]) for shape in shapes):
        return DECLINED
    # The other sizes are the same in all parts: any of them tells.
    shape = [min(sizes, key=_precision) for sizes in zip(*shapes, strict=True)]
    along = [size for part in shapes if (size := part[axis]) is not None]
    shape[axis] = sums.total(*along) if len(along) == len(shapes) else None
    return str(TensorType(found[0].dtype, tuple(shape)))


def _precision(size: Dimension) -> tuple[bool, bool, int, str]:
    return size is None, isinstance(size, str), str(size).count(INVENTED), str(size)


@text_function
def flattened(kind: str, attributes: str) -> str:
    """The type of a Flatten."""
    before = parse_kind(kind)
    if before is None or before.shape is None or None in before.shape:
        return DECLINED
    axis, sizes = json.loads(attributes).get("axis", 1), [size for size in before.shape if size is not None]
    at = axis if axis >= 0 else axis + len(sizes)
    return str(TensorType(before.dtype, (sums.product(*sizes[:at]), sums.product(*sizes[at:]))))


@text_function
def repeated(kind: str, repeats: str) -> str:
    """The type of a Tile."""
    before, times = parse_kind(kind), _entries(repeats)
    if before is None or before.shape is None or times is None or len(times) != len(before.shape):
        return DECLINED
    if not all(sums.never_negative(entry) for entry in times):
        return DECLINED
    sizes = zip(before.shape, times, strict=True)
    return str(TensorType(before.dtype, tuple(None if size is None else sums.product(size, n) for size, n in sizes)))


@text_function
def convolved(kind: str, weights: str, attributes: str) -> str:
    """The type of a Conv along whose axes a size that is a symbol stays as it is, or nothing is known of it."""
    before, kernel, options = parse_kind(kind), parse_kind(weights), json.loads(attributes)
    if before is None or before.shape is None or kernel is None or kernel.shape is None:
        return DECLINED
    spatial = len(before.shape) - 2
    if spatial < 1 or len(kernel.shape) != len(before.shape) or options.get("auto_pad", "NOTSET") != "NOTSET":
        return DECLINED
    strides, dilations = options.get("strides", [1] * spatial), options.get("dilations", [1] * spatial)
    pads = options.get("pads", [0] * (2 * spatial))
    shape: list[Dimension] = [before.shape[0], kernel.shape[0]]
    for axis, (size, width) in enumerate(zip(before.shape[2:], kernel.shape[2:], strict=True)):
        grown = pads[axis] + pads[axis + spatial] - dilations[axis] * (width - 1) if isinstance(width, int) else None
        shape.append(size if strides[axis] == 1 and grown == 0 else None)
    # Where all sizes are numbers, ONNX's own inference tells.
    return str(TensorType(before.dtype, tuple(shape))) if any(isinstance(size, str) for size in shape[2:]) else DECLINED
