"""Attributes, masks and head counts of scaled dot-product attention."""

from __future__ import annotations

import math

from tcc.ir import attributes
from tcc.ir.facts import integers, parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.symbolic import meets
from tcc.ir.types import Dimension, TensorType
from tcc.rewrites._numbers import scalar_of

HIDDEN = -1e4
"""A finite number up to this one, in place of a score, hides it: its exponential is 0 beside any other score's."""
LEAST_SCALE = 1e-2
"""A mask's number that hides a score hides one that is scaled by this, scaled itself."""
LARGEST = 1e30
LONGEST = 1024
"""Products that a score sums up, at most: no head of queries and keys is as wide."""
_SINGLE, _RANK = "float32", 4


def _single(text: str, rank: int = _RANK) -> tuple[Dimension, ...] | None:
    kind = parse_kind(text)
    if kind is None or kind.dtype != _SINGLE or kind.shape is None or len(kind.shape) != rank:
        return None
    return kind.shape


def _same(a: Dimension, b: Dimension) -> bool:
    return a is not None and a == b


@text_function
def attributes_of(query: str, keys: str, values: str, softmax: str, scale: str) -> str:
    """Attention's attributes for ``Softmax(scale Q Kt) V`` with Q, Kt and V of these types, declined where it is none.

    Batch and heads are two dimensions that all three share, or keys and values have one head that all queries share, so
    that no other thing is broadcast; softmax runs over the last.
    Declined too where a score sums up very many products, as between an image's channels: sums of thousands in another
    order differ by more than such a softmax forgives.
    """
    shapes = [_single(text) for text in (query, keys, values)]
    q, k, v = shapes
    if q is None or k is None or v is None or attributes.parse(softmax).get("axis", -1) not in {-1, _RANK - 1}:
        return DECLINED
    if not all(_same(q[0], other[0]) for other in (k, v)) or not (_same(q[1], k[1]) or k[1] == 1) or k[1] != v[1]:
        return DECLINED
    if not isinstance(q[1], int) or not isinstance(q[3], int) or not isinstance(v[3], int) or q[3] > LONGEST:
        return DECLINED
    factor = scalar_of(scale) if scale else 1.0
    return _scaled(factor) if factor is not None and 0 < factor < math.inf else DECLINED


def _scaled(factor: float) -> str:
    # The default is taken from the head size; stated, it is the same whatever the form.
    return attributes.key_of({"scale": factor})


@text_function
def rescaled(attribute_key: str, scale: str) -> str:
    """Attention's attributes with a further factor of the queries or keys in its scale."""
    options, factor = attributes.parse(attribute_key), scalar_of(scale)
    if "scale" not in options or factor is None or not 0 < factor < math.inf:
        return DECLINED
    return attributes.key_of({**options, "scale": options["scale"] * factor})


@condition
def keeps_shape(scaled: str, plain: str) -> bool:
    """A factor did not widen a tensor: the two types are the same, up to sizes that nobody knows."""
    a, b = parse_kind(scaled), parse_kind(plain)
    return a is not None and b is not None and a.rank == b.rank and a.rank is not None


@condition
def is_lowest(known: str) -> bool:
    """A known scalar is finite and beyond ``LARGEST``, as the lowest number of a type is."""
    found = scalar_of(known)
    return found is not None and -math.inf < found <= -LARGEST


@condition
def is_minus_infinity(known: str) -> bool:
    """A known scalar is minus infinity."""
    return scalar_of(known) == -math.inf


@condition
def is_later(attribute_key: str, diagonal: str) -> bool:
    """A Trilu keeps only what is behind the diagonal, so that each row has a zero."""
    found = parse_known(diagonal)
    if not attributes.parse(attribute_key).get("upper", 1) or found is None or len(found.values) != 1:
        return False
    return isinstance(found.values[0], int) and found.values[0] >= 1


@condition
def is_factor_of_queries(factor: str, four: str, three: str) -> bool:
    """A factor is the same along heads and head size of ``[B, H, S, E]``, and ``[B, S, H E]`` is the other type."""
    sizes, whole, joined = _single(factor), _single(four), _single(three, _RANK - 1)
    if sizes is None or whole is None or joined is None or sizes[1] != 1 or sizes[3] != 1:
        return False
    return _same(whole[0], joined[0]) and _same(whole[2], joined[1])


@condition
def hides(known: str) -> bool:
    """A known scalar is finite and low enough to hide a score that it replaces."""
    found = scalar_of(known)
    return found is not None and -math.inf < found <= HIDDEN


@condition
def is_moderate(known: str) -> bool:
    """A known scalar is finite and not near the largest number."""
    found = scalar_of(known)
    return found is not None and -LARGEST < found < LARGEST


@condition
def shrinks(known: str) -> bool:
    """A known scalar is at most one, either sign."""
    found = scalar_of(known)
    return found is not None and abs(found) <= 1


@condition
def is_large_divisor(known: str) -> bool:
    """A known scalar is at least one, either sign, and finite."""
    found = scalar_of(known)
    return found is not None and 1 <= abs(found) < math.inf


@condition
def keeps_hiding(known: str) -> bool:
    """A known scalar is positive and at most one, but so large that what hid a score hides a scaled one still."""
    found = scalar_of(known)
    return found is not None and LEAST_SCALE <= found <= 1


def _fits(mask: str, scores: str) -> tuple[TensorType, tuple[Dimension, ...]] | None:
    """A mask's type and the scores' shape where the mask has their rank or less and widens no leading dimension."""
    found, whole = parse_kind(mask), _single(scores)
    if found is None or found.shape is None or whole is None or not 2 <= len(found.shape) <= _RANK:
        return None
    leading = zip(found.shape[:-2], whole[_RANK - len(found.shape) : 2], strict=True)
    if found.dtype not in {_SINGLE, "bool"} or not all(m == 1 or meets(m, s) for m, s in leading):
        return None
    return found, whole


@condition
def fits(mask: str, scores: str) -> bool:
    """A mask has the scores' last two dimensions, and 1 or theirs before: runtimes broadcast no others."""
    found = _fits(mask, scores)
    if found is None or found[0].shape is None:
        return False
    return all(meets(m, s) for m, s in zip(found[0].shape[-2:], found[1][-2:], strict=True))


def _one_row(mask: str, scores: str) -> Dimension:
    """The number of queries, for a mask that is the same for all of them."""
    found = _fits(mask, scores)
    if (
        found is None
        or found[0].shape is None
        or found[0].shape[-2] != 1
        or not meets(found[0].shape[-1], found[1][-1])
    ):
        return None
    return found[1][-2]


@text_function
def rows(mask: str, scores: str) -> str:
    """The shape that repeats such a mask for every query, where their number is known."""
    size = _one_row(mask, scores)
    return integers([1, 1, size, 1]) if isinstance(size, int) else DECLINED


@text_function
def symbolic_rows(mask: str, scores: str) -> str:
    """The symbol of the number of queries, for a mask that is the same for all of them."""
    size = _one_row(mask, scores)
    return size if isinstance(size, str) else DECLINED


def _heads(split: str, joined: str) -> int | None:
    """Heads of a ``[B, S, H, E]`` that is a view of a ``[B, S, D]``: batch and sequence are the same in both."""
    four, three = _single(split), _single(joined, _RANK - 1)
    if four is None or three is None or not isinstance(four[2], int) or not isinstance(four[3], int):
        return None
    # The elements are the same in number: where one of two sizes is the same, so is the other.
    whole = four[2] * four[3] == three[2]
    return four[2] if whole and (_same(four[0], three[0]) or _same(four[1], three[1])) else None


@text_function
def joined_heads(attribute_key: str, q4: str, q3: str, k4: str, k3: str, v4: str, v3: str, y4: str, y3: str) -> str:
    """Attention's attributes for inputs with the heads within the last dimension.

    The types are those of queries, keys, values and result, each ``[B, S, H, E]`` and then ``[B, S, H E]``.
    """
    counts = [_heads(*pair) for pair in ((q4, q3), (k4, k3), (v4, v3), (y4, y3))]
    q, k, v, y = counts
    if None in counts or k != v or q != y or q is None or k is None:
        return DECLINED
    return attributes.key_of({**attributes.parse(attribute_key), "q_num_heads": q, "kv_num_heads": k})


@condition
def swaps_heads(attribute_key: str) -> bool:
    """A Transpose exchanges the two middle dimensions of four."""
    return attributes.parse(attribute_key).get("perm") == [0, 2, 1, 3]


@condition
def repeats_heads(before: str, split: str, widened: str, after: str) -> bool:
    """``[B, H, T, E]`` becomes ``[B, H, 1, T, E]``, ``[B, H, n, T, E]`` and ``[B, H n, T, E]``: heads in groups."""
    first, last = _single(before), _single(after)
    middle, wide = _single(split, _RANK + 1), _single(widened, _RANK + 1)
    if first is None or last is None or middle is None or wide is None:
        return False
    if not all(isinstance(size, int) for size in (first[1], wide[2], last[1])):
        return False
    kept = [(0, 0), (1, 1), (2, 3), (3, 4)]
    same = all(_same(first[a], middle[b]) and _same(first[a], wide[b]) for a, b in kept)
    whole = last[1] == first[1] * wide[2]  # type: ignore[operator]
    return same and middle[2] == 1 and whole and all(_same(first[a], last[a]) for a in (0, 2, 3))
