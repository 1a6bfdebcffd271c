"""Conditions of rules on convolutions and matrix products: where a constant lies along their outputs."""

from __future__ import annotations

import math

from tcc.ir import attributes
from tcc.ir.facts import integers, parse_kind, parse_known, permutation
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.types import TensorType


def _sizes(text: str) -> tuple[int, ...] | None:
    kind = parse_kind(text)
    return kind.sizes({}) if kind is not None and kind.is_static else None


def _along(constant: str, result: str, axis: int) -> int | None:
    """The elements of a constant that, broadcast to ``result``, varies along ``axis`` alone; None otherwise."""
    sizes, kind = _sizes(constant), parse_kind(result)
    if sizes is None or kind is None or kind.rank is None or len(sizes) > kind.rank:
        return None
    full = (1,) * (kind.rank - len(sizes)) + sizes
    at = axis % kind.rank
    if any(size != 1 for i, size in enumerate(full) if i != at):
        return None
    assert kind.shape is not None
    return full[at] if full[at] in (1, kind.shape[at]) else None


@condition
def along_channels(constant: str, result: str) -> bool:
    """A constant varies at most along the channels (axis 1) of this result, and does not widen it."""
    return _along(constant, result, 1) is not None


@condition
def along_last(constant: str, result: str) -> bool:
    """A constant varies at most along the last axis of this result, and does not widen it."""
    return _along(constant, result, -1) is not None


@text_function
def weight_shape(constant: str, weight: str, axis: int) -> str:
    """The shape in which a per-channel constant multiplies a weight whose output channels lie on ``axis``."""
    sizes, kind = _sizes(constant), parse_kind(weight)
    if sizes is None or kind is None or kind.rank is None:
        return DECLINED
    shape = [1] * kind.rank
    shape[axis] = math.prod(sizes)
    return integers(shape)


@text_function
def vector_shape(constant: str) -> str:
    """The shape of a per-channel constant as a vector."""
    sizes = _sizes(constant)
    return DECLINED if sizes is None else integers([math.prod(sizes)])


@text_function
def channels(result: str) -> str:
    """The number of channels (axis 1) of a result, as a shape."""
    kind = parse_kind(result)
    if kind is None or kind.shape is None or len(kind.shape) < 2 or not isinstance(kind.shape[1], int):
        return DECLINED
    return integers([kind.shape[1]])


@condition
def is_ungrouped(attribute_key: str) -> bool:
    """A convolution has one group."""
    return int(attributes.parse(attribute_key).get("group", 1)) == 1


@text_function
def padded(pad: str, pads: str, value: str, convolution: str, kind: str) -> str:
    """A convolution's attributes with the zero padding of a Pad before it."""
    source = parse_kind(kind)
    options, inner = attributes.parse(pad), attributes.parse(convolution)
    amounts = options.get("pads") or (known.values if (known := parse_known(pads)) else None)
    if amounts is None or source is None or source.rank is None or not _pads_zero(options, value):
        return DECLINED
    rank = source.rank
    if len(amounts) != 2 * rank or any(isinstance(a, str) or a < 0 for a in amounts):
        return DECLINED
    begin, end = amounts[:rank], amounts[rank:]
    if any((*begin[:2], *end[:2])) or inner.get("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}:
        return DECLINED
    own = inner.get("pads", [0] * (2 * (rank - 2)))
    total = [int(a) + b for a, b in zip((*begin[2:], *end[2:]), own, strict=True)]
    kept = {name: v for name, v in inner.items() if name != "auto_pad"}
    return attributes.key_of({**kept, "pads": total})


def _pads_zero(options: dict[str, object], value: str) -> bool:
    if options.get("mode", "constant") != "constant" or options.get("value", 0.0) != 0.0:
        return False
    known = parse_known(value)
    return not value or (known is not None and all(v == 0 for v in known.values))


def _matrix(kind: TensorType | None, *, transposed: bool) -> tuple[object, object] | None:
    if kind is None or kind.shape is None or kind.rank != 2:
        return None
    return (kind.shape[1], kind.shape[0]) if transposed else (kind.shape[0], kind.shape[1])


@condition
def fits_gemm_bias(bias: str, result: str) -> bool:
    """A bias broadcasts one way to this matrix, as Gemm asks."""
    kind, rows = parse_kind(bias), _matrix(parse_kind(result), transposed=False)
    if kind is None or kind.shape is None or rows is None or len(kind.shape) > 2:
        return False
    full = (1,) * (2 - len(kind.shape)) + kind.shape
    return all(size == 1 or (size == wanted and size is not None) for size, wanted in zip(full, rows, strict=True))


@condition
def is_plain_gemm(attribute_key: str) -> bool:
    """A Gemm adds its bias as it is."""
    return float(attributes.parse(attribute_key).get("beta", 1.0)) == 1.0


@text_function
def without_beta(attribute_key: str) -> str:
    """A Gemm's attributes, its bias added as it is."""
    return attributes.key_of({k: v for k, v in attributes.parse(attribute_key).items() if k != "beta"})


@text_function
def gemm_weight_shape(constant: str, attribute_key: str) -> str:
    """The shape in which a constant along the columns multiplies a Gemm's second operand."""
    sizes = _sizes(constant)
    if sizes is None:
        return DECLINED
    n = math.prod(sizes)
    return integers([n, 1] if attributes.parse(attribute_key).get("transB", 0) else [1, n])


@text_function
def toggled(attribute_key: str, name: str) -> str:
    """A Gemm's attributes with one operand's transposition undone."""
    options = dict(attributes.parse(attribute_key))
    options[name] = 1 - options.get(name, 0)
    return attributes.key_of({k: v for k, v in options.items() if (k, v) != (name, 0)})


@text_function
def rows_shape(kind: str, weight: str) -> str:
    """The shape that makes one matrix of a batch of rows, as long as this weight asks; declined for a matrix."""
    batch, matrix = parse_kind(kind), _matrix(parse_kind(weight), transposed=False)
    if batch is None or batch.rank is None or batch.rank < 3 or matrix is None or not isinstance(matrix[0], int):
        return DECLINED
    return integers([-1, matrix[0]])


@text_function
def inferable_shape(kind: str) -> str:
    """A shape as a Reshape's target, one unknown or symbolic size left to infer; declined where there are more."""
    found = parse_kind(kind)
    if found is None or found.shape is None or 0 in found.shape:
        return DECLINED
    target = [size if isinstance(size, int) else -1 for size in found.shape]
    return integers(target) if target.count(-1) <= 1 else DECLINED


@condition
def is_stack_of_matrices(kind: str) -> bool:
    """A tensor has at least two dimensions."""
    found = parse_kind(kind)
    return found is not None and found.rank is not None and found.rank >= 2


@condition
def exchanges_last_two(permutation_key: str, kind: str) -> bool:
    """A transposition of tensors of this rank exchanges the last two axes and leaves the others."""
    order, found = permutation(permutation_key, kind), parse_kind(kind)
    if order is None or found is None or found.rank != len(order) or len(order) < 2:
        return False
    return list(order) == [*range(len(order) - 2), len(order) - 1, len(order) - 2]
