"""Weights of integer kernels that lie in the file as packed 4-bit integers and are 8-bit integers when it is loaded."""

# What a kernel reads are 8-bit integers still, so that it takes no longer; see ``_nibbles`` for what they may be.

from __future__ import annotations

import onnx

from tcc.rewrites.lossy import Alternative, Offer, Packable, _rows
from tcc.rewrites.lossy._unpacking import PACKED, Unpacking, paired, refusal

OBJECTIVES = frozenset({"size"})
"""It makes nothing faster: a loss that was allowed for speed is not spent on it."""
UNPACKED = True
"""When the model is loaded its weights are 8-bit integers again."""
LAST = True
"""It works on what the others have offered."""


def offer(made: Offer) -> None:
    """Offer each large 8-bit weight of the other techniques in 4 bits."""
    if reason := refusal(made):
        made.declined[PACKED] = reason
        return
    for number, each in made.packable.items():
        name = str(getattr(made.imported.values[number], "name", "weight"))
        site = f"{PACKED}:{name}"
        made.alternatives.append(Alternative(site, number, _write(made, each, name)))
        made.spread[site] = tuple(each.places.items())
        made.error[site] = max(each.places.values())


def _write(made: Offer, each: Packable, name: str) -> int:
    """The number of the 8-bit weight computed from 4 bits: ``Round(units * (values / divisor))``."""
    unpacking, small = Unpacking(made), each.nibbles
    inner, columns = small.values.shape
    if each.is_transposed:
        values = small.values.T.reshape(columns, inner // small.block, small.block)
        units = small.units.T[:, :, None]
    else:
        values = small.values.reshape(inner // small.block, small.block, columns)
        units = small.units[:, None, :]
    shape, multiples = paired(values).shape, paired(units)
    stored = _rows.constant(made, multiples.copy(), f"{name}_units")
    wide = unpacking.add("Cast", multiples.shape, stored, to=onnx.TensorProto.FLOAT)
    scaled = unpacking.add("Mul", shape, unpacking.pairs(values, name, small.divisor), wide)
    rounded = unpacking.add("Round", shape, scaled)
    integers = unpacking.add("Cast", shape, rounded, dtype="int8", to=onnx.TensorProto.INT8)
    return unpacking.reshaped(integers, each.shape, "int8")
