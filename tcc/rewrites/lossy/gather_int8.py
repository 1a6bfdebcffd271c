"""Tables of embeddings in 8 bits: looked up as integers, and only what was found is computed back.

Gather(T, i)  →  DequantizeLinear(Gather(T8, i), s), one scale for each column of the table
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from tcc.ir import attributes
from tcc.ir.model import tensor_type
from tcc.ir.tables import ABSENT
from tcc.rewrites.lossy import Alternative, Offer, _packing, _rows
from tcc.rewrites.lossy._schemes import quantize_weight
from tcc.rewrites.lossy._units import constant_of, is_float

FIRST_OPSET = 13
"""The first opset whose DequantizeLinear has an axis."""
_LEVELS = 127
SMALLEST = 4096
"""Elements below which a table is left alone."""


def offer(made: Offer) -> None:
    """Offer every lookup in a large table."""
    if made.opset < FIRST_OPSET:
        made.declined["gather-int8"] = f"opset {made.opset} has one scale for a whole table, {FIRST_OPSET} has more"
        return
    if reason := made.target.legality("", "DequantizeLinear", ["int8"]):
        made.declined["gather-int8"] = reason
        return
    for node in made.imported.graph:
        table = constant_of(node.inputs[0]) if node.op_type == "Gather" and not node.domain else None
        if table is None or table.ndim != 2 or table.size < SMALLEST or not is_float(node.outputs[0]):
            continue
        axis = node.attributes.get("axis")
        if (axis is not None and axis.as_int() not in {0, -2}) or not np.isfinite(table).all():
            continue
        _offer_lookup(made, node, table)


def _offer_lookup(made: Offer, node: onnx_ir.Node, table: np.ndarray) -> None:
    imported, tables = made.imported, made.tables
    source, indices, output = node.inputs[0], node.inputs[1], node.outputs[0]
    kind = tensor_type(output)
    if source is None or indices is None or kind is None or kind.rank is None:
        return
    quantized = quantize_weight(table, 1)
    stored = _rows.constant(made, quantized.values, f"{source.name}_int8")
    constant = _packing.Constant(stored, table.shape, _LEVELS, is_transposed=True, where=output.name or "")
    _packing.rounded(made, constant, table / quantized.scale)
    scale = _rows.constant(made, quantized.scale, f"{source.name}_scale")
    found = _rows.typed(made, imported.fresh(f"{output.name}_q"), "int8", output)
    plain = attributes.plain(node)
    assert plain is not None
    tables.add("Gather", found, stored, imported.numbers[indices], attributes.key_of(plain))
    number = imported.fresh(f"{output.name}_dq")
    _rows.typed(made, number, "float32", output)
    axis = kind.rank - 1
    key = attributes.key_of({} if axis == 1 else {"axis": axis})
    tables.add("DequantizeLinear", number, found, scale, ABSENT, key)
    imported.operators |= {"Gather", "DequantizeLinear"}
    site = f"gather-int8:{node.name or output.name}"
    made.alternatives.append(Alternative(site, imported.numbers[output], number))
    made.error[site] = quantized.error
    made.where[site] = output.name or ""
