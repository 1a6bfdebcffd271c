"""Residual blocks: what stands beside a skip connection, its probe model with a gate for each, and its removal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir
from onnx import TensorProto, helper

from tcc.cost_models.roofline import Roofline
from tcc.ir.channels.site import Shape
from tcc.ir.execution import Runner
from tcc.ir.model import Model
from tcc.ir.values import constant_value
from tcc.passes._prune_taps import Feed

_GATE = "tcc_probe_gate:"
_SUMS = frozenset({"Add", "Sum"})


@dataclass(frozen=True)
class Block:
    """A sum of a value and of what is computed from it, both of one shape: without the latter it passes through.

    Args:
        node: the sum.
        branch: which of its two inputs is computed from the other.
    """

    node: onnx_ir.Node
    branch: int

    @property
    def name(self) -> str:
        """The sum's."""
        return self.node.name or self.output

    @property
    def output(self) -> str:
        """The sum's output: its name in any copy of the model."""
        return self.node.outputs[0].name or ""


def blocks(model: Model, shapes: Mapping[onnx_ir.Value, Shape]) -> list[Block]:
    """The residual blocks of the top-level graph, in its order; ``shapes`` are those of one run."""
    found = []
    for node in model.graph:
        if node.domain or node.op_type not in _SUMS or len(node.inputs) != 2:
            continue
        out = shapes.get(node.outputs[0])
        for branch in (0, 1):
            inner, skip = node.inputs[branch], node.inputs[1 - branch]
            if inner is None or skip is None or out is None or not shapes.get(inner) == shapes.get(skip) == out:
                continue
            if inner.dtype is not None and inner.dtype.is_floating_point() and _comes_from(inner, skip):
                found.append(Block(node, branch))
                break
    return found


def _comes_from(value: onnx_ir.Value, source: onnx_ir.Value) -> bool:
    """Whether a value is computed from another, through one node at least."""
    waiting, seen = [value], {value}
    while waiting:
        node = waiting.pop().producer()
        for v in () if node is None else node.inputs:
            if v is source:
                return True
            if v is not None and v not in seen:
                seen.add(v)
                waiting.append(v)
    return False


def saved(model: Model, block: Block, roofline: Roofline) -> float:
    """Predicted seconds of the nodes that nobody else needs."""
    dead: set[onnx_ir.Node] = set()
    total = 0.0
    for node in reversed(list(model.graph)):
        uses = [(use.node, use.idx) for v in node.outputs for use in v.uses()]
        if any(v.is_graph_output() for v in node.outputs) or not uses:
            continue
        if all(user in dead or (user is block.node and i == block.branch) for user, i in uses):
            dead.add(node)
            total += roofline.price_of(node).seconds
    return total


class Gated:
    """The model with a number behind each block as a further input, 1 or 0: whether the block takes part."""

    def __init__(self, model: Model, found: Sequence[Block]) -> None:
        proto, weights = model.stripped_proto()
        by_output = {block.output: block for block in found}
        nodes: list[onnx.NodeProto] = []
        for node in list(proto.graph.node):
            block = by_output.get(node.output[0]) if node.output else None
            if block is not None:
                gate, kind = _GATE + block.output, block.node.outputs[0].dtype
                nodes.append(helper.make_node("Cast", [gate], [f"{gate}:cast"], to=int(kind or 1)))
                nodes.append(helper.make_node("Mul", [node.input[block.branch], f"{gate}:cast"], [f"{gate}:out"]))
                node.input[block.branch] = f"{gate}:out"
                proto.graph.input.append(helper.make_tensor_value_info(gate, TensorProto.FLOAT, []))
            nodes.append(node)
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)
        self._gates = [_GATE + block.output for block in found]
        self._blocks = list(found)
        self._runner = Runner(proto, weights=weights)

    def run(self, feed: Feed, gone: Collection[Block] = ()) -> list[Any]:
        """The outputs without some blocks."""
        pairs = zip(self._gates, self._blocks, strict=True)
        return self._runner.run({**feed, **{g: np.array(b not in gone, np.float32) for g, b in pairs}})


def without(model: Model, gone: Collection[Block]) -> Model:
    """A copy in which the skip connections of some blocks stand alone; what nobody needs any more is not in it."""
    copy = model.clone()
    outputs = {block.output: block for block in gone}
    for node in list(copy.graph):
        block = outputs.get(node.outputs[0].name or "") if node.outputs else None
        if block is None:
            continue
        skip, old = node.inputs[1 - block.branch], node.outputs[0]
        made = onnx_ir.Node("", "Identity", [skip], version=node.version, name=node.name)
        onnx_ir.convenience.replace_nodes_and_values(copy.graph, node, [node], [made], [old], made.outputs)
    _remove_dead(copy.graph)
    return copy


def masked(model: Model, gone: Collection[Block]) -> Model:
    """A copy in which the blocks are computed and count for nothing: multiplied by 0."""
    copy = model.clone()
    outputs = {block.output: block for block in gone}
    for node in list(copy.graph):
        block = outputs.get(node.outputs[0].name or "") if node.outputs else None
        inner = None if block is None else node.inputs[block.branch]
        if block is None or inner is None:
            continue
        dtype = block.node.outputs[0].dtype or onnx_ir.DataType.FLOAT
        zero = constant_value(f"{block.output}/tcc_zero", onnx_ir.tensor(np.zeros((), dtype.numpy()), dtype=dtype))
        copy.graph.register_initializer(zero)
        scaled = onnx_ir.Node("", "Mul", [inner, zero], version=node.version)
        node.prepend(scaled)
        node.replace_input_with(block.branch, scaled.outputs[0])
    return copy


def _remove_dead(graph: onnx_ir.Graph) -> None:
    for node in reversed(list(graph)):
        if not any(v.uses() or v.is_graph_output() for v in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            del graph.initializers[name]
