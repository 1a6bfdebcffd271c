"""Parts, angles and layouts of rotary position embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from tcc.ir import attributes, facts, structures
from tcc.ir.facts import integers, parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.symbolic import meets
from tcc.ir.types import Dimension
from tcc.rewrites._slices import bounds_of

HALVES, PAIRS = "halves", "pairs"
"""What is turned together: elements half a head apart, or neighbours."""
APART = "pairs apart"
"""Neighbours, each pair a dimension of its own."""
FIRST, SECOND = "first of ", "second of "
_SINGLE, _RANK = "float32", 4


def _sizes(text: str) -> tuple[Dimension, ...] | None:
    kind = parse_kind(text)
    if kind is None or kind.dtype != _SINGLE or kind.shape is None or None in kind.shape:
        return None
    return kind.shape


def _half(kind: str) -> tuple[int, int] | None:
    """The rank of a tensor, and half the size of its last dimension, which is even."""
    sizes = _sizes(kind)
    if not sizes or not isinstance(sizes[-1], int) or sizes[-1] % 2 or not sizes[-1]:
        return None
    return len(sizes), sizes[-1] // 2


@text_function
def part(kind: str, starts: str, ends: str, axes: str, steps: str) -> str:
    """Which of what is turned together a Slice takes of its last axis."""
    found, bounds = _half(kind), bounds_of(kind, starts, ends, axes, steps)
    if found is None or bounds is None or bounds.keys() != {found[0] - 1}:
        return DECLINED
    taken, half = bounds[found[0] - 1], found[1]
    if taken.length != half:
        return DECLINED
    known = {(0, 1): FIRST + HALVES, (half, 1): SECOND + HALVES, (0, 2): FIRST + PAIRS, (1, 2): SECOND + PAIRS}
    return known.get((taken.start, taken.step), DECLINED)


@text_function
def split_part(index: int, attribute_key: str, kind: str, part_kind: str) -> str:
    """Which half of its last axis is a part of a Split in two."""
    found, own, options = _half(kind), _sizes(part_kind), attributes.parse(attribute_key)
    if found is None or own is None or options.get(facts.OUTPUTS_MARK) != 2:
        return DECLINED
    is_half = int(options.get("axis", 0)) % found[0] == found[0] - 1 and own[-1] == found[1]
    return (FIRST, SECOND)[index] + HALVES if is_half else DECLINED


def _are_apart(kind: str, part_kind: str) -> bool:
    whole, own = _sizes(kind), _sizes(part_kind)
    return whole is not None and own is not None and whole[-1] == 2 and whole[:-1] == own


@text_function
def gathered_part(kind: str, part_kind: str, attribute_key: str, index: str) -> str:
    """Which of two elements of the last axis a Gather takes, their dimension dropped."""
    value, whole = parse_known(index), _sizes(kind)
    if value is None or whole is None or not value.is_fixed or value.shape or not _are_apart(kind, part_kind):
        return DECLINED
    is_last = int(attributes.parse(attribute_key).get("axis", 0)) % len(whole) == len(whole) - 1
    return (FIRST, SECOND)[int(value.values[0]) % 2] + APART if is_last and value.values[0] in {0, 1, -1} else DECLINED


@text_function
def split_pair(index: int, attribute_key: str, kind: str, part_kind: str) -> str:
    """Which of two elements of the last axis is a part of a Split in two, their dimension dropped afterwards."""
    options, whole = attributes.parse(attribute_key), _sizes(kind)
    if whole is None or options.get(facts.OUTPUTS_MARK) != 2 or not _are_apart(kind, part_kind):
        return DECLINED
    is_last = int(options.get("axis", 0)) % len(whole) == len(whole) - 1
    return (FIRST, SECOND)[index] + APART if is_last else DECLINED


@text_function
def halves_of(first: str, second: str) -> str:
    """What two parts are the first and the second of."""
    of = first.removeprefix(FIRST)
    return of if first == FIRST + of and second == SECOND + of else DECLINED


@condition
def joins_last(attribute_key: str, kind: str) -> bool:
    """A Concat that makes this type is along the last axis."""
    sizes = _sizes(kind)
    return sizes is not None and int(attributes.parse(attribute_key)["axis"]) in {-1, len(sizes) - 1}


@condition
def stacks(attribute_key: str, joined: str, own: str) -> bool:
    """Two tensors of the second type become the first type, each element beside the other one's, in a new last axis."""
    whole = _sizes(joined)
    is_last = whole is not None and int(attributes.parse(attribute_key)["axis"]) in {-1, len(whole) - 1}
    return is_last and _are_apart(joined, own)


@condition
def closes_up(kind: str, apart: str) -> bool:
    """A view puts the last two dimensions of what it views together."""
    whole, inner = _sizes(kind), _sizes(apart)
    if not whole or not inner or len(inner) < 2 or inner[-1] != 2 or not isinstance(inner[-2], int):
        return False
    return whole == (*inner[:-2], 2 * inner[-2])


@condition
def keeps_last(kind: str, other: str) -> bool:
    """Two tensors have last dimensions of the same size."""
    a, b = _sizes(kind), _sizes(other)
    return bool(a and b) and a[-1] == b[-1]  # type: ignore[index]


@condition
def is_same_along_last(kind: str, whole: str) -> bool:
    """A factor has one element along the last axis of a product, which has another's type."""
    sizes, other = _sizes(kind), _sizes(whole)
    return sizes is not None and bool(other) and (not sizes or sizes[-1] == 1)


@condition
def leaves_last(attribute_key: str, kind: str) -> bool:
    """A Gather from this type is not along its last axis."""
    sizes = _sizes(kind)
    return (
        bool(sizes) and int(attributes.parse(attribute_key).get("axis", 0)) % len(sizes or ()) != len(sizes or ()) - 1
    )


@text_function
def repetition(structure: str, kind: str) -> str:
    """What a constant's elements come in twice of, along its last axis."""
    found = _half(kind)
    if found is None:
        return DECLINED
    return structure.removeprefix(structures.TWICE) if structure.startswith(structures.TWICE) else DECLINED


@dataclass(frozen=True)
class _Layout:
    """``[B, H, S, D]`` or ``[B, S, H, D]``: which sizes are what, half of a head's, and those of the angles."""

    batch: Dimension
    sequence: Dimension
    heads: Dimension
    half: int
    is_heads_first: bool
    angles: tuple[Dimension, ...]


def _layout(kind: str, cosines: str, sines: str, of: str) -> _Layout | None:
    """The layout of what is turned by these angles; None where the angles are none of each place in a sequence."""
    sizes, own = _sizes(kind), _sizes(cosines)
    if of not in {HALVES, PAIRS, APART} or sizes is None or own is None or cosines != sines:
        return None
    if not 2 <= len(own) <= _RANK:
        return None
    pair = of == APART
    if len(sizes) != _RANK + pair or not isinstance(sizes[3], int):
        return None
    half = sizes[3] if pair else sizes[3] // 2
    full = (1,) * (_RANK - len(own)) + own
    if full[3] not in {half, 2 * half} or full[0] not in {1, sizes[0]}:
        return None
    for first, at in ((True, 2), (False, 1)):
        if meets(full[at], sizes[at]) and full[3 - at] == 1:
            return _Layout(sizes[0], sizes[at], sizes[3 - at], half, first, own)
    return None


@text_function
def key(kind: str, cosines: str, sines: str, of: str) -> str:
    """The attributes of the RotaryEmbedding of ``[B, H, S, D]`` that turns like this; declined for another layout."""
    found = _layout(kind, cosines, sines, of)
    if found is None or not found.is_heads_first or of == APART:
        return DECLINED
    return attributes.key_of({"interleaved": 1} if of == PAIRS else {})


@text_function
def joined_key(kind: str, cosines: str, sines: str, of: str) -> str:
    """The attributes of the RotaryEmbedding of ``[B, S, H D]`` that turns like this; declined for another layout."""
    found = _layout(kind, cosines, sines, of)
    if found is None or found.is_heads_first or not isinstance(found.heads, int):
        return DECLINED
    return attributes.key_of({"num_heads": found.heads, **({} if of == HALVES else {"interleaved": 1})})


@text_function
def bounds(part: int, kind: str, cosines: str, of: str) -> str:
    """End (``part`` 0) or step of the Slice of the angles that leaves each once."""
    found = _layout(kind, cosines, cosines, of)
    if found is None:
        return DECLINED
    wide = found.angles[-1] != found.half
    skips = wide and of != HALVES
    return integers([(2 if skips else 1) if part else found.half * (2 if skips else 1)])


@text_function
def cache(kind: str, cosines: str, of: str) -> str:
    """The shape ``[B, S, D / 2]`` or ``[1, S, D / 2]`` of the angles, each once, as a Reshape's target."""
    found = _layout(kind, cosines, cosines, of)
    if found is None:
        return DECLINED
    lead = found.angles[0] if len(found.angles) == _RANK else 1
    return integers([lead if isinstance(lead, int) else 0, -1, found.half])


@text_function
def repeats(kind: str, cosines: str, of: str) -> str:
    """The shape that repeats angles for each sample, where the number of samples is known or they need no repeating."""
    found = _layout(kind, cosines, cosines, of)
    if found is None:
        return DECLINED
    lead = found.angles[0] if len(found.angles) == _RANK else 1
    if lead == found.batch:
        return integers([1, 1, 1])
    return integers([found.batch, 1, 1]) if isinstance(found.batch, int) else DECLINED


@text_function
def samples(kind: str, cosines: str, of: str) -> str:
    """The symbol of the number of samples that angles have to be repeated for."""
    found = _layout(kind, cosines, cosines, of)
    if found is None or not isinstance(found.batch, str):
        return DECLINED
    lead = found.angles[0] if len(found.angles) == _RANK else 1
    return DECLINED if lead == found.batch else found.batch


@text_function
def merged_heads(kind: str) -> str:
    """The target of the Reshape of ``[B, S, H, D]``, or of its pairs apart, to ``[B, S, H D]``."""
    sizes = _sizes(kind)
    if sizes is None or len(sizes) not in {_RANK, _RANK + 1}:
        return DECLINED
    width = 1
    for size in sizes[2:]:
        if not isinstance(size, int):
            return DECLINED
        width *= size
    return integers([0, 0, width])


@text_function
def parted_heads(kind: str) -> str:
    """The target of the Reshape back."""
    sizes = _sizes(kind)
    if sizes is None or not all(isinstance(size, int) for size in sizes[2:]):
        return DECLINED
    return integers([0, 0, *(size for size in sizes[2:] if isinstance(size, int))])


@text_function
def swapped_key(attribute_key: str, permutation: str, kind: str) -> str:
    """The attributes of the RotaryEmbedding of ``[B, S, H D]`` for one of ``[B, S, H, D]`` with its heads moved."""
    options, sizes = attributes.parse(attribute_key), _sizes(kind)
    moved = attributes.parse(permutation).get("perm") == [0, 2, 1, 3]
    if sizes is None or len(sizes) != _RANK or not isinstance(sizes[2], int) or not moved or "num_heads" in options:
        return DECLINED
    return attributes.key_of({**options, "num_heads": sizes[2]})


@text_function
def leading_key(attribute_key: str, concat: str, kind: str, first: str, s1: str, e1: str, c1: str, p1: str, s2: str,
                e2: str, c2: str, p2: str) -> str:  # fmt: skip
    """The attributes of the RotaryEmbedding that leaves what is behind the first elements of each head."""
    options, sizes, turned = attributes.parse(attribute_key), _sizes(kind), _sizes(first)
    a, b = bounds_of(kind, s1, e1, c1, p1), bounds_of(kind, s2, e2, c2, p2)
    last = _RANK - 1
    if sizes is None or turned is None or a is None or b is None or a.keys() != {last} or b.keys() != {last}:
        return DECLINED
    if len(sizes) != _RANK or options.keys() - {"interleaved"} or attributes.parse(concat)["axis"] not in {-1, last}:
        return DECLINED
    left, right = a[last], b[last]
    whole = left.start == 0 and left.step == right.step == 1 and left.stop == right.start and right.stop == sizes[last]
    return attributes.key_of({**options, "rotary_embedding_dim": left.stop}) if whole else DECLINED
