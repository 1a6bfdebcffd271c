"""Which operators run as integer kernels, on what, and which values share one scheme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from tcc.ir.calibration import Observation, Range, range_of
from tcc.ir.model import tensor_type
from tcc.rewrites.lossy._schemes import Scheme, activation_scheme
from tcc.targets.target import Quantization

if TYPE_CHECKING:
    import networkx as nx

METHOD = "mse"
"""How ranges are chosen: a method of ``tcc.ir.calibration``."""
WEIGHTED = {"Conv": 1, "Gemm": 1, "MatMul": 1}
"""Operators with a weight, and its input."""
CARRIED = frozenset({
    "Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid", "Softmax", "Relu", "Clip",
})  # fmt: skip
"""Operators that integer kernels exist for and that are worth no conversion of their own."""
MOVING = frozenset({
    "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "DepthToSpace",
    "SpaceToDepth", "Expand", "Identity", "Split",
})  # fmt: skip
"""Operators that give elements of their first input: on integers of one scheme they are exact."""
FUSED = frozenset({"Relu", "Clip"})
"""Activations that the rounding to an unsigned range does on the way."""
FLOAT_OUTPUT = frozenset({"Gemm", "MatMul"})
"""Operators whose integer kernels may give their result in floating point."""


CURVED = frozenset({"Softmax", "Sigmoid"})
"""Operators that answer small differences of their input: a product before them had better not be rounded."""


_LOST = 0.5
"""The part of the values other than zero that may be rounded to zero."""


@dataclass(frozen=True)
class Unit:
    """An operator and, where one follows that only it feeds, the activation behind it."""

    node: onnx_ir.Node
    activation: onnx_ir.Node | None

    @property
    def output(self) -> onnx_ir.Value:
        """What the unit gives."""
        return (self.activation or self.node).outputs[0]


@dataclass
class Values:
    """The schemes of the values of a graph; values that data moves between have the same one.

    ``methods`` names another method of finding the range for some of the values.
    """

    graph: onnx_ir.Graph
    observed: Mapping[str, Observation]
    recipe: Quantization
    method: str = METHOD
    methods: Mapping[str, str] = field(default_factory=dict)
    _groups: dict[onnx_ir.Value, int] = field(default_factory=dict)
    _schemes: dict[int, Scheme | None] = field(default_factory=dict)
    _members: dict[int, list[onnx_ir.Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Exact compilations load this module, and need no library of graphs.
        import networkx as nx

        together: nx.Graph[onnx_ir.Value] = nx.Graph()
        for v in values(self.graph):
            together.add_node(v)
        for node in self.graph:
            if is_moving(node):
                together.add_edges_from((node.inputs[0], v) for v in node.outputs if is_float(v))
            elif node.op_type == "Concat" and not node.domain:
                # An input that goes nowhere else loses nothing by the range of the whole.
                alone = [v for v in node.inputs if v is not None and is_float(v) and len(list(v.uses())) == 1]
                together.add_edges_from((v, node.outputs[0]) for v in alone)
        for number, group in enumerate(nx.connected_components(together)):
            self._members[number] = sorted(group, key=lambda v: v.name or "")
            self._groups.update(dict.fromkeys(group, number))

    def scheme(self, v: onnx_ir.Value) -> Scheme | None:
        """The scheme of a value; None where nothing, or nothing finite, was seen of it."""
        number = self._groups.get(v)
        if number is None:
            return None
        if number not in self._schemes:
            self._schemes[number] = self._scheme(self._members[number])
        return self._schemes[number]

    def sources(self, v: onnx_ir.Value) -> tuple[str, ...]:
        """The names of the values of a group that are not made by moving others of it."""
        members = self._members.get(self._groups.get(v, -1), [])
        inside = set(members)
        return tuple(each.name or "" for each in members if not _moved_from(each, inside))

    def _scheme(self, members: list[onnx_ir.Value]) -> Scheme | None:
        sources = self.sources(members[0])
        method = next((self.methods[name] for name in sources if name in self.methods), self.method)
        seen = [self.observed.get(name) for name in sources]
        if not all(o is not None and o.histogram.finite and o.histogram.total for o in seen):
            return None
        kept = Range(0.0, 0.0)
        for o in seen:
            assert o is not None
            kept = kept.widened(range_of(o.histogram, method, symmetric=self.recipe.symmetric))
        if not kept.high > kept.low:
            return None
        made = activation_scheme(kept, self.recipe)
        # A mask's huge values next to small ones: relative to their energy the error is nothing, and all is lost.
        return made if all(o is not None and o.histogram.below(made.scale / 2) < _LOST for o in seen) else None


def _moved_from(v: onnx_ir.Value, inside: set[onnx_ir.Value]) -> bool:
    """Whether a value is made by moving others of its group."""
    node = v.producer()
    return node is not None and (
        is_moving(node) or (node.op_type == "Concat" and all(i in inside for i in node.inputs))
    )


def values(graph: onnx_ir.Graph) -> list[onnx_ir.Value]:
    """The float32 values that depend on an input, in order."""
    made = [v for node in graph for v in node.outputs]
    return [v for v in (*graph.inputs, *made) if is_float(v) and v.const_value is None and v.name]


def is_float(v: onnx_ir.Value | None) -> bool:
    """Whether a value is known to be float32."""
    kind = None if v is None else tensor_type(v)
    return kind is not None and kind.dtype == "float32"


def is_moving(node: onnx_ir.Node) -> bool:
    """Whether a node only moves elements of its first input."""
    moves = node.op_type in MOVING and not node.domain and bool(node.inputs) and is_float(node.inputs[0])
    # The indices that MaxPool also gives are no elements; integer kernels do not give them.
    return moves and (node.op_type == "Split" or sum(bool(v.name) for v in node.outputs) == 1)


def constant_of(v: onnx_ir.Value | None) -> np.ndarray | None:
    """The array of a float32 constant; None for any other value."""
    if v is None or v.const_value is None or not is_float(v):
        return None
    return v.const_value.numpy()


def is_plain_product(node: onnx_ir.Node) -> bool:
    """Whether a product has neither a factor nor a transposed left side."""
    plain = {name: attribute.value for name, attribute in node.attributes.items()}
    return plain.get("alpha", 1.0) == 1.0 and plain.get("beta", 1.0) == 1.0 and not plain.get("transA", 0)


def feeds_softmax(v: onnx_ir.Value) -> bool:
    """Whether a value reaches a Softmax as it is, or moved."""
    readers = [node for node, _ in v.uses()]
    return any(
        node.op_type == "Softmax" or (is_moving(node) and any(feeds_softmax(out) for out in node.outputs))
        for node in readers
    )  # fmt: skip


def units(graph: onnx_ir.Graph, recipe: Quantization) -> list[Unit]:
    """The operators that the target has integer kernels for, with their activations, in order."""
    found: list[Unit] = []
    taken: set[onnx_ir.Node] = set()
    names = set(recipe.operators) | CARRIED
    for node in graph:
        if node in taken or node.domain or node.op_type not in names or not is_float(node.outputs[0]):
            continue
        following = _following(node)
        if following is not None:
            taken.add(following)
        found.append(Unit(node, following))
    return found


def _following(node: onnx_ir.Node) -> onnx_ir.Node | None:
    """The activation that alone reads a node's output."""
    output = node.outputs[0]
    uses = list(output.uses())
    if node.op_type in FUSED or output.is_graph_output() or len(uses) != 1:
        return None
    user, index = uses[0]
    return user if user.op_type in FUSED and not user.domain and index == 0 and user.graph is node.graph else None
