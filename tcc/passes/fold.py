"""Computes what does not depend on any input: constant sub-graphs, shapes of static tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_ir

from tcc.diagnostics import TccError
from tcc.ir import execution
from tcc.ir.importing import RANDOM, has_bodies
from tcc.ir.inference import annotate
from tcc.ir.model import Model, is_constant_node, tensor_type
from tcc.ir.types import BITS, TensorType
from tcc.ir.values import array_tensor, constant_value
from tcc.passes.base import Context, Effect, Pass, PassResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

_QUANTIZERS = frozenset({"DequantizeLinear", "DynamicQuantizeLinear"})
"""What stays where it is for the kernels that read integers; the integers of a constant are one themselves."""


@dataclass(frozen=True)
class Fold(Pass):
    """Constant folding by ONNX Runtime, and of Shape and Size by ONNX's inference.

    Args:
        growth: bytes that one folded tensor may take although nothing else becomes smaller. What is larger
            stays a computation: a model that fills a gigabyte with zeros is a small file.
    """

    growth: int = 512

    effect: ClassVar[Effect] = Effect.BITS
    settles: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> PassResult:
        """Fold the top-level graph until nothing is left to fold."""
        del context
        return self.rewrite(model)

    def rewrite(self, model: Model) -> PassResult:
        """``run``, which nothing around the model takes part in."""
        folded, rounds = 0, 0
        # A folded shape lets inference fix further shapes, which may then be folded in turn.
        while (count := self._once(model)) and rounds < _ROUNDS:
            folded, rounds = folded + count, rounds + 1
        scalars = _scalar_ranges(model.graph)
        return PassResult(model, bool(folded or scalars), {"folded": folded, "rounds": rounds})

    def _once(self, model: Model) -> int:
        annotate(model)
        graph = model.graph
        known = {v for v in graph.initializers.values() if not v.is_graph_input()}
        shapes: dict[onnx_ir.Value, np.ndarray] = {}
        wanted: list[onnx_ir.Node] = []
        for node in graph:
            if (shape := _static_shape(node)) is not None:
                shapes[node.outputs[0]] = shape
                known.add(node.outputs[0])
            elif self._is_foldable(node, known):
                wanted.append(node)
                known.update(node.outputs)
        values = shapes | _compute(model, wanted, shapes)
        return _replace(graph, values)

    def _is_foldable(self, node: onnx_ir.Node, known: set[onnx_ir.Value]) -> bool:
        if node.domain or node.op_type in RANDOM | _QUANTIZERS or is_constant_node(node):
            return False
        if has_bodies(node) or any(v is not None and v not in known for v in node.inputs):
            return False
        return bool(node.inputs) and all(self._is_small(v, node) for v in node.outputs if v.name)

    def _is_small(self, v: onnx_ir.Value, node: onnx_ir.Node) -> bool:
        kind = _largest(node) if node.op_type == "NonZero" else tensor_type(v)
        if kind is None or not kind.is_static or kind.dtype == "string":
            return False
        if kind.dtype in _HALVES and node.op_type not in _MOVEMENT:
            # ONNX Runtime computes chains of these in single precision and rounds at their end alone.
            return False
        nbytes = math.prod(kind.sizes({})) * BITS[kind.dtype] / 8
        freed = [
            w.const_value.nbytes
            for w in node.inputs
            if w is not None and w.const_value is not None and len(w.uses()) == 1
        ]
        return nbytes <= max(self.growth, *freed, 0)


def _largest(node: onnx_ir.Node) -> TensorType | None:
    """The type that the places of all elements have: how many there are in fact, ONNX's inference does not tell."""
    of = None if node.inputs[0] is None else tensor_type(node.inputs[0])
    if of is None or of.shape is None or not of.is_static:
        return None
    return TensorType("int64", (len(of.shape), math.prod(of.sizes({}))))


def _scalar_ranges(graph: onnx_ir.Graph) -> int:
    """Give Range the scalars that its specification asks for.

    Runtimes also take a vector of one, so exporters write it; ONNX's inference refuses it as soon as it sees it.
    """
    changed = 0
    for node in graph:
        if node.op_type != "Range" or node.domain:
            continue
        for i, v in enumerate(node.inputs):
            if v is None or v.const_value is None or tuple(v.const_value.shape) != (1,):
                continue
            scalar = constant_value(f"{v.name}/scalar", array_tensor(v.const_value.numpy().reshape(())))
            graph.initializers.add(graph.initializers.get(scalar.name or "", scalar))
            node.replace_input_with(i, graph.initializers[scalar.name or ""])
            changed += 1
    return changed


_ROUNDS = 64
_HALVES = frozenset({"float16", "bfloat16"})
_MOVEMENT = frozenset(
    {
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)


def _static_shape(node: onnx_ir.Node) -> np.ndarray | None:
    """The sizes that a node computes, where they are numbers: those of a tensor, or some of them."""
    if node.domain or not node.inputs or node.inputs[0] is None:
        return None
    if node.op_type == "Size":
        kind = tensor_type(node.inputs[0])
        return np.array(math.prod(kind.sizes({})), np.int64) if kind is not None and kind.is_static else None
    if node.op_type == "Gather":
        # Of several sizes one may be a number, although the others are not: exporters ask for one to decide an If.
        return _gathered(node, _sizes(node.inputs[0].producer()))
    sizes = _sizes(node)
    wanted = [size for size in sizes or () if isinstance(size, int)]
    return np.array(wanted, np.int64) if sizes is not None and len(wanted) == len(sizes) else None


def _sizes(node: onnx_ir.Node | None) -> Sequence[int | str | None] | None:
    """What a Shape gives, as far as it is known."""
    if node is None or node.op_type != "Shape" or node.domain or node.inputs[0] is None:
        return None
    kind = tensor_type(node.inputs[0])
    if kind is None or kind.shape is None:
        return None
    start, end = (node.attributes[n].as_int() if n in node.attributes else None for n in ("start", "end"))
    return kind.shape[slice(start, end)]


def _gathered(node: onnx_ir.Node, sizes: Sequence[int | str | None] | None) -> np.ndarray | None:
    indices = None if node.inputs[1] is None else node.inputs[1].const_value
    if sizes is None or indices is None or indices.size > len(sizes):
        return None
    at = indices.numpy()
    if at.size == 0 or at.min() < -len(sizes) or at.max() >= len(sizes):
        return None
    wanted = [sizes[i] for i in at.reshape(-1)]
    numbers = [size for size in wanted if isinstance(size, int)]
    return np.array(numbers, np.int64).reshape(at.shape) if len(numbers) == len(wanted) else None


def _compute(
    model: Model, wanted: list[onnx_ir.Node], shapes: dict[onnx_ir.Value, np.ndarray]
) -> dict[onnx_ir.Value, np.ndarray]:
    """The outputs that nodes outside ``wanted`` read, of all wanted nodes in one session."""
    if not wanted:
        return {}
    inside = set(wanted)
    outputs = [
        v
        for node in wanted
        for v in node.outputs
        if v.name and (v.is_graph_output() or any(user not in inside for user, _ in v.uses()))
    ]
    if not outputs:
        return {}
    needed = _needed(outputs, inside)
    proto, weights = _constant_graph(model, needed, outputs, shapes)
    try:
        found = execution.fold(proto, weights=weights)
    except TccError:
        # ONNX Runtime has no kernel for one of them: they stay computations.
        return {}
    return {v: found[v.name or ""] for v in outputs if isinstance(found[v.name or ""], np.ndarray)}


def _needed(outputs: list[onnx_ir.Value], inside: set[onnx_ir.Node]) -> list[onnx_ir.Node]:
    order: dict[onnx_ir.Node, None] = {}
    stack = [(v.producer(), False) for v in outputs]
    while stack:
        node, done = stack.pop()
        if node is None or node not in inside or node in order:
            continue
        if done:
            order[node] = None
            continue
        stack.append((node, True))
        stack.extend((v.producer(), False) for v in node.inputs if v is not None)
    return list(order)


def _constant_graph(
    model: Model,
    nodes: list[onnx_ir.Node],
    outputs: list[onnx_ir.Value],
    shapes: dict[onnx_ir.Value, np.ndarray],
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """These nodes alone, the constants they read as initialisers."""
    copies: dict[onnx_ir.Value, onnx_ir.Value] = {}
    initializers: list[onnx_ir.Value] = []
    made: list[onnx_ir.Node] = []

    def copy(v: onnx_ir.Value | None) -> onnx_ir.Value | None:
        if v is None or v in copies:
            return None if v is None else copies[v]
        tensor = array_tensor(shapes[v]) if v in shapes else v.const_value
        assert tensor is not None
        copies[v] = constant_value(v.name or "", tensor)
        initializers.append(copies[v])
        return copies[v]

    for node in nodes:
        inputs = [copy(v) for v in node.inputs]
        clone = onnx_ir.Node(
            node.domain, node.op_type, inputs, list(node.attributes.values()), num_outputs=len(node.outputs),
            version=node.version, name=node.name,
        )  # fmt: skip
        for old, new in zip(node.outputs, clone.outputs, strict=True):
            new.name, new.type, new.shape = old.name, old.type, old.shape
            copies[old] = new
        made.append(clone)
    graph = onnx_ir.Graph(
        [], [copies[v] for v in outputs], nodes=made, initializers=initializers, opset_imports=model.opset_imports,
        name="constants",
    )  # fmt: skip
    return Model(onnx_ir.Model(graph, ir_version=max(model.ir_version, _IR_VERSION))).stripped_proto()


_IR_VERSION = 4
"""Before it, every initialiser has to be an input as well."""


def _replace(graph: onnx_ir.Graph, values: dict[onnx_ir.Value, np.ndarray]) -> int:
    """Make initialisers of computed values and drop the nodes that nobody reads any more."""
    replaced: set[onnx_ir.Node] = set()
    for old, array in values.items():
        node = old.producer()
        if node is None or old.is_graph_output() or not old.uses():
            continue
        new = constant_value(old.name or "", array_tensor(array))
        old.replace_all_uses_with(new)
        replaced.add(node)
        old.name = f"{old.name}/folded"
        graph.initializers.add(new)
    return _drop_dead(graph, replaced)


def _drop_dead(graph: onnx_ir.Graph, suspects: set[onnx_ir.Node]) -> int:
    dropped, stack = 0, sorted(suspects, key=lambda node: node.outputs[0].name or "")
    while stack:
        node = stack.pop()
        if node.graph is not graph or any(v.uses() or v.is_graph_output() for v in node.outputs):
            continue
        producers = [v.producer() for v in node.inputs if v is not None]
        graph.remove(node, safe=True)
        dropped += 1
        stack.extend(p for p in producers if p is not None)
    for v in list(graph.initializers.values()):
        if not v.uses() and not v.is_graph_input() and not v.is_graph_output():
            del graph.initializers[v.name or ""]
    return dropped
