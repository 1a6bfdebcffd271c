"""Weights that lie in the file as packed 4-bit integers, a scale a block, and are computed back at load time."""

# W = Reshape(pairs * scale, shape), the pairs as ``_unpacking`` has them.

from __future__ import annotations

import numpy as np
import onnx_ir

from tcc.ir.model import tensor_type
from tcc.rewrites.lossy import Alternative, Offer, _rows
from tcc.rewrites.lossy._blocks import BLOCK, Blocks, fitted, nearest
from tcc.rewrites.lossy._unpacking import LEVELS, Unpacking, paired, refusal

AT_LOAD_TIME = True
OBJECTIVES = frozenset({"size"})
"""What it is offered for unless it is asked for by name: it spends the loss budget on bytes alone."""
SMALLEST = 8192
"""Elements below which a weight is left alone: the nodes that unpack it outweigh what they save."""


def offer(made: Offer) -> None:
    """Offer every large weight in blocks of 4-bit integers, rounded to the data where there is some."""
    if reason := refusal(made):
        made.declined["stored-int4"] = reason
        return
    for v in made.imported.graph.initializers.values():
        kind, held = tensor_type(v), v.const_value
        if kind is None or kind.dtype != "float32" or held is None or held.size < SMALLEST or v.is_graph_input():
            continue
        weight = held.numpy()
        if not np.isfinite(weight).all() or weight.size % (2 * BLOCK):
            made.declined[f"stored-int4:{v.name}"] = f"is not finite, or no even number of blocks of {BLOCK}"
            continue
        found = fitted(made, v, LEVELS)
        if found is None or found.values.shape[-1] % 2:
            found = nearest(weight, LEVELS)
        _write(made, v, found)


def _write(made: Offer, v: onnx_ir.Value, found: Blocks) -> None:
    """Add the rows that compute one weight back, and the edge to them."""
    unpacking = Unpacking(made)
    pairs = unpacking.pairs(found.values, v.name or "weight")
    scales = _rows.constant(made, paired(found.scale), f"{v.name}_scale4")
    scaled = unpacking.add("Mul", paired(found.values).shape, pairs, scales)
    shape = v.const_value.numpy().shape if v.const_value is not None else ()
    site = f"stored-int4:{v.name}"
    made.alternatives.append(Alternative(site, made.imported.numbers[v], unpacking.reshaped(scaled, shape)))
    made.error[site] = found.error
    users = [node for node, _ in v.uses()]
    if len(users) == 1 and users[0].outputs[0].name:
        made.where[site] = users[0].outputs[0].name
