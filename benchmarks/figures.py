"""Counts a model file's nodes and bytes, in the same way for every tool, from the protobuf alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import inliner

_DRAWS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


@dataclass(frozen=True)
class Figures:
    """What a file is.

    ``nodes`` are those of the graph and of the bodies in it, functions expanded at their calls, Constant nodes
    (weights in another notation) left out. ``dependent`` are those of them that depend on an input: what constants
    alone feed is computed once, when a runtime loads the file. ``nbytes`` is the file with its external data.
    """

    nodes: int
    dependent: int
    nbytes: int


def figures(path: Path) -> Figures:
    """The figures of a model file."""
    model = onnx.load(path, load_external_data=False)
    nbytes = path.stat().st_size + sum((path.parent / name).stat().st_size for name in sorted(_external(model.graph)))
    if model.functions:
        model = inliner.inline_local_functions(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name for value in model.graph.input} - constants
    nodes, dependent = _count(model.graph, inputs)
    return Figures(nodes, dependent, nbytes)


def _count(graph: onnx.GraphProto, varying: set[str]) -> tuple[int, int]:
    """Nodes in all, and those that depend on ``varying`` values, to which what the graph computes of them is added."""
    total = dependent = 0
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            continue
        depends = node.op_type in _DRAWS or any(name in varying for name in node.input)
        for body in _bodies(node):
            # What a loop hands to its body changes from turn to turn.
            inner_total, inner_dependent = _count(body, varying | {value.name for value in body.input})
            total, dependent = total + inner_total, dependent + inner_dependent
            depends = depends or inner_dependent > 0
        total, dependent = total + 1, dependent + depends
        if depends:
            varying.update(name for name in node.output if name)
    return total, dependent


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _external(graph: onnx.GraphProto) -> set[str]:
    return {entry.value for tensor in graph.initializer for entry in tensor.external_data if entry.key == "location"}
