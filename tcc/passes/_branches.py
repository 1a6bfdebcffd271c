"""Branches of an If whose condition is known."""

from __future__ import annotations

import onnx_ir

from tcc.ir.model import Model
from tcc.ir.naming import Names, names_of_values


def take_decided(model: Model) -> int:
    """Put the taken branch in the place of each If whose condition is constant, those in bodies too; how many."""
    branches = 0
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        while (found := _decided(graph)) is not None:
            _take_branch(model, graph, *found)
            branches += 1
        waiting += [body for node in graph for body in _bodies(node)]
    return branches


def _bodies(node: onnx_ir.Node) -> list[onnx_ir.Graph]:
    kinds = onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS
    given = [attribute for attribute in node.attributes.values() if attribute.type in kinds]
    return [
        g
        for attribute in given
        for g in (attribute.as_graphs() if attribute.type == kinds[1] else [attribute.as_graph()])
    ]


def _decided(graph: onnx_ir.Graph) -> tuple[onnx_ir.Node, onnx_ir.Graph] | None:
    for node in graph:
        if node.op_type != "If" or node.domain or node.inputs[0] is None:
            continue
        condition = node.inputs[0]
        if condition.const_value is None or condition.is_graph_input():
            continue
        taken = "then_branch" if bool(condition.const_value.numpy().reshape(-1)[0]) else "else_branch"
        return node, node.attributes[taken].as_graph()
    return None


def _take_branch(model: Model, graph: onnx_ir.Graph, node: onnx_ir.Node, branch: onnx_ir.Graph) -> None:
    """Move the branch's nodes before the If, its outputs in the place of the If's."""
    results, held = list(branch.outputs), list(branch.initializers.values())
    branch.initializers.clear()
    free = Names(names_of_values(model.graph))
    for v in held:
        if v.name in free.taken:
            v.name = free.fresh(f"{node.name}/{v.name}")
        graph.initializers.add(v)
    inside = list(branch)
    branch.outputs.clear()
    branch.remove(inside)
    graph.insert_before(node, inside)
    for old, new in zip(list(node.outputs), results, strict=True):
        _stand_in(graph, node, old, new)
    graph.remove(node, safe=True)


def _stand_in(graph: onnx_ir.Graph, node: onnx_ir.Node, old: onnx_ir.Value, new: onnx_ir.Value) -> None:
    if not old.is_graph_output():
        old.replace_all_uses_with(new)
        return
    # An output of the graph keeps its name and type, so it gets a node of its own.
    copy = onnx_ir.Node("", "Identity", [new], name=f"{node.name}/{old.name}", version=node.version)
    copy.outputs[0].type, copy.outputs[0].shape = old.type, old.shape
    graph.insert_before(node, [copy])
    graph.outputs[list(graph.outputs).index(old)] = copy.outputs[0]
    old.replace_all_uses_with(copy.outputs[0])
    name, old.name = old.name, f"{old.name}/inlined"
    copy.outputs[0].name = name
