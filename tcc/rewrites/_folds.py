"""Shapes of tensors whose leading dimensions are put together or taken apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcc.ir import attributes
from tcc.ir import sizes as sums
from tcc.ir.facts import integers, parse_kind, permutation
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.sizes import Size
from tcc.ir.types import Dimension, TensorType
from tcc.rewrites._conditions import reshape_target

_RANK, _SINGLE = 4, "float32"
Shape = Sequence[Size]


def _known(text: str, dtype: str = "") -> tuple[Size, ...] | None:
    """The sizes of a type, numbers or symbols; None where one of them is neither or the type is another."""
    kind = parse_kind(text)
    if kind is None or kind.shape is None or (dtype and kind.dtype != dtype):
        return None
    sizes = tuple(size for size in kind.shape if size is not None)
    return sizes if len(sizes) == len(kind.shape) else None


def _is_four(outer: str, inner: str) -> tuple[tuple[Size, ...], tuple[Size, ...]] | None:
    """The sizes of a view of another rank and of what it views, which has four dimensions and the same last one."""
    a, b = _known(outer), _known(inner)
    if a is None or b is None or len(b) != _RANK or len(a) == _RANK or len(a) < 3 or a[-1] != b[-1]:
        return None
    return a, b


@condition
def keeps_last(outer: str, inner: str) -> bool:
    """A view of another rank has the last size of the four that it views."""
    return _is_four(outer, inner) is not None


@condition
def keeps_matrices(outer: str, inner: str) -> bool:
    """A view of another rank has the last two sizes of the four that it views."""
    found = _is_four(outer, inner)
    return found is not None and found[0][-2] == found[1][-2]


@condition
def share_leading(a: str, b: str) -> bool:
    """Two tensors have the same dimensions before the last two."""
    first, second = _known(a), _known(b)
    return first is not None and second is not None and first[:-2] == second[:-2]


@condition
def exchanges_matrices(permutation_key: str, kind: str) -> bool:
    """A transposition exchanges the last two axes and leaves the others."""
    order = permutation(permutation_key, kind)
    return order is not None and list(order) == [*range(len(order) - 2), len(order) - 1, len(order) - 2]


def _groups(before: Shape, after: Shape) -> Iterator[tuple[range, range]]:
    """Runs of axes of two shapes of the same elements that hold the same number of them, as short as can be.

    Raises:
        ValueError: if the shapes do not fall into such runs.
    """
    i = j = 0
    while i < len(before) or j < len(after):
        first, second = i, j
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while sums.product(*before[first:i]) != sums.product(*after[second:j]):
            if len(before) - i < len(after) - j and j < len(after):
                j += 1
            elif i < len(before):
                i += 1
            else:
                raise ValueError
        yield range(first, i), range(second, j)


def _moved(sizes: Shape, before: Shape, after: Shape) -> list[Size] | None:
    """The shape under which what broadcasts to ``before`` broadcasts to ``after``, with its elements in order."""
    full = (*[1] * (len(before) - len(sizes)), *sizes)
    found: list[Size] = []
    try:
        for old, new in _groups(before, after):
            own, whole = [full[i] for i in old], [before[i] for i in old]
            if own == whole:
                found += [after[j] for j in new]
            elif all(size == 1 for size in own):
                found += [1] * len(new)
            else:
                return None
    except ValueError:
        return None
    return found


def _under_view(operand: str, before: str, after: str) -> list[Size] | None:
    sizes, old, new = _known(operand, _SINGLE), _known(before, _SINGLE), _known(after, _SINGLE)
    if sizes is None or old is None or new is None or len(sizes) > len(old) or len(old) == len(new):
        return None
    return _moved(sizes, old, new) if len(new) == _RANK else None


@text_function
def moved_shape(operand: str, before: str, after: str) -> str:
    """The shape of an operand of a sum under the view that takes the sum to four dimensions, if it is numbers only."""
    found = _under_view(operand, before, after)
    numbers = [size for size in found or () if isinstance(size, int)]
    return integers(numbers) if found is not None and len(numbers) == len(found) else DECLINED


@text_function
def moved_size(axis: int, operand: str, before: str, after: str) -> str:
    """One size of that shape, if one of its sizes is no number."""
    found = _under_view(operand, before, after)
    return str(found[axis]) if found is not None and any(map(sums.is_symbolic, found)) else DECLINED


@text_function
def of_both(first: str, second: str, whole: str, after: str) -> str:
    """The target of the view of a sum of two tensors, neither of which has the sum's shape, which is ``whole``."""
    a, b, sizes = _known(first, _SINGLE), _known(second, _SINGLE), _known(whole, _SINGLE)
    if a is None or b is None or sizes is None or not len(a) == len(b) == len(sizes) or sizes in {a, b}:
        return DECLINED
    meets = all({x, y} in ({size}, {1, size}) for x, y, size in zip(a, b, sizes, strict=True))
    return _target(after, whole) if meets else DECLINED


def _folded(sizes: Shape) -> tuple[Size, ...] | None:
    """Four dimensions for three, the heads one; or for more, all dimensions after the first put together."""
    if len(sizes) == _RANK - 1:
        return (sizes[0], 1, *sizes[1:])
    heads = sums.product(*sizes[1:-2])
    return None if len(sizes) <= _RANK or heads is None else (sizes[0], heads, *sizes[-2:])


def _text(sizes: Sequence[Dimension] | None) -> str:
    return "" if sizes is None else str(TensorType(_SINGLE, tuple(sizes)))


@text_function
def folded(kind: str) -> str:
    """The type of queries, keys or values of another rank than four, in four dimensions."""
    sizes = _known(kind, _SINGLE)
    return DECLINED if sizes is None or len(sizes) < _RANK - 1 else _text(_folded(sizes))


@text_function
def folding(kind: str) -> str:
    """The target of a Reshape to that type."""
    sizes = _known(kind, _SINGLE)
    folded_sizes = None if sizes is None or len(sizes) < _RANK - 1 else _folded(sizes)
    return DECLINED if folded_sizes is None else _target(_text(folded_sizes), kind)


@text_function
def unfolding(kind: str) -> str:
    """The target of a Reshape from that type."""
    sizes = _known(kind, _SINGLE)
    folded_sizes = None if sizes is None or len(sizes) < _RANK - 1 else _folded(sizes)
    return DECLINED if folded_sizes is None else _target(kind, _text(folded_sizes))


def _target(after: str, before: str) -> str:
    found: str = reshape_target.__wrapped__(after, before)  # type: ignore[attr-defined]
    return found


def _folding_mask(mask: str, scores: str, *, rows: bool) -> str:
    sizes, whole = _known(mask), _known(scores, _SINGLE)
    if sizes is None or whole is None or not 2 <= len(sizes) <= len(whole) or len(whole) < _RANK - 1:
        return DECLINED
    if sizes[-1] != whole[-1] or sizes[-2] != (whole[-2] if rows else 1):
        return DECLINED
    after = _folded(whole)
    found = None if after is None else _moved(sizes, whole, after)
    return DECLINED if found is None else _target(_text(found), mask)


@text_function
def folding_mask(mask: str, scores: str) -> str:
    """The target of a Reshape of what is added to scores of another rank, to be added to them in four dimensions."""
    return _folding_mask(mask, scores, rows=True)


@text_function
def folding_row(mask: str, scores: str) -> str:
    """The same for what is the same for all queries."""
    return _folding_mask(mask, scores, rows=False)


@text_function
def rows_of(scores: str) -> str:
    """The shape that repeats such a mask for every query, where their number is known and not one."""
    whole = _known(scores, _SINGLE)
    if whole is None or not isinstance(whole[-2], int) or whole[-2] == 1:
        return DECLINED
    return integers([1, 1, whole[-2], 1])


@condition
def softmax_is_last(attribute_key: str, kind: str) -> bool:
    """A Softmax runs over the last axis."""
    sizes = _known(kind)
    return sizes is not None and attributes.parse(attribute_key).get("axis", -1) in {-1, len(sizes) - 1}


@text_function
def softmax_of_rows(attribute_key: str, kind: str) -> str:
    """The attributes of a Softmax over the last axis, for one over the axis before it."""
    sizes, options = _known(kind), attributes.parse(attribute_key)
    if sizes is None or len(sizes) < 2 or options.get("axis", -1) not in {-2, len(sizes) - 2}:
        return DECLINED
    return attributes.key_of({name: value for name, value in options.items() if name != "axis"})


@condition
def scales_rows(scale: str, scores: str) -> bool:
    """A factor is the same along the last two dimensions, and widens no other."""
    sizes, whole = _known(scale, _SINGLE), _known(scores, _SINGLE)
    if sizes is None or whole is None or len(sizes) > len(whole):
        return False
    full = (*[1] * (len(whole) - len(sizes)), *sizes)
    return full[-2:] == (1, 1) and all(a in {1, b} for a, b in zip(full, whole, strict=True))
