"""A graph becomes an e-graph in bulk: its nodes, types and small constants as rows of tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from tcc.ir import attributes, facts, magnitudes, structures, translated
from tcc.ir.attributes import CARRIED
from tcc.ir.engine import EGraph
from tcc.ir.inference import Annotation
from tcc.ir.model import bodies, tensor_type
from tcc.ir.tables import ABSENT, Tables
from tcc.ir.values import constant_value

IMPURE = "!"
"""What the key of an opaque node begins with whose two occurrences may differ."""
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
"""Operators whose two occurrences are two draws: never merged, never folded."""
_PURE_DOMAINS = frozenset({"", "ai.onnx.ml", "com.microsoft"})


@dataclass
class Imported:
    """The e-graph of one graph and what its numbers stand for.

    ``values[n]`` is the graph's value that ``value(n)`` names; ``nodes[key]`` the node behind an opaque key.
    """

    egraph: EGraph
    graph: onnx_ir.Graph
    values: list[onnx_ir.Value | None] = field(default_factory=lambda: [None])
    numbers: dict[onnx_ir.Value, int] = field(default_factory=dict)
    nodes: dict[str, onnx_ir.Node] = field(default_factory=dict)
    operators: set[str] = field(default_factory=set)
    opaque_keys: dict[onnx_ir.Node, str] = field(default_factory=dict)
    tables: Tables = field(default_factory=Tables)
    hints: dict[int, str] = field(default_factory=dict)
    """Names for values that the graph does not hold."""
    makers: dict[int, str] = field(default_factory=dict)
    """Names for the nodes that make them, where they are not the values'."""

    def fresh(self, hint: str = "", maker: str = "") -> int:
        """A number for a value that the graph does not hold, and what to call it and its node if it is written."""
        self.values.append(None)
        if hint:
            self.hints[len(self.values) - 1] = hint
        if maker:
            self.makers[len(self.values) - 1] = maker
        return len(self.values) - 1

    def constant(self, tables: Tables, content: np.ndarray | onnx_ir.TensorProtocol, name: str) -> int:
        """The number of a new constant; a lazy tensor is computed only if it is chosen."""
        v = constant_value(name, onnx_ir.tensor(content) if isinstance(content, np.ndarray) else content)
        number = self.number(v)
        tables.add("constant", number)
        tables.add("type", number, facts.kind_text(tensor_type(v)))
        if isinstance(content, np.ndarray) and (text := facts.known_text(content)):
            tables.add("known", number, text)
        return number

    def number(self, v: onnx_ir.Value | None) -> int:
        """The number of a value, given on first sight; ``ABSENT`` for no value."""
        if v is None:
            return ABSENT
        if v not in self.numbers:
            self.numbers[v] = len(self.values)
            self.values.append(v)
        return self.numbers[v]


def import_graph(graph: onnx_ir.Graph, found: Annotation) -> Imported:
    """The e-graph of one graph, its types and small constants as facts.

    Args:
        graph: types of its values as far as known; bodies of its nodes are left alone.
        found: what inference knows besides.
    """
    egraph = EGraph()
    egraph.declare(translated.language().declarations)
    imported = Imported(egraph, graph)
    tables = imported.tables
    twins = _twins(graph)
    for v in graph.inputs:
        if not v.is_initializer():
            imported.number(v)
    for v in graph.initializers.values():
        _add_initializer(imported, tables, v, twins.get(v, v))
    for node in graph:
        _add_node(imported, tables, node)
    for v in graph.outputs:
        imported.number(v)
    own = set(graph.initializers.values())
    declared = set(graph.outputs) if found.outputs else set()
    kinds = [tensor_type(v) for v in graph.inputs]
    given = frozenset(d for kind in kinds if kind is not None for d in kind.shape or () if isinstance(d, str))
    for v, number in imported.numbers.items():
        # What an output is declared to be is trusted no further than inference confirms it.
        if kind_found := found.outputs.get(v.name or "", tensor_type(v)) if v in declared else tensor_type(v):
            tables.add("type", number, facts.kind_text(kind_found, given))
        if v.const_value is not None and v not in own:
            _add_constant(tables, number, v)
        if (sizes := found.known.get(v.name or "")) is not None:
            tables.add("known", number, facts.sizes_text(sizes, given))
        for text in magnitudes.of(v) if v.const_value is not None else ():
            tables.add("moderate", number, text)
    tables.load(imported.egraph)
    return imported


def _twins(graph: onnx_ir.Graph) -> dict[onnx_ir.Value, onnx_ir.Value]:
    """Initialisers with the same content as an earlier one, with that one; where the content is known, that tells."""
    groups: dict[tuple[object, ...], list[onnx_ir.Value]] = {}
    twins: dict[onnx_ir.Value, onnx_ir.Value] = {}
    for v in graph.initializers.values():
        tensor = v.const_value
        if tensor is None or tensor.dtype == onnx_ir.DataType.STRING or _known(tensor):
            continue
        content = tensor.numpy()
        # The first bytes tell nearly all different weights apart without reading the rest.
        head = content.reshape(-1)[:64].tobytes()
        group = groups.setdefault((tensor.dtype, tuple(tensor.shape), head), [])
        first = next((w for w in group if _same_bytes(w, content)), None)
        if first is None:
            group.append(v)
        else:
            twins[v] = first
    return twins


def _known(tensor: onnx_ir.TensorProtocol) -> str:
    """The text of a small tensor's value; empty where it is no fact."""
    return facts.known_text(tensor.numpy()) if tensor.size <= facts.LARGEST_KNOWN else ""


def _same_bytes(v: onnx_ir.Value, content: np.ndarray) -> bool:
    assert v.const_value is not None
    other = v.const_value.numpy()
    return bool(np.array_equal(_bits(other), _bits(content)))


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _add_initializer(imported: Imported, tables: Tables, v: onnx_ir.Value, twin: onnx_ir.Value) -> None:
    number = imported.number(v)
    if twin is not v:
        tables.add("alias", number, imported.number(twin))
    else:
        _add_constant(tables, number, v)


def _add_constant(tables: Tables, number: int, v: onnx_ir.Value) -> None:
    tensor = v.const_value
    assert tensor is not None
    tables.add("constant", number)
    if text := _known(tensor):
        tables.add("known", number, text)
    if found := structures.structure_of(tensor):
        tables.add("structure", number, found)


def _add_node(imported: Imported, tables: Tables, node: onnx_ir.Node) -> None:
    operator = translated.language().operators.get(node.op_type) if node.domain == "" else None
    plain = attributes.plain(node)
    inputs = [imported.number(v) for v in node.inputs]
    used = [i for i, v in enumerate(node.outputs) if v.name and (v.uses() or v.is_graph_output())]
    fits = (
        operator is not None
        and plain is not None
        and (operator.variadic or len(inputs) <= operator.inputs)
        and (operator.several or used in ([], [0]))
        and not (operator.variadic and not inputs)
        and _is_deterministic(node)
        and not (node.op_type == "BatchNormalization" and plain.get("training_mode", 0))  # has to have all outputs
    )
    if not fits or operator is None or plain is None:
        _add_opaque(imported, node, inputs, used, plain)
        return
    imported.operators.add(operator.name)
    if operator.several:
        plain = {**plain, facts.OUTPUTS_MARK: len(node.outputs)}
    key = attributes.key_of(plain)
    if operator.variadic:
        cells: list[object] = [tables.list_of(tuple(inputs))]
    else:
        cells = [*inputs, *[ABSENT] * (operator.inputs - len(inputs))]
    if operator.several:
        number = imported.number(node.outputs[0])
        tables.add(operator.name, number, *cells, key)
        for i in used:
            tables.add("project", imported.number(node.outputs[i]), number, i)
    else:
        tables.add(operator.name, imported.number(node.outputs[0]), *cells, key)


def _is_deterministic(node: onnx_ir.Node) -> bool:
    # Dropout draws only in training mode, which its third input switches on.
    return node.op_type != "Dropout" or len(node.inputs) < 3 or node.inputs[2] is None


def _add_opaque(
    imported: Imported,
    node: onnx_ir.Node,
    inputs: list[int],
    used: list[int],
    plain: dict[str, attributes.Plain] | None,
) -> None:
    tables = imported.tables
    captured = [imported.number(v) for v in captured_values(node)]
    pure = node.domain in _PURE_DOMAINS and node.op_type not in RANDOM and plain is not None and not node.overload
    pure = pure and not (node.op_type == "Dropout" and not _is_deterministic(node))
    outputs = "".join("1" if v.name else "0" for v in node.outputs)
    name = f"{node.domain}::{node.op_type}:{outputs}"
    if pure and plain is not None:
        key = f"{name}:{attributes.key_of(plain)}"
    else:
        key = f"{IMPURE}{name}:{len(imported.nodes)}"
    if node.domain == "" and node.op_type in CARRIED:
        imported.operators.add(node.op_type)
    imported.nodes.setdefault(key, node)
    imported.opaque_keys[node] = key
    number = imported.number(node.outputs[0]) if node.outputs else len(imported.values)
    tables.add("opaque", number, key, tables.list_of((*inputs, *captured)))
    for i in used:
        tables.add("project", imported.number(node.outputs[i]), number, i)


def has_bodies(node: onnx_ir.Node) -> bool:
    """Whether a node contains graphs."""
    return any(a.type in (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS) for a in node.attributes.values())


def captured_values(node: onnx_ir.Node) -> list[onnx_ir.Value]:
    """Values of enclosing graphs that the node's bodies use, each once, in order of first use."""
    if not has_bodies(node):
        return []
    return list(dict.fromkeys(v for body in bodies(node) for v in _captured(body)))


def _captured(body: onnx_ir.Graph) -> list[onnx_ir.Value]:
    own = {*body.inputs, *body.initializers.values()}
    nodes = list(body)
    for node in nodes:
        own.update(node.outputs)
    used = [v for node in nodes for v in (*node.inputs, *captured_values(node)) if v is not None]
    used += list(body.outputs)
    return [v for v in used if v not in own]


def is_pure(key: str) -> bool:
    """Whether an opaque node gives the same outputs for the same inputs, as far as is known."""
    return not key.startswith(IMPURE)
