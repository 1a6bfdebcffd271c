"""Side conditions and computed attributes of rules, over types, attribute keys and known values."""

from __future__ import annotations

import math

from tcc.ir import attributes, facts
from tcc.ir.facts import integers, parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.types import TensorType

FLOATS = frozenset({"float32", "float64", "float16", "bfloat16"})


@condition
def same_kind(a: str, b: str) -> bool:
    """The two types are equal, and every dimension is a size or the same symbol."""
    kind = parse_kind(a)
    return a == b and kind is not None and kind.shape is not None and None not in kind.shape


@condition
def is_float(kind: str) -> bool:
    """The element type is a floating-point one."""
    found = parse_kind(kind)
    return found is not None and found.dtype in FLOATS


@condition
def is_single(kind: str) -> bool:
    """The element type is single precision, for which every runtime has a kernel of every operator."""
    found = parse_kind(kind)
    return found is not None and found.dtype == "float32"


@condition
def is_integer(kind: str) -> bool:
    """The element type is an integer one."""
    found = parse_kind(kind)
    return found is not None and "int" in found.dtype


@condition
def same_dtype(a: str, b: str) -> bool:
    """The two element types are equal."""
    first, second = parse_kind(a), parse_kind(b)
    return first is not None and second is not None and first.dtype == second.dtype


@condition
def all_equal_to(known: str, number: int) -> bool:
    """Every element of a known value is this number; a zero may have either sign."""
    value = parse_known(known)
    return (
        value is not None and bool(value.values) and all(v == number and not isinstance(v, str) for v in value.values)
    )


@condition
def all_positive_zero(known: str) -> bool:
    """Every element of a known value is +0."""
    value = parse_known(known)
    return value is not None and all(v == 0 and math.copysign(1.0, float(v)) > 0 for v in value.values)


@condition
def is_scalar(kind: str) -> bool:
    """The tensor has one element."""
    found = parse_kind(kind)
    return found is not None and found.is_static and math.prod(d for d in found.shape or () if isinstance(d, int)) == 1


@condition
def rank_is(kind: str, rank: int) -> bool:
    """The tensor has that many dimensions."""
    found = parse_kind(kind)
    return found is not None and found.rank == rank


@condition
def casts_to(attribute_key: str, kind: str) -> bool:
    """A Cast's target is the type the tensor already has."""
    found = parse_kind(kind)
    return found is not None and facts.dtype_of(attributes.parse(attribute_key)["to"]) == found.dtype


WIDENS = {
    "bool": {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"},
    "int8": {"int16", "int32", "int64", "float16", "float32", "float64"},
    "uint8": {"int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "float32", "float64"},
    "int16": {"int32", "int64", "float32", "float64"},
    "uint16": {"int32", "int64", "uint32", "uint64", "float32", "float64"},
    "int32": {"int64", "float64"},
    "uint32": {"int64", "uint64", "float64"},
    "float16": {"float32", "float64"},
    "bfloat16": {"float32", "float64"},
    "float32": {"float64"},
}
"""Every value of the first type is a value of each of the others."""


@condition
def widens_and_returns(kind: str, first: str, second: str) -> bool:
    """The first Cast loses nothing of this type and the second one goes back to it."""
    found = parse_kind(kind)
    if found is None:
        return False
    middle, last = (facts.dtype_of(attributes.parse(key)["to"]) for key in (first, second))
    return last == found.dtype and middle in WIDENS.get(found.dtype, ())


@condition
def is_identity_permutation(attribute_key: str, kind: str) -> bool:
    """A Transpose moves no dimension."""
    order = facts.permutation(attribute_key, kind)
    return order is not None and order == tuple(range(len(order)))


@text_function
def composed(inner: str, outer: str, kind: str) -> str:
    """The attributes of the one Transpose that does what an inner and an outer one do."""
    first = facts.permutation(inner, kind)
    if first is None:
        return DECLINED
    second = attributes.parse(outer).get("perm", list(reversed(range(len(first)))))
    return attributes.key_of({"perm": [first[axis] for axis in second]})


@condition
def is_matrix_transposition(attribute_key: str, kind: str) -> bool:
    """A Transpose swaps the two dimensions of a matrix."""
    return facts.permutation(attribute_key, kind) == (1, 0)


@text_function
def reshape_target(after: str, before: str) -> str:
    """A Reshape's target that gives this type: symbolic sizes copied where they stand still, one left to infer."""
    new, old = parse_kind(after), parse_kind(before)
    return DECLINED if new is None or old is None else target_of(new, old)


def target_of(new: TensorType, old: TensorType) -> str:
    """``reshape_target`` of types."""
    if new.shape is None or old.shape is None or 0 in new.shape:
        return DECLINED
    target: list[int] = []
    for axis, size in enumerate(new.shape):
        if isinstance(size, int):
            target.append(size)
        elif size is not None and axis < len(old.shape) and old.shape[axis] == size:
            target.append(0)
        else:
            target.append(-1)
    return integers(target) if target.count(-1) <= 1 else DECLINED


@condition
def repeats_ones(kind: str, repeats: str) -> bool:
    """A Tile repeats dimensions of size 1 only, at least once."""
    found, counts = parse_kind(kind), parse_known(repeats)
    if found is None or found.shape is None or counts is None or len(counts.values) != len(found.shape):
        return False
    return all(
        count == 1 or (size == 1 and isinstance(count, int) and count > 1)
        for size, count in zip(found.shape, counts.values, strict=True)
    )


@text_function
def shape_value(kind: str, attribute_key: str) -> str:
    """The value of a Shape of a tensor of this type, where all dimensions asked for are sizes."""
    found = parse_kind(kind)
    if found is None or found.shape is None:
        return DECLINED
    options = attributes.parse(attribute_key)
    wanted = found.shape[slice(options.get("start"), options.get("end"))]
    return integers([d for d in wanted if isinstance(d, int)]) if all(isinstance(d, int) for d in wanted) else DECLINED


@text_function
def size_value(kind: str) -> str:
    """The value of a Size of a tensor of this type."""
    found = parse_kind(kind)
    if found is None or not found.is_static:
        return DECLINED
    return facts.Known("int64", (), (found.elements({}),)).text()


@text_function
def static_shape(kind: str) -> str:
    """The shape of a type without symbolic dimensions, as a constant."""
    found = parse_kind(kind)
    if found is None or not found.is_static:
        return DECLINED
    return integers(found.sizes({}))


@text_function
def on_axis(kind: str, axis: int) -> str:
    """The shape that puts a vector on this axis of a tensor of this rank: ``[-1, 1, 1, 1]`` for axis 0 of rank 4."""
    found = parse_kind(kind)
    if found is None or found.rank is None or found.rank <= axis:
        return DECLINED
    return integers([-1 if i == axis else 1 for i in range(found.rank)])


@condition
def is_present(kind: str) -> bool:
    """An optional input is given: an absent one has the empty type."""
    return bool(kind)


@condition
def rank_at_most(kind: str, rank: int) -> bool:
    """The tensor has at most that many dimensions."""
    found = parse_kind(kind)
    return found is not None and found.rank is not None and found.rank <= rank


@condition
def rank_at_least_that_of(kind: str, other: str) -> bool:
    """The first tensor has at least as many dimensions as the second, so that the second does not widen it."""
    first, second = parse_kind(kind), parse_kind(other)
    return bool(first and second and first.rank is not None and second.rank is not None and first.rank >= second.rank)


def _bound(known: str) -> tuple[str, float] | None:
    value = parse_known(known)
    return (
        None if value is None or len(value.values) != 1 or not value.is_fixed else (value.dtype, float(value.values[0]))
    )


def _scalar(dtype: str, value: float) -> str:
    return facts.Known(dtype, (), (value if dtype in FLOATS else int(value),)).text()


@text_function
def larger_of_zero(known: str) -> str:
    """The larger of a known scalar and zero."""
    bound = _bound(known)
    return DECLINED if bound is None else _scalar(bound[0], max(bound[1], 0.0))


@condition
def not_below_zero(known: str) -> bool:
    """A known scalar is at least zero."""
    bound = _bound(known)
    return bound is not None and bound[1] >= 0


@text_function
def meeting(part: int, low: str, high: str, next_low: str, next_high: str) -> str:
    """The lower (``part`` 0) or upper bound of what two ranges share; declined where they share nothing."""
    bounds = [_bound(text) for text in (low, high, next_low, next_high)]
    if None in bounds:
        return DECLINED
    (dtype, a), (_, b), (_, c), (_, d) = (bound for bound in bounds if bound is not None)
    lowest, highest = max(a, c), min(b, d)
    return _scalar(dtype, (lowest, highest)[part]) if a <= b and c <= d and lowest <= highest else DECLINED


@text_function
def epsilon(attribute_key: str, kind: str) -> str:
    """A BatchNormalization's epsilon as a scalar of this type; declined in training mode."""
    options, found = attributes.parse(attribute_key), parse_kind(kind)
    if found is None or options.get("training_mode", 0) or options.get("spatial", 1) != 1:
        return DECLINED
    return facts.Known(found.dtype, (), (options.get("epsilon", 1e-5),)).text()


@condition
def splits_as_concat(split: str, concat: str, parts: int) -> bool:
    """A Split into that many parts is along the axis of this Concat."""
    options = attributes.parse(split)
    # A negative axis needs the rank to be compared; exporters write both the same way.
    return options.get("axis", 0) == attributes.parse(concat).get("axis") and options.get(facts.OUTPUTS_MARK) == parts


@text_function
def without_kept(attribute_key: str, axes: str, after: str, before: str) -> str:
    """A reduction's attributes with keepdims=0, where ``after`` is ``before`` without the reduced axes."""
    options, new, old, value = attributes.parse(attribute_key), parse_kind(after), parse_kind(before), parse_known(axes)
    where = options.get("axes") or (value.values if value else None)
    if not options.get("keepdims", 1) or not where or new is None or old is None or not old.shape:
        return DECLINED
    reduced = {int(axis) % len(old.shape) for axis in where}
    left = tuple(size for axis, size in enumerate(old.shape) if axis not in reduced)
    return attributes.key_of({**options, "keepdims": 0}) if left == new.shape and None not in left else DECLINED


@condition
def is_one_float(kind: str) -> bool:
    """The tensor is floating-point and has one element in at most one dimension."""
    found = parse_kind(kind)
    return found is not None and found.dtype in FLOATS and found.is_static and found.sizes({}) in {(), (1,)}


@condition
def is_many(kind: str) -> bool:
    """The tensor has dimensions, and more than one element as far as is known."""
    found = parse_kind(kind)
    return found is not None and bool(found.shape) and any(size != 1 for size in found.shape or ())
