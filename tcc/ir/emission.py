"""Writes a chosen program back into its graph, names, order and signature kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir

from tcc.ir.building import Builder
from tcc.ir.folding import evaluate, original_of, tensor_at_hand
from tcc.ir.frozen import Frozen
from tcc.ir.importing import Imported, captured_values
from tcc.ir.model import bodies
from tcc.ir.naming import Names
from tcc.ir.problem import LEAF, STORED, Candidate
from tcc.ir.values import array_tensor, constant_value


@dataclass(frozen=True)
class Program:
    """A choice and the classes that it computes; ``wide`` as in ``folding.evaluate``."""

    choice: Mapping[int, Candidate]
    used: set[int]
    wide: bool = False


def emit(
    imported: Imported, frozen: Frozen, program: Program, opsets: Mapping[str, int], taken: set[str]
) -> Mapping[int, onnx_ir.Value | None]:
    """Replace the graph's nodes and initialisers by the chosen program.

    Args:
        imported: the graph and its e-graph; the graph is changed in place.
        frozen: the read-out that was extracted from.
        program: what to write.
        opsets: versions of the domains.
        taken: names that exist anywhere in the model; new ones are added.

    Returns:
        The value of each class as it was written.
    """
    builder = Builder(imported, frozen, program.choice, opsets[""])
    named = any(node.name for node in imported.graph)
    writing = _Writing(imported, frozen, builder, Names(taken), names_nodes=named)
    constants = _constants(writing, program, opsets)
    old_nodes = list(imported.graph)
    old_outputs = list(imported.graph.outputs)
    for c in program.used:
        if program.choice[c].node == LEAF:
            builder.values[c] = _leaf(imported, frozen, c)
    builder.build(program.used)
    _name_values(writing, program.used)
    outputs = _outputs(writing, old_outputs)
    _rewire_bodies(imported, frozen, builder)
    _replace(imported.graph, old_nodes, builder.nodes, outputs, constants)
    return builder.values


@dataclass
class _Writing:
    """What the steps of one emission share."""

    imported: Imported
    frozen: Frozen
    builder: Builder
    names: Names
    bases: dict[str, str] = field(default_factory=dict)
    """What made-up names begin with: one more would else be as long as the path to it."""
    names_nodes: bool = True
    """Whether new nodes get names: where no node has one, names alone could make the file larger than it was."""

    def made_up(self, node: onnx_ir.Node) -> str:
        """A name for a value that no imported one stands for: after the node's first input, and its operator."""
        first = next((v.name for v in node.inputs if v is not None and v.name), "")
        base = self.bases.get(first, first)
        name = self.names.fresh(f"{base}/{node.op_type.lower()}" if base else node.op_type.lower())
        self.bases[name] = base
        return name


def _leaf(imported: Imported, frozen: Frozen, c: int) -> onnx_ir.Value:
    for number in frozen.classes[c].numbers:
        v = imported.values[number]
        if v is not None and is_leaf(imported.graph, v):
            return v
    raise AssertionError("a leaf class holds a leaf")


def is_leaf(graph: onnx_ir.Graph, v: onnx_ir.Value) -> bool:
    """Whether a value is an input of the graph or comes from an enclosing one."""
    producer = v.producer()
    return (producer is None or producer.graph is not graph) and v.const_value is None


def _constants(writing: _Writing, program: Program, opsets: Mapping[str, int]) -> list[onnx_ir.Value]:
    """The values of the stored classes; those that nobody holds yet are computed here."""
    imported, frozen, builder, names = writing.imported, writing.frozen, writing.builder, writing.names
    stored = [c for c in sorted(program.used) if builder.choice[c].node.operator == STORED]
    missing = [c for c in stored if tensor_at_hand(imported, frozen, c) is None]
    computed = evaluate(imported, frozen, missing, opsets, wide=program.wide)
    made: list[onnx_ir.Value] = []
    for c in stored:
        v = original_of(imported, frozen, c)
        if v is None or (v.producer() is not None):
            tensor = array_tensor(computed[c]) if c in computed else tensor_at_hand(imported, frozen, c)
            assert tensor is not None
            base = next((imported.values[n] for n in frozen.classes[c].numbers), None)
            v = constant_value(_base_name(base) or names.fresh("constant"), tensor)
        elif v.graph is None:
            v.name = names.fresh(v.name or "constant")  # a rule's own constant: what nodes compute is named after it
        builder.values[c] = v
        if v.graph is None or v.graph is imported.graph:
            made.append(v)
    return made


def _base_name(v: onnx_ir.Value | None) -> str:
    return "" if v is None or not v.name or v.is_graph_output() else v.name


def _name_values(writing: _Writing, used: set[int]) -> None:
    """Name what the nodes compute: as the imported value was called, an output of the graph above all."""
    imported, frozen, builder, names = writing.imported, writing.frozen, writing.builder, writing.names
    made = {v: c for c, v in sorted(builder.values.items()) if v is not None and v.producer() is not None}
    standing: dict[int, list[int]] = {}
    for c in sorted(used):
        # A program taken over a lossy edge stands for the class it is taken for, name included.
        standing.setdefault(builder.resolve(c), []).append(c)
    for node in builder.nodes:
        for v in node.outputs:
            if v not in made:
                # Not read by anyone: the empty name of an optional output, or one that the schema asks for.
                v.name = v.name if v.name == "" else names.fresh(f"{node.op_type.lower()}_unused")
                continue
            numbers = [
                imported.values[n]
                for stand_in in standing.get(made[v], [made[v]])
                for n in frozen.classes[stand_in].numbers
            ]
            known = [w for w in numbers if w is not None and w.name and w.const_value is None]
            outputs = [w for w in known if w.is_graph_output() and w in imported.graph.outputs]
            inside = [w for w in known if not is_leaf(imported.graph, w) and not w.is_graph_output()]
            if outputs or inside:
                v.name = (outputs or inside)[0].name
                v.metadata_props.update((outputs or inside)[0].metadata_props)
            elif hint := _hint(imported.hints, frozen, standing.get(made[v], [made[v]])):
                maker = _hint(imported.makers, frozen, standing.get(made[v], [made[v]]))
                v.name = names.fresh(hint)
                node.name = names.fresh(maker) if maker and maker != hint else v.name
            else:
                v.name = writing.made_up(node)
        origin = _origin(imported, frozen, made, node)
        if origin is not None:
            node.name = origin.name
            node.metadata_props.update(origin.metadata_props)
        elif not node.name and writing.names_nodes:
            node.name = names.fresh(f"{node.outputs[0].name}/{node.op_type}")


def _hint(hints: Mapping[int, str], frozen: Frozen, classes: list[int]) -> str:
    """What the maker of the first hinted value in these classes wants it, or its node, to be called."""
    found = (hints.get(n) for c in classes for n in frozen.classes[c].numbers)
    return next((hint for hint in found if hint), "")


def _origin(
    imported: Imported, frozen: Frozen, made: Mapping[onnx_ir.Value, int], node: onnx_ir.Node
) -> onnx_ir.Node | None:
    """The imported node that this one stands for: same operator, same value."""
    for v in node.outputs:
        for number in frozen.classes[made[v]].numbers if v in made else ():
            old = imported.values[number]
            producer = None if old is None else old.producer()
            if producer is not None and producer.op_type == node.op_type and producer.graph is imported.graph:
                return producer
    return None


def _outputs(writing: _Writing, old: list[onnx_ir.Value]) -> list[onnx_ir.Value]:
    """The graph's outputs under their own names and types; one that is not computed by a node gets one."""
    imported, frozen, builder = writing.imported, writing.frozen, writing.builder
    done: set[onnx_ir.Value] = set()
    outputs: list[onnx_ir.Value] = []
    for output in old:
        c = frozen.of[imported.numbers[output]]
        v = builder.input(c)
        assert v is not None
        # A loop's body hands an input of its own straight on: the two are one value with one name.
        passed_on = v is output and v.is_graph_input()
        if v in done or not (passed_on or (v.producer() is not None and v.name == output.name and not _is_outer(v))):
            v = _copied(writing, c, v)
        v.name, v.type, v.shape = output.name, output.type, output.shape
        v.metadata_props.update(output.metadata_props)
        done.add(v)
        outputs.append(v)
    return outputs


def _is_outer(v: onnx_ir.Value) -> bool:
    # The new nodes are in no graph yet: whoever stands in one belongs to an enclosing graph.
    producer = v.producer()
    return producer is not None and producer.graph is not None


def _copied(writing: _Writing, c: int, v: onnx_ir.Value) -> onnx_ir.Value:
    """A node that gives an input, a constant or another output a second name."""
    imported, frozen, builder, names = writing.imported, writing.frozen, writing.builder, writing.names
    as_node = v.const_value is not None and (builder.opset >= _ANY_CONSTANT or v.const_value.dtype in _FLOATS)
    if v.const_value is not None and as_node:
        node = onnx_ir.Node("", "Constant", [], [onnx_ir.AttrTensor("value", v.const_value)], version=builder.opset)
    else:
        node = onnx_ir.Node("", "Identity", [v], version=builder.opset)
    origin = next((imported.values[n] for n in frozen.classes[c].numbers), None)
    node.name = names.fresh(f"{origin.name if origin is not None else 'output'}/{node.op_type}")
    builder.nodes.append(node)
    return node.outputs[0]


_ANY_CONSTANT = 9
"""The first opset whose Constant holds any type; before, only floating-point ones."""
_FLOATS = frozenset({onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.DOUBLE})


def _rewire_bodies(imported: Imported, frozen: Frozen, builder: Builder) -> None:
    """Point the bodies of carried nodes at the new values of what they capture."""
    for node in builder.nodes:
        captured = captured_values(node)
        for v in captured:
            new = builder.input(frozen.of[imported.numbers[v]])
            if new is None or new is v:
                continue
            for body in bodies(node):
                _replace_in(body, v, new)


def _replace_in(body: onnx_ir.Graph, old: onnx_ir.Value, new: onnx_ir.Value) -> None:
    for node in body.all_nodes():
        for i, v in enumerate(node.inputs):
            if v is old:
                node.replace_input_with(i, new)
    for graph in (body, *body.subgraphs()):
        for i, v in enumerate(graph.outputs):
            if v is old:
                graph.outputs[i] = new


def _replace(
    graph: onnx_ir.Graph,
    old_nodes: list[onnx_ir.Node],
    nodes: list[onnx_ir.Node],
    outputs: list[onnx_ir.Value],
    constants: list[onnx_ir.Value],
) -> None:
    graph.outputs.clear()
    for node in old_nodes:
        for i in range(len(node.inputs)):
            node.replace_input_with(i, None)
    graph.remove(old_nodes)
    used = {v for node in nodes for v in (*node.inputs, *captured_values(node)) if v is not None}
    for v in list(graph.initializers.values()):
        del graph.initializers[v.name or ""]
    for v in constants:
        if v in used:
            graph.initializers.add(v)
    unnamed = [node for node in nodes if not node.name]
    graph.extend(nodes)
    for node in unnamed:  # a graph names what it takes
        node.name = ""
    graph.outputs.extend(outputs)
