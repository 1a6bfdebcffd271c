"""Conditions on Resize: where it is the identity, and where it repeats elements."""

from __future__ import annotations

from tcc.ir import attributes
from tcc.ir.facts import Known, parse_kind, parse_known
from tcc.ir.host import DECLINED, condition, text_function

_EXACT = frozenset({"half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric", "pytorch_half_pixel"})
"""Ways to place samples by which a scale of 1 puts each on an element."""
_REPEATING = frozenset(
    {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")}
)
"""Ways to place samples and to round by which a whole scale repeats each element as often."""


@condition
def keeps(before: str, after: str, scales: str, attribute_key: str, interpolates: int) -> bool:
    """A Resize keeps the size, and each sample lies on an element; ``interpolates`` says which kind is asked for."""
    options, old, new, value = (
        attributes.parse(attribute_key),
        parse_kind(before),
        parse_kind(after),
        parse_known(scales),
    )
    if old is None or new is None or old.shape is None or old.shape != new.shape:
        return False
    if options.get("coordinate_transformation_mode", "half_pixel") not in _EXACT:
        return False
    if (options.get("mode", "nearest") != "nearest") != bool(interpolates):
        return False
    # Without scales there are sizes, and the scales are what they make of it: numbers are needed to know that.
    given = value is not None and bool(value.values)
    return all(v == 1 for v in value.values) if given and value is not None else old.is_static


@text_function
def repeated(first: str, second: str, attribute_key: str) -> str:
    """The scales of the Resize that repeats elements as often as two, one behind the other, do."""
    options, a, b = attributes.parse(attribute_key), parse_known(first), parse_known(second)
    places = options.get("coordinate_transformation_mode", "half_pixel")
    rounds = options.get("nearest_mode", "round_prefer_floor")
    if options.get("mode", "nearest") != "nearest" or (places, rounds) not in _REPEATING or options.get("antialias"):
        return DECLINED
    if options.keys() & {"axes"} or a is None or b is None or not a.values or len(a.values) != len(b.values):
        return DECLINED
    products = []
    for u, v in zip(a.values, b.values, strict=True):
        if isinstance(u, str) or isinstance(v, str) or u < 1 or v < 1 or u != int(u) or v != int(v):
            return DECLINED
        products.append(float(u * v))
    return Known("float32", a.shape, tuple(products)).text()
