"""The structure of a protobuf model: who produces what, in which order, with which operators."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import onnx

from tcc.diagnostics import Diagnostic, node_location
from tcc.ir.naming import fresh

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto

Functions = frozenset[tuple[str, str]]
"""The model's own operators: domain and name of each function."""


def location(source: str, node: NodeProto) -> str:
    """Where a node stands; one without a name goes by its first output."""
    return node_location(source, node.name or next(iter(node.output), ""), node.op_type)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The bodies that a control-flow node carries."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def used(node: NodeProto) -> list[str]:
    """The values a node needs: its inputs, and what its bodies take from outside."""
    names = list(node.input)
    for graph in subgraphs(node):
        own = set(_defined(graph))
        inner = [name for n in graph.node for name in used(n)] + [value.name for value in graph.output]
        names += [name for name in inner if name not in own]
    return names


def all_graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The model's graph and every subgraph, those in functions too."""
    yield model.graph
    for node in all_nodes(model):
        yield from subgraphs(node)


def all_nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node of the model: of its graph, of subgraphs and of functions."""
    yield from _within(model.graph.node)
    for function in model.functions:
        yield from _within(function.node)


def _within(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for body in subgraphs(node):
            yield from _within(body.node)


def _defined(graph: GraphProto) -> list[str]:
    """The names that a graph gives to values; an initialiser that is also an input counts once."""
    names = dict.fromkeys(value.name for value in graph.input)
    names |= dict.fromkeys(tensor.name for tensor in graph.initializer)
    names |= dict.fromkeys(tensor.values.name for tensor in graph.sparse_initializer)
    return [*names, *(name for node in graph.node for name in node.output if name)]


def spell_default_domain(model: ModelProto) -> None:
    """Write the default domain as the empty name everywhere, in place; ``ai.onnx`` is its other name."""
    for owner in (model, *model.functions):
        for opset in owner.opset_import:
            if opset.domain == "ai.onnx":
                opset.ClearField("domain")
    for node in all_nodes(model):
        if node.domain == "ai.onnx":
            node.ClearField("domain")


def name_results(model: ModelProto) -> int:
    """Name, in place, results that are left out where an operator has any number of them, such as a part of a Split.

    ONNX lets only optional outputs go unnamed. What its checker overlooks crashes runtimes, and nodes are told apart by
    what they make.

    Returns:
        At how many nodes.
    """
    several = {"Split", "If", "Loop", "Scan"}
    unnamed = [node for node in all_nodes(model) if node.op_type in several and not node.domain and "" in node.output]
    taken = {name for node in all_nodes(model) for name in node.output} if unnamed else set()
    for node in unnamed:
        for i, name in enumerate(node.output):
            if not name:
                node.output[i] = fresh(f"{node.name or next(filter(None, node.output), node.op_type)}_{i}", taken)
                taken.add(node.output[i])
    return len(unnamed)


def sort(model: ModelProto) -> bool:
    """Sort the nodes of all graphs that are out of order, in place; whether any was.

    The order stays as near to the given one as it can; graphs with cycles are left as they are.
    """
    # A list: every graph has to be visited, also after the first that changed.
    changed = [_sort_nodes(owner) for owner in [*all_graphs(model), *model.functions]]
    return any(changed)


def _sort_nodes(owner: GraphProto | FunctionProto) -> bool:
    edges = _dependencies(owner)
    if all(producer < user for producer, user in edges):
        return False
    import networkx as nx

    order = nx.DiGraph()
    order.add_nodes_from(range(len(owner.node)))
    order.add_edges_from(edges)
    try:
        sequence = list(nx.lexicographical_topological_sort(order))
    except nx.NetworkXUnfeasible:
        return False
    nodes = [onnx.NodeProto.FromString(owner.node[i].SerializeToString()) for i in sequence]
    del owner.node[:]
    owner.node.extend(nodes)
    return True


def _dependencies(owner: GraphProto | FunctionProto) -> list[tuple[int, int]]:
    """Pairs of node positions: a producer and a node that uses what it produces."""
    producer = {name: i for i, node in enumerate(owner.node) for name in node.output if name}
    return [(producer[name], i) for i, node in enumerate(owner.node) for name in used(node) if name in producer]


def unsupported(model: ModelProto, source: str) -> list[Diagnostic]:
    """What ONNX allows and tcc cannot carry without loss: sparse constants and maps."""
    found = []
    for graph in all_graphs(model):
        found += [
            Diagnostic("E0405", f"sparse initialiser {t.values.name!r} is not supported", source, help=_DENSE)
            for t in graph.sparse_initializer
        ]
        found += [
            Diagnostic("E0405", f"value {value.name!r} is a map, which is not supported", source, help=_NO_MAPS)
            for value in [*graph.input, *graph.output, *graph.value_info] if _has_map(value.type)
        ]  # fmt: skip
    sparse = (onnx.AttributeProto.SPARSE_TENSOR, onnx.AttributeProto.SPARSE_TENSORS)
    for owner in [*all_graphs(model), *model.functions]:
        found += [
            Diagnostic("E0405", f"attribute {a.name!r} is a sparse tensor, which is not supported",
                       location(source, node), help=_DENSE)
            for node in owner.node for a in node.attribute if a.type in sparse
        ]  # fmt: skip
    return found


_DENSE = "store the constant as a dense tensor"
_NO_MAPS = "export the classifier without its map of probabilities (skl2onnx: options={'zipmap': False})"


def _has_map(kind: onnx.TypeProto) -> bool:
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        return _has_map(kind.sequence_type.elem_type)
    if which == "optional_type":
        return _has_map(kind.optional_type.elem_type)
    return bool(which == "map_type")


def problems(model: ModelProto, source: str) -> list[Diagnostic]:
    """Everything that is wrong with the structure of a model, each problem with the node's name."""
    graph = model.graph
    if not graph.node and not graph.output:
        return [Diagnostic("E0310", "the graph is empty: it has no nodes and no outputs", source, help=_EXPORT)]
    if garbled := _garbled(model, source):
        return garbled
    functions = frozenset((f.domain, f.name) for f in model.functions)
    found = _operators(list(_within(graph.node)), _opsets(model.opset_import), functions, source)
    found += _graph(graph, frozenset(), source)
    for function in model.functions:
        found += _operators(list(_within(function.node)), _opsets(function.opset_import), functions, source)
        found += _function(function, source)
    return found


_EXPORT = "the export has gone wrong; export the model again"


def _garbled(model: ModelProto, source: str) -> list[Diagnostic]:
    """Names that are no text: protobuf lets any bytes through, and hands them out as bytes."""
    nodes = list(all_nodes(model))
    names = [name for node in nodes for name in (node.name, node.op_type, node.domain, *node.input, *node.output)]
    names += [name for f in model.functions for name in (f.name, f.domain, *f.input, *f.output, *f.attribute)]
    names += [attribute.name for node in nodes for attribute in node.attribute]
    names += [opset.domain for owner in (model, *model.functions) for opset in owner.opset_import]
    for graph in all_graphs(model):
        values = (*graph.input, *graph.output, *graph.initializer, *graph.value_info)
        names += [graph.name, *(value.name for value in values)]
    broken = [repr(name) for name in names if not isinstance(name, str)]
    if not broken:
        return []
    message = f"the model is damaged: names are not UTF-8 text: {', '.join(broken[:3])}"
    return [Diagnostic("E0302", message, source, help="copy, download or export it again")]


def _opsets(imports: Sequence[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {opset.domain: opset.version for opset in imports}


def _graph(graph: GraphProto, outer: frozenset[str], source: str) -> list[Diagnostic]:
    """What is wrong with one graph and those inside it, in which the names of ``outer`` can be used."""
    names = _defined(graph)
    visible = outer | frozenset(names)
    tensors = Counter(tensor.name for tensor in graph.initializer)
    repeated = [*_repeated(names), *(name for name, count in tensors.items() if count > 1)]
    found = [_duplicate(graph, name, source) for name in repeated]
    if "" in tensors:
        found.append(Diagnostic("E0314", "an initialiser has no name", source, help=_EXPORT))
    for node in graph.node:
        found += _inputs(node, visible, source)
        for body in subgraphs(node):
            found += _graph(body, visible, source)
    here = frozenset(names)
    found += [_no_producer(value.name, source) for value in graph.output if value.name not in here]
    return found + _cycles(graph, source)


def _function(function: FunctionProto, source: str) -> list[Diagnostic]:
    names = [*function.input, *(name for node in function.node for name in node.output if name)]
    visible = frozenset(names)
    where = f"{source}:{function.domain}::{function.name}"
    found = [_duplicate(function, name, where) for name in _repeated(names)]
    for node in function.node:
        found += _inputs(node, visible, where)
        for body in subgraphs(node):
            found += _graph(body, visible, where)
    found += [_no_producer(name, where) for name in function.output if name not in visible]
    return found + _cycles(function, where)


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _duplicate(owner: GraphProto | FunctionProto, name: str, source: str) -> Diagnostic:
    producers = [node for node in owner.node if name in node.output]
    where = location(source, producers[-1]) if producers else source
    notes = tuple(f"also produced by {location(source, node)}" for node in producers[:-1])
    message = f"value {name!r} is defined more than once"
    return Diagnostic("E0314", message, where, notes, "give every value a name of its own")


def _inputs(node: NodeProto, visible: frozenset[str], source: str) -> list[Diagnostic]:
    return [
        Diagnostic("E0312", f"input {name!r} is produced by nothing", location(source, node), help=_MISSING)
        for name in node.input
        if name and name not in visible
    ]


_MISSING = "the node, input or initialiser that should define it has been removed or renamed"


def _no_producer(name: str, source: str) -> Diagnostic:
    return Diagnostic("E0313", f"output {name!r} is produced by nothing", source, help=_MISSING)


def _cycles(owner: GraphProto | FunctionProto, source: str) -> list[Diagnostic]:
    """One diagnostic a knot of nodes that wait for each other, naming one way around it."""
    edges = _dependencies(owner)
    if all(producer < user for producer, user in edges):
        return []
    import networkx as nx

    graph = nx.DiGraph(edges)
    found = []
    for knot in sorted(nx.strongly_connected_components(graph), key=min):
        inner = graph.subgraph(knot)
        if inner.number_of_edges() == 0:
            continue
        around = [i for i, _ in nx.find_cycle(inner, min(knot))]
        steps = " -> ".join(owner.node[i].name or owner.node[i].output[0] for i in [*around, around[0]])
        where = location(source, owner.node[around[0]])
        found.append(Diagnostic("E0311", f"the graph has a cycle: {steps}", where, help=_EXPORT))
    return found


def _operators(
    nodes: Sequence[NodeProto], opsets: dict[str, int], functions: Functions, source: str
) -> list[Diagnostic]:
    """Operators that do not exist, or not at the version that the model imports."""
    found = []
    for node in nodes:
        domain = node.domain
        if (domain, node.op_type) in functions:
            continue
        if domain not in opsets:
            message = f"domain {domain or 'ai.onnx'!r} is used but not imported"
            found.append(Diagnostic("E0323", message, location(source, node), help="add it to the opset imports"))
        elif reason := _operator(domain, node.op_type, opsets[domain]):
            code, message, advice = reason
            found.append(Diagnostic(code, message, location(source, node), help=advice))
    return found


@lru_cache(maxsize=4096)
def _operator(domain: str, name: str, opset: int) -> tuple[str, str, str] | None:
    """Why an operator of a domain that ONNX defines cannot be used: code, message, advice."""
    # Nearly all are found, and asking for one is much quicker than collecting the history of all.
    with contextlib.suppress(onnx.defs.SchemaError):
        if not onnx.defs.get_schema(name, opset, domain).deprecated:
            return None
    if domain not in _known_domains():
        return None
    versions = sorted(_versions().get((domain, name), ()))
    if not versions:
        advice = "operators of other libraries need a domain of their own, e.g. com.microsoft"
        return "E0315", f"operator {name!r} does not exist in {domain or 'ai.onnx'}", advice
    first = versions[0][0]
    if first > opset:
        message = f"operator {name!r} is newer than the opset: it came with {first}, the model has {opset}"
        return "E0316", message, f"export with opset {first} or later"
    version, deprecated = max(v for v in versions if v[0] <= opset)
    if deprecated:
        message = f"operator {name!r} was removed in opset {version}, the model has {opset}"
        return "E0317", message, "export again; a newer operator replaces it"
    return None


@lru_cache(maxsize=1)
def _versions() -> dict[tuple[str, str], set[tuple[int, bool]]]:
    """For each of ONNX's operators, the versions that changed it, and whether that was its removal."""
    table: dict[tuple[str, str], set[tuple[int, bool]]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        table.setdefault((schema.domain, schema.name), set()).add((schema.since_version, schema.deprecated))
    return table


@lru_cache(maxsize=1)
def _known_domains() -> frozenset[str]:
    return frozenset(domain for domain, _ in _versions())
