"""Evaluates constant classes of an e-graph in ONNX Runtime, all in one run."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir

from tcc.diagnostics import Exit, TccError, fail
from tcc.ir import execution
from tcc.ir.building import Builder
from tcc.ir.extraction import greedy
from tcc.ir.frozen import ENode, Frozen
from tcc.ir.importing import Imported, is_pure
from tcc.ir.model import Model
from tcc.ir.problem import STORED, Candidate, Price, Problem, Weights, build
from tcc.ir.values import array_tensor, constant_value, ir_type

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
    return array_tensor(known.array()) if known is not None and known.is_fixed else None


def evaluate(
    imported: Imported, frozen: Frozen, wanted: Collection[int], opsets: Mapping[str, int], *, wide: bool
) -> dict[int, np.ndarray]:
    """The values of constant classes that are not at hand.

    Args:
        imported: the graph.
        frozen: its e-graph.
        wanted: classes to be computed.
        opsets: versions of the domains.
        wide: compute in double precision and round once, so that a weight which absorbs a scale is as near to
            the product of the two as its type allows. Off where every bit of the graph's own arithmetic counts.

    Raises:
        TccError: exit INTERNAL where a class has no constant program.
    """
    if not wanted:
        return {}
    problem = _constant_programs(imported, frozen, wanted)
    choice = greedy(problem)
    if choice is None:
        raise fail(Exit.INTERNAL, "E0101", "a constant has no program to compute it", help="please report this model")
    computing = _Computing(imported, frozen, problem, choice, opsets)
    if wide:
        # Where a node asks for a narrower type (a Cast, a kernel that only floats have), all stays narrow.
        with contextlib.suppress(TccError):
            return computing.run(wanted, wide=True)
    return computing.run(wanted, wide=False)


@dataclass(frozen=True)
class _Computing:
    """A chosen constant program, to be run in ONNX Runtime."""

    imported: Imported
    frozen: Frozen
    problem: Problem
    choice: Mapping[int, Candidate]
    opsets: Mapping[str, int]

    def run(self, wanted: Collection[int], *, wide: bool) -> dict[int, np.ndarray]:
        """The wanted values, in their own types."""
        builder = Builder(self.imported, self.frozen, self.choice, self.opsets[""])
        used = self.problem.used(self.choice)
        initializers = []
        for c in sorted(used):
            if self.choice[c].node.operator == STORED:
                builder.values[c] = stored = constant_value(f"k{c}", self._stored(c, wide=wide))
                initializers.append(stored)
        builder.build(used)
        if wide:
            for node in builder.nodes:
                for v in node.outputs:
                    v.type, v.shape = None, None
        outputs = [self._output(builder, c, wide=wide) for c in sorted(wanted)]
        opsets = dict(self.opsets)
        graph = onnx_ir.Graph([], outputs, nodes=builder.nodes, initializers=initializers, opset_imports=opsets)
        proto, weights = Model(onnx_ir.Model(graph, ir_version=_IR_VERSION)).stripped_proto()
        values = execution.fold(proto, weights=weights)
        found = {c: values[f"c{c}"] for c in wanted}
        kinds = {c: self.frozen.classes[c].kind for c in wanted}
        return {c: v.astype(kind.dtype) if wide and (kind := kinds[c]) else v for c, v in found.items()}

    def _stored(self, c: int, *, wide: bool) -> onnx_ir.TensorProtocol:
        tensor = tensor_at_hand(self.imported, self.frozen, c)
        assert tensor is not None
        if wide and tensor.dtype.name in _WIDENED:
            return array_tensor(tensor.numpy().astype(np.float64))
        return tensor

    def _output(self, builder: Builder, c: int, *, wide: bool) -> onnx_ir.Value:
        v, kind = builder.input(c), self.frozen.classes[c].kind
        assert v is not None
        assert kind is not None
        v.name = f"c{c}"
        wider = replace(kind, dtype="float64") if wide and kind.dtype in _WIDE_FROM else kind
        v.type, v.shape = ir_type(wider)
        return v


_WIDENED = frozenset({"FLOAT", "FLOAT16"})
_WIDE_FROM = frozenset({"float32", "float16"})


def _constant_programs(imported: Imported, frozen: Frozen, wanted: Collection[int]) -> Problem:
    def price(_: int, node: ENode) -> Price | None:
        if node.operator == "opaque" and not is_pure(node.attributes):
            return None
        return Price(seconds=1.0)

    def stored(c: int) -> float | None:
        return None if tensor_at_hand(imported, frozen, c) is None else 0.0

    return build(frozen, sorted(wanted), price, leaves=(), weights=Weights(), stored=stored)
