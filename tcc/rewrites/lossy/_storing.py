"""Weights that lie in the file in a narrow type and are computed back once, when the model is loaded.

The nodes that compute a weight back depend on no input: a runtime that folds constants runs them at load time, and
what it then runs is the program that it ran before. The file is smaller, the run neither faster nor slower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir

from tcc.ir import attributes, facts
from tcc.ir.model import tensor_type
from tcc.ir.weight_probing import Reweighted
from tcc.rewrites.lossy import SMALLEST, Alternative, Offer
from tcc.rewrites.lossy._measured import to_nearest

MULTIPLIES = 7
"""The first opset whose Mul broadcasts as numpy does."""
_TO_SINGLE = attributes.key_of({"to": onnx.TensorProto.FLOAT})


@dataclass(frozen=True)
class Narrow:
    """A weight in a narrow type: ``values`` alone, or times a ``scale`` that broadcasts to them.

    ``error`` is the relative L2 error of what its only user gives, where that is known, ``reweighted`` that user.
    """

    values: np.ndarray
    scale: np.ndarray | None = None
    error: float | None = None
    reweighted: Reweighted | None = None

    def wide(self) -> np.ndarray:
        """What is computed back from it."""
        wide = self.values.astype(np.float32)
        return wide if self.scale is None else np.asarray(wide * self.scale)


def offer_narrow(
    made: Offer, technique: str, dtype: str, narrow: Callable[[onnx_ir.Value, np.ndarray], Narrow | str]
) -> None:
    """Offer each large float32 constant in a narrow type; ``narrow`` gives it, or says why it does not."""
    if dtype not in made.target.storage:
        made.declined[technique] = (
            f"target {made.target.name} is not known to compute {dtype} weights back at load time"
        )
        return
    for v in made.imported.graph.initializers.values():
        kind, held = tensor_type(v), v.const_value
        if kind is None or kind.dtype != "float32" or held is None or held.size < SMALLEST or v.is_graph_input():
            continue
        weight = held.numpy()
        found = narrow(v, weight) if np.isfinite(weight).all() else "holds values that are not finite"
        if isinstance(found, str):
            made.declined[f"{technique}:{v.name}"] = found
        else:
            _offer_one(made, f"{technique}:{v.name}", v, found)


def _offer_one(made: Offer, site: str, v: onnx_ir.Value, found: Narrow) -> None:
    imported, tables = made.imported, made.tables
    stored = imported.constant(tables, found.values, f"{v.name}_{found.values.dtype}")
    cast = imported.fresh()
    tables.add("Cast", cast, stored, _TO_SINGLE)
    tables.add("type", cast, facts.kind_text(tensor_type(v)))
    imported.operators.add("Cast")
    result = cast
    if found.scale is not None:
        result = imported.fresh()
        tables.add("Mul", result, cast, imported.constant(tables, found.scale, f"{v.name}_scale"), "{}")
        tables.add("type", result, facts.kind_text(tensor_type(v)))
        imported.operators.add("Mul")
    made.alternatives.append(Alternative(site, imported.numbers[v], result))
    users = [node for node, _ in v.uses()]
    if len(users) == 1 and users[0].outputs[0].name:
        made.where[site] = users[0].outputs[0].name
    if found.reweighted is not None:
        made.weights[site] = found.reweighted
    if found.error is not None:
        made.error[site] = found.error
        return
    weight = v.const_value.numpy() if v.const_value is not None else found.wide()
    norm = float(np.linalg.norm(weight))
    error = made.error[site] = float(np.linalg.norm(weight - found.wide())) / norm if norm else 0.0
    if (alone := to_nearest(made, v, site, error, found.wide)) is not None:
        made.weights[site] = alone
