"""Evaluates constant classes of an e-graph in ONNX Runtime, all in one run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import onnx_ir

from tcc.diagnostics import Exit, fail
from tcc.ir import execution
from tcc.ir.building import Builder
from tcc.ir.extraction import greedy
from tcc.ir.frozen import ENode, Frozen
from tcc.ir.importing import Imported, is_pure
from tcc.ir.model import Model
from tcc.ir.problem import STORED, Price, Problem, Weights, build
from tcc.ir.values import constant_value, ir_type

if TYPE_CHECKING:
    import numpy as np

_IR_VERSION = 10
"""The newest IR version that all supported runtimes read; the evaluated graph is never written."""


def original_of(imported: Imported, frozen: Frozen, c: int) -> onnx_ir.Value | None:
    """The imported constant of a class that has one."""
    for number in frozen.classes[c].numbers:
        v = imported.values[number]
        if v is not None and v.const_value is not None:
            return v
    return None


def tensor_at_hand(imported: Imported, frozen: Frozen, c: int) -> onnx_ir.TensorProtocol | None:
    """The value of a constant class that the model holds or a literal spells out."""
    v, known = original_of(imported, frozen, c), frozen.classes[c].known
    if v is not None:
        return v.const_value
    return onnx_ir.tensor(known.array()) if known is not None and known.is_fixed else None


def evaluate(
    imported: Imported, frozen: Frozen, wanted: Collection[int], opsets: Mapping[str, int]
) -> dict[int, np.ndarray]:
    """The values of constant classes that are not at hand.

    Raises:
        TccError: exit INTERNAL where a class has no constant program.
    """
    if not wanted:
        return {}
    problem = _constant_programs(imported, frozen, wanted)
    choice = greedy(problem)
    if choice is None:
        raise fail(Exit.INTERNAL, "E0101", "a constant has no program to compute it", help="please report this model")
    builder = Builder(imported, frozen, choice, opsets[""])
    used = problem.used(choice)
    initializers = []
    for c in sorted(used):
        if choice[c].node.operator == STORED:
            tensor = tensor_at_hand(imported, frozen, c)
            assert tensor is not None
            builder.values[c] = stored = constant_value(f"k{c}", tensor)
            initializers.append(stored)
    builder.build(used)
    outputs = []
    for c in sorted(wanted):
        v = builder.input(c)
        assert v is not None
        v.name = f"c{c}"
        kind = frozen.classes[c].kind
        assert kind is not None
        v.type, v.shape = ir_type(kind)
        outputs.append(v)
    graph = onnx_ir.Graph([], outputs, nodes=builder.nodes, initializers=initializers, opset_imports=dict(opsets))
    proto, weights = Model(onnx_ir.Model(graph, ir_version=_IR_VERSION)).stripped_proto()
    values = execution.fold(proto, weights=weights)
    return {c: values[f"c{c}"] for c in wanted}


def _constant_programs(imported: Imported, frozen: Frozen, wanted: Collection[int]) -> Problem:
    def price(_: int, node: ENode) -> Price | None:
        if node.operator == "opaque" and not is_pure(node.attributes):
            return None
        return Price(seconds=1.0)

    def stored(c: int) -> float | None:
        return None if tensor_at_hand(imported, frozen, c) is None else 0.0

    return build(frozen, sorted(wanted), price, leaves=(), weights=Weights(), stored=stored)
