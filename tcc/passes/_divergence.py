"""Finds the node at which two forms of a model part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx

from tcc.diagnostics import TccError, node_location
from tcc.ir.equality import compare
from tcc.ir.execution import Runner

if TYPE_CHECKING:
    from tcc.passes._snapshot import Snapshot

Feed = Mapping[str, Any]


def first_difference(before: Snapshot, after: Snapshot, feeds: Sequence[Feed], *, bits: bool, rtol: float) -> str:
    """Where the first value that both models name comes out differently, in the order of ``after``'s nodes.

    A bisection by names: a pass that gives an old name to another value leads it astray, so this is a hint.

    Returns:
        ``file:node [Operator]``, or '' where no such value is found.
    """
    known = _produced(before)
    makers = {name: node for name, node in _produced(after).items() if name in known}
    try:
        first, second = (_exposing(model, list(makers)) for model in (before, after))
        for feed in feeds:
            expected, actual = first.run_named(feed), second.run_named(feed)
            for name, node in makers.items():
                if not compare([expected[name]], [actual[name]], bits=bits, rtol=rtol).equal:
                    return node_location(after.source, node.name, node.op_type)
    except TccError:
        return ""  # what fails is being reported already; this only adds to it
    return ""


def _produced(model: Snapshot) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.proto.graph.node for name in node.output if name}


def _exposing(model: Snapshot, names: list[str]) -> Runner:
    """The model with these values as further outputs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    outputs = {value.name for value in proto.graph.output}
    # ONNX Runtime infers the types itself.
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    return Runner(proto, weights=model.weights)
