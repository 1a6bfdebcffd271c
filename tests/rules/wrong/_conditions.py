"""The conditions of the wrong rules, flawed as their names say."""

# What a rule computes is given one text for each fact.
# ruff: noqa: PLR0917
from __future__ import annotations

from tcc.ir import attributes
from tcc.ir.facts import Known, integers, parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function
from tcc.rewrites import _normalized as normal


@text_function
def padded(flaw: int, pad: str, pads: str, value: str, convolution: str, kind: str) -> str:
    """A convolution's pads with those of a Pad; flaw 0 drops outer pads, 1 ignores the value, 2 exchanges the sides."""
    source, options, inner = parse_kind(kind), attributes.parse(pad), attributes.parse(convolution)
    amounts = options.get("pads") or (found.values if (found := parse_known(pads)) else None)
    if amounts is None or source is None or source.rank is None or len(amounts) != 2 * source.rank:
        return DECLINED
    if any(isinstance(a, str) or a < 0 for a in amounts):
        return DECLINED
    rank = source.rank
    begin, end = list(amounts[:rank]), list(amounts[rank:])
    plain = options.get("mode", "constant") == "constant" and not options.get("value") and not value
    if (flaw != 1 and not plain) or (flaw != 0 and any((*begin[:2], *end[:2]))) or inner.get("auto_pad"):
        return DECLINED
    own = inner.get("pads", [0] * (2 * (rank - 2)))
    sides = (*end[2:], *begin[2:]) if flaw == 2 else (*begin[2:], *end[2:])
    return attributes.key_of({**inner, "pads": [int(a) + b for a, b in zip(sides, own, strict=True)]})


@text_function
def bound(largest: int, first: str, second: str) -> str:
    """The larger or the smaller one of two known scalars."""
    values = [parse_known(text) for text in (first, second)]
    numbers = [value.values[0] for value in values if value is not None and len(value.values) == 1]
    if len(numbers) < 2 or values[0] is None:
        return DECLINED
    picked = max(numbers, key=float) if largest else min(numbers, key=float)
    return Known(values[0].dtype, (), (picked,)).text()


@condition
def reaches_end(kind: str, ends: str) -> bool:
    """All ends lie behind every dimension."""
    found, known = parse_kind(kind), parse_known(ends)
    sizes = [size for size in found.shape or () if isinstance(size, int)] if found is not None else []
    return known is not None and bool(sizes) and all(int(end) >= max(sizes) for end in known.values)


@condition
def pads_nothing_in_total(attribute_key: str, pads: str) -> bool:
    """The amounts add up to nothing."""
    known = parse_known(pads)
    amounts = attributes.parse(attribute_key).get("pads") or (known.values if known else None)
    return amounts is not None and sum(amounts) == 0


@condition
def some_equal_to(known: str, number: int) -> bool:
    """Some element of a known value is this number."""
    value = parse_known(known)
    return value is not None and number in value.values


@text_function
def copied_target(after: str, before: str) -> str:
    """A Reshape's target that copies every symbolic size from its own place."""
    new, old = parse_kind(after), parse_kind(before)
    if new is None or new.shape is None or old is None or old.shape is None or len(new.shape) > len(old.shape):
        return DECLINED
    return integers([size if isinstance(size, int) else 0 for size in new.shape])


@text_function
def not_kept(attribute_key: str) -> str:
    """A reduction's attributes with keepdims=0."""
    return attributes.key_of({**attributes.parse(attribute_key), "keepdims": 0})


@text_function
def gathered(kind: str, indices: str) -> str:
    """The sizes at these indices of the whole shape."""
    found, known = parse_kind(kind), parse_known(indices)
    if found is None or not found.is_static or known is None:
        return DECLINED
    sizes = found.sizes({})
    at = [int(i) for i in known.values]
    if any(not -len(sizes) <= i < len(sizes) for i in at):
        return DECLINED
    return Known("int64", known.shape, tuple(sizes[i] for i in at)).text()


@text_function
def sliced(kind: str, starts: str, ends: str) -> str:
    """The sizes between start and end, whatever the step."""
    found, first, last = parse_kind(kind), parse_known(starts), parse_known(ends)
    if found is None or not found.is_static or first is None or last is None:
        return DECLINED
    return integers(found.sizes({})[int(first.values[0]) : int(last.values[0])])


@text_function
def first_symbol(known: str) -> str:
    """The first symbol of a known size."""
    value = parse_known(known)
    first = value.values[0] if value is not None and len(value.values) == 1 else 0
    return first.partition("+")[0].rpartition("*")[2] if isinstance(first, str) else DECLINED


@condition
def is_vector_of_one(known: str) -> bool:
    """A known value is a vector of one."""
    value = parse_known(known)
    return value is not None and value.shape == (1,)


@text_function
def layer(kind: str, first: str, first_axes: str, second: str, second_axes: str) -> str:
    """The attributes of a LayerNormalization, its epsilon left at the default."""
    return normal.layer.__wrapped__(  # type: ignore[attr-defined,no-any-return]
        kind, first, first_axes, second, second_axes, Known("float32", (), (1e-5,)).text()
    )


@condition
def has_structure(structure: str) -> bool:
    """A constant has some structure."""
    return bool(structure)


@text_function
def pool_of(weight: str, attribute_key: str) -> str:
    """The attributes of the pool as wide as a weight, whatever the convolution's dilations."""
    found = parse_kind(weight)
    if found is None or not found.is_static:
        return DECLINED
    kept = {name: v for name, v in attributes.parse(attribute_key).items() if name in {"pads", "strides"}}
    return attributes.key_of({**kept, "kernel_shape": list(found.sizes({})[2:]), "count_include_pad": 1})
