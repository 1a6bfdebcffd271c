"""Conditions of rules on pooling: what a padding around it means."""

from __future__ import annotations

import math

from tcc.ir import attributes
from tcc.ir.facts import parse_kind, parse_known
from tcc.ir.host import DECLINED, text_function

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


@text_function
def max_padded(pad: str, pads: str, value: str, pool: str, kind: str) -> str:
    """A MaxPool's attributes with the padding of a Pad by -inf before it, which no window may consist of."""
    source, known = parse_kind(kind), parse_known(pads)
    options, inner = attributes.parse(pad), attributes.parse(pool)
    amounts = options.get("pads") or (known.values if known is not None and known.is_fixed else None)
    if amounts is None or source is None or source.rank is None or source.dtype not in _FLOATS:
        return DECLINED
    rank, kernel = source.rank, inner["kernel_shape"]
    if len(amounts) != 2 * rank or not _pads_lowest(options, value) or _is_special(inner):
        return DECLINED
    begin, end = ([int(a) for a in part] for part in (amounts[:rank], amounts[rank:]))
    own = inner.get("pads", [0] * (2 * (rank - 2)))
    if any((*begin[:2], *end[:2])) or min((*begin, *end)) < 0:
        return DECLINED
    total = [a + b for a, b in zip((*begin[2:], *end[2:]), own, strict=True)]
    if any(amount >= size for amount, size in zip(total, (*kernel, *kernel), strict=True)):
        return DECLINED
    kept = {name: v for name, v in inner.items() if name != "auto_pad"}
    return attributes.key_of({**kept, "pads": total})


def _pads_lowest(options: dict[str, object], value: str) -> bool:
    if options.get("mode", "constant") != "constant":
        return False
    known = parse_known(value)
    lowest = known.values if known is not None and known.is_fixed else (options.get("value", 0.0),)
    return all(v == -math.inf for v in lowest)


def _is_special(pool: dict[str, object]) -> bool:
    """Whether a window may lie in the padding alone, or where it lies does not follow from the sizes alone."""
    dilations = pool.get("dilations")
    dilated = isinstance(dilations, list) and any(step != 1 for step in dilations)
    return dilated or bool(pool.get("ceil_mode", 0)) or pool.get("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}
