"""Attributes and shapes of normalisations, from the reductions that they are written out with."""

from __future__ import annotations

import numpy as np

from tcc.ir import attributes, facts
from tcc.ir.facts import integers, parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.types import TensorType
from tcc.rewrites._numbers import scalar_of

NORMALIZED = frozenset({"float32"})
"""Types in which a normalisation's statistics are computed: single precision, unless the operator is told otherwise."""
_EPSILON = 1e-5


def reduced(attribute_key: str, axes: str, kind: TensorType) -> tuple[int, ...] | None:
    """The axes over which a reduction that keeps its dimensions runs, sorted; None where it is no such one."""
    options, value = attributes.parse(attribute_key), parse_known(axes)
    if kind.rank is None or not options.get("keepdims", 1):
        return None
    where = options.get("axes") or (value.values if value else ())
    if not where:
        return None if options.get("noop_with_empty_axes", 0) else tuple(range(kind.rank))
    if any(isinstance(axis, str) for axis in where):
        return None
    return tuple(sorted({int(axis) % kind.rank for axis in where}))


def _epsilon(known: str) -> float | None:
    found = scalar_of(known)
    return found if found is not None and 0 <= found < 1 else None


def _key(axis: int, rank: int, epsilon: float) -> str:
    """LayerNormalization's attributes, those at their defaults left out."""
    options: dict[str, attributes.Plain] = {}
    if axis != rank - 1:
        options["axis"] = axis - rank
    if np.float32(epsilon) != np.float32(_EPSILON):
        options["epsilon"] = float(np.float32(epsilon))
    return attributes.key_of(options)


@text_function
def layer(kind: str, first: str, first_axes: str, second: str, second_axes: str, epsilon: str) -> str:
    """The attributes of the LayerNormalization whose mean and variance these two reductions of ``kind`` are."""
    found, small = parse_kind(kind), _epsilon(epsilon)
    if found is None or found.dtype not in NORMALIZED or found.rank is None or small is None:
        return DECLINED
    mean, variance = reduced(first, first_axes, found), reduced(second, second_axes, found)
    if mean is None or mean != variance or mean != tuple(range(mean[0], found.rank)):
        return DECLINED
    return _key(mean[0], found.rank, small)


@text_function
def layer_of_pool(kind: str, epsilon: str) -> str:
    """The attributes of the LayerNormalization whose mean and variance global average pools of ``kind`` are."""
    found, small = parse_kind(kind), _epsilon(epsilon)
    if found is None or found.dtype not in NORMALIZED or found.rank is None or found.rank < 3 or small is None:
        return DECLINED
    return _key(2, found.rank, small)


@text_function
def across(kind: str, first: str, first_axes: str, second: str, second_axes: str, epsilon: str) -> str:
    """The attributes of the LayerNormalization over the channels (axis 1) of ``kind``, were they the last axis."""
    found, small = parse_kind(kind), _epsilon(epsilon)
    if found is None or found.dtype not in NORMALIZED or found.rank is None or found.rank < 3 or small is None:
        return DECLINED
    if reduced(first, first_axes, found) != (1,) or reduced(second, second_axes, found) != (1,):
        return DECLINED
    return _key(found.rank - 1, found.rank, small)


@text_function
def channels_last(kind: str) -> str:
    """The attributes of the Transpose that makes the channels (axis 1) the last axis."""
    rank = _rank(kind)
    return attributes.key_of({"perm": [0, *range(2, rank), 1]}) if rank else DECLINED


@text_function
def channels_first(kind: str) -> str:
    """The attributes of the Transpose that moves them back."""
    rank = _rank(kind)
    return attributes.key_of({"perm": [0, rank - 1, *range(1, rank - 1)]}) if rank else DECLINED


def _rank(kind: str) -> int:
    found = parse_kind(kind)
    return 0 if found is None or found.rank is None or found.rank < 3 else found.rank


@text_function
def root_mean_square(kind: str, reduction: str, axes: str, epsilon: str) -> str:
    """The attributes of the RMSNormalization whose mean square this reduction of ``kind`` is."""
    found, small = parse_kind(kind), _epsilon(epsilon)
    if found is None or found.dtype not in NORMALIZED or found.rank is None or small is None:
        return DECLINED
    mean = reduced(reduction, axes, found)
    if mean is None or mean != tuple(range(mean[0], found.rank)):
        return DECLINED
    return _key(mean[0], found.rank, small)


def _trailing(kind: str, attribute_key: str) -> tuple[TensorType, tuple[int, ...]] | None:
    """The normalised tensor's type and the sizes of its normalised axes, where they are numbers."""
    found = parse_kind(kind)
    if found is None or found.shape is None or not found.shape:
        return None
    axis = attributes.parse(attribute_key).get("axis", -1) % len(found.shape)
    sizes = found.shape[axis:]
    if any(not isinstance(size, int) for size in sizes):
        return None
    return found, tuple(size for size in sizes if isinstance(size, int))


@text_function
def affine_shape(affine: str, kind: str, attribute_key: str) -> str:
    """The shape in which a factor or summand is LayerNormalization's scale or bias: the normalised axes, in full."""
    found, trailing = parse_kind(affine), _trailing(kind, attribute_key)
    if found is None or trailing is None or not found.is_static or found.dtype != trailing[0].dtype:
        return DECLINED
    sizes, rank = found.sizes({}), trailing[0].rank
    while len(sizes) > len(trailing[1]) and sizes[0] == 1:
        sizes = sizes[1:]
    fits = sizes == trailing[1] and rank is not None and (found.rank or 0) <= rank
    return integers(sizes) if fits else DECLINED


@text_function
def ones_shape(kind: str, attribute_key: str) -> str:
    """The shape of the scale that scales nothing."""
    trailing = _trailing(kind, attribute_key)
    return DECLINED if trailing is None else integers(trailing[1])


@text_function
def one_of(kind: str) -> str:
    """The scalar 1 in the tensor's element type."""
    found = parse_kind(kind)
    return DECLINED if found is None else facts.Known(found.dtype, (), (1.0,)).text()


@text_function
def zero_of(kind: str) -> str:
    """The scalar 0 in the tensor's element type."""
    found = parse_kind(kind)
    return DECLINED if found is None else facts.Known(found.dtype, (), (0.0,)).text()


@text_function
def instance(kind: str, first: str, first_axes: str, second: str, second_axes: str, epsilon: str) -> str:
    """The attributes of the InstanceNormalization whose mean and variance these two reductions of ``kind`` are."""
    found, small = parse_kind(kind), _epsilon(epsilon)
    if found is None or found.dtype not in NORMALIZED or found.rank is None or found.rank < 3 or small is None:
        return DECLINED
    spatial = tuple(range(2, found.rank))
    if reduced(first, first_axes, found) != spatial or reduced(second, second_axes, found) != spatial:
        return DECLINED
    is_default = np.float32(small) == np.float32(_EPSILON)
    return attributes.key_of({} if is_default else {"epsilon": float(np.float32(small))})


@text_function
def channel_shape(affine: str, kind: str) -> str:
    """The shape ``[C]`` of a factor or summand that gives each channel (axis 1) of ``kind`` its own number."""
    found, whole = parse_kind(affine), parse_kind(kind)
    if found is None or whole is None or whole.shape is None or len(whole.shape) < 2 or not found.is_static:
        return DECLINED
    channels, sizes = whole.shape[1], found.sizes({})
    full = (1,) * (len(whole.shape) - len(sizes)) + sizes
    expected = tuple(channels if axis == 1 else 1 for axis in range(len(whole.shape)))
    fits = isinstance(channels, int) and full == expected and found.dtype == whole.dtype
    return integers([channels]) if fits and isinstance(channels, int) else DECLINED


@text_function
def channels_of(kind: str) -> str:
    """The shape ``[C]`` of the channels (axis 1) of a tensor."""
    whole = parse_kind(kind)
    if whole is None or whole.shape is None or len(whole.shape) < 2 or not isinstance(whole.shape[1], int):
        return DECLINED
    return integers([whole.shape[1]])


@text_function
def group(kind: str, grouped: str, attribute_key: str) -> str:
    """GroupNormalization's attributes for an InstanceNormalization of ``kind`` seen as ``grouped`` = [N, G, ...]."""
    found = _groups(kind, grouped)
    return DECLINED if found is None else attributes.key_of({**attributes.parse(attribute_key), "num_groups": found[1]})


def _groups(kind: str, grouped: str) -> tuple[int, int] | None:
    """Channels and groups of a view ``[N, G, ...]`` of ``[N, C, ...]``, the groups of channels that lie together."""
    whole, parts = parse_kind(kind), parse_kind(grouped)
    if whole is None or parts is None or whole.shape is None or parts.shape is None or whole.dtype not in NORMALIZED:
        return None
    if len(whole.shape) < 3 or len(parts.shape) < 3 or whole.shape[0] != parts.shape[0] or None in whole.shape:
        return None
    channels, groups = whole.shape[1], parts.shape[1]
    if not isinstance(channels, int) or not isinstance(groups, int) or groups < 1 or channels % groups:
        return None
    return channels, groups


@text_function
def spread(part: int, kind: str, grouped: str) -> str:
    """Shapes ``[G, 1]``, ``[G, C / G]`` and ``[C]`` (``part`` 0 to 2) by which a number for each group is repeated."""
    found = _groups(kind, grouped)
    if found is None:
        return DECLINED
    channels, groups = found
    return integers([[groups, 1], [groups, channels // groups], [channels]][part])


@condition
def is_normalized_alike(kind: str, viewed: str) -> bool:
    """A view has the same samples and channels, in two dimensions of their own."""
    found = _groups(kind, viewed)
    return found is not None and found[0] == found[1]
