"""Peak memory of a schedule: what is alive at each node, buffers that are reused in place counted once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcc.cost_models._operations import VIEWS
from tcc.ir.fixed_sizes import fixed_types
from tcc.ir.importing import RANDOM
from tcc.ir.model import tensor_type

if TYPE_CHECKING:
    import onnx_ir

    from tcc.ir.model import Model
    from tcc.ir.types import TensorType

IN_PLACE = frozenset({
    "Abs", "Add", "Cast", "Ceil", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Log", "Mul", "Neg", "Not", "Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sin", "Softmax",
    "Softplus", "Sqrt", "Sub", "Tanh", "ThresholdedRelu",
})  # fmt: skip
"""Operators that may write over an input of the result's size that nobody reads again."""
_EACH_RUN = RANDOM | {"DequantizeLinear"}
"""Operators that runtimes run each time although all their inputs are constant."""


_INTEGER = frozenset({"Conv", "Gemm", "MatMul"})
"""Products that runtimes compute in integers where all that they read is dequantised and their result quantised."""
_SCALED = frozenset({"MatMul"})
"""Those whose result may stay in floating point."""
_CLIPPING = frozenset({"Clip", "Relu"})
"""What kernels in integers do to their results by the way."""


@dataclass(frozen=True)
class Peak:
    """Bytes of activations at the busiest node, that node's name, and bytes of weights; bodies are left out.

    Weights count as kernels read them: one that is computed back from fewer bits when the model is loaded takes what
    it then is, whatever lies in the file.
    """

    activations: float
    weights: float
    node: str

    @property
    def total(self) -> float:
        """Bytes of both."""
        return self.activations + self.weights


class Memory:
    """The peak of a model's top-level graph, its nodes run in order.

    Inputs and outputs are the caller's and live all along; any other value lives from its node to its last reader.
    ``symbols`` gives sizes to symbolic dimensions, ``default_dimension`` to others.
    """

    def __init__(self, symbols: Mapping[str, int] | None = None, default_dimension: int = 1) -> None:
        self._symbols = dict(symbols or {})
        self._default = default_dimension

    def peak(self, model: Model) -> Peak:
        """The peak; values whose type is not known count one element a dimension that is not."""
        schedule = self._schedule(model)
        weights = sum(map(schedule.size, schedule.weights))
        busiest, node = max(schedule.live(), key=lambda at: at[0], default=(schedule.kept, ""))
        return Peak(max(busiest, schedule.kept), weights, node)

    def least(self, model: Model) -> float:
        """Bytes of inputs and outputs, which no program of the same signature can do without."""
        return self._schedule(model).kept

    def profile(self, model: Model) -> list[float]:
        """Bytes of activations that are alive while each node runs, in order."""
        return [alive for alive, _ in self._schedule(model).live()]

    def _schedule(self, model: Model) -> _Schedule:
        kinds = fixed_types(model, self._symbols, self._default)
        return _Schedule(model.graph, lambda v: self._size(v, kinds))

    def _size(self, v: onnx_ir.Value, kinds: Mapping[str, TensorType]) -> float:
        kind = kinds.get(v.name or "") or tensor_type(v)
        return 0.0 if kind is None else kind.nbytes(self._symbols, self._default)


class _Schedule:
    """The buffers of a graph whose nodes run in order; values that share memory have one buffer."""

    def __init__(self, graph: onnx_ir.Graph, size: Callable[[onnx_ir.Value], float]) -> None:
        self._nodes = list(graph)
        self.size = size
        constant = _constant(graph)
        folded = {node for node in self._nodes if node.outputs and all(v in constant for v in node.outputs)}
        self.weights = [v for v in constant if any(node not in folded for node, _ in v.uses()) or v.is_graph_output()]
        ports = [v for v in dict.fromkeys((*graph.inputs, *graph.outputs)) if v.const_value is None]
        self.kept = sum(map(size, (v for v in ports if v not in constant)))
        self._held = {*ports, *constant}
        self._held |= set(_inside(self._nodes, constant))
        place = {node: i for i, node in enumerate(self._nodes)}
        # What a body reads, its owner reads.
        place |= {inner: i for node, i in list(place.items()) for inner in _owned(node)}
        self._last: dict[onnx_ir.Value, int] = {}
        for node in self._nodes:
            for v in node.outputs:
                self._last[v] = max((place[user] for user, _ in v.uses()), default=place[node])

    def live(self) -> Iterator[tuple[float, str]]:
        """Bytes alive while each node runs, and its name."""
        alive, buffers = self.kept, dict[int, float]()
        of: dict[onnx_ir.Value, int] = {}
        users: dict[int, int] = {}
        for i, node in enumerate(self._nodes):
            for v in node.outputs:
                if v in self._held or not v.name:
                    continue
                buffer = self._reused(node, v, of, users, i)
                if buffer is None:
                    buffer = len(buffers)
                    buffers[buffer] = self.size(v)
                    alive += buffers[buffer]
                of[v] = buffer
                users[buffer] = max(users.get(buffer, 0), self._last[v])
            yield alive, node.name or node.op_type
            for buffer in [b for b, last in users.items() if last <= i]:
                alive -= buffers[buffer]
                del users[buffer]

    def _reused(
        self, node: onnx_ir.Node, v: onnx_ir.Value, of: Mapping[onnx_ir.Value, int], users: Mapping[int, int], at: int
    ) -> int | None:
        """The buffer of an input that the result takes over."""
        if node.op_type in VIEWS:
            first = node.inputs[0] if node.inputs else None
            return of.get(first) if first is not None else None
        if node.op_type in IN_PLACE:
            for read in node.inputs:
                buffer = None if read is None else of.get(read)
                if read is not None and buffer is not None and users[buffer] == at and self.size(read) == self.size(v):
                    return buffer
        return None


def _inside(nodes: Sequence[onnx_ir.Node], constant: Collection[onnx_ir.Value]) -> Iterator[onnx_ir.Value]:
    """Dequantised weights of integer kernels, which read the integers.

    Activations there count in floating point: where a run of them is cut or cannot be fused, they are.
    """
    for node in nodes:
        if node.op_type == "DequantizeLinear" and node.inputs[0] in constant:
            users = [user for user, _ in node.outputs[0].uses()]
            if users and all(map(_is_integer, users)):
                yield node.outputs[0]


def _is_integer(node: onnx_ir.Node) -> bool:
    """Whether a runtime computes a product in integers."""
    if node.op_type not in _INTEGER or not all(map(_is_dequantised, node.inputs[:2])):
        return False
    return node.op_type in _SCALED or _is_rounded(node)


def _is_rounded(node: onnx_ir.Node) -> bool:
    """Whether nothing but a QuantizeLinear reads the result, or what it is clipped to."""
    users = [user for user, _ in node.outputs[0].uses()]
    if len(users) == 1 and users[0].op_type in _CLIPPING:
        return _is_rounded(users[0])
    return bool(users) and all(user.op_type == "QuantizeLinear" for user in users)


def _is_dequantised(v: onnx_ir.Value | None) -> bool:
    maker = None if v is None else v.producer()
    return v is None or (maker is not None and maker.op_type == "DequantizeLinear")


def _constant(graph: onnx_ir.Graph) -> dict[onnx_ir.Value, None]:
    """Weights, and what runtimes compute from weights alone when they load a model; in order."""
    found = dict.fromkeys(v for v in graph.initializers.values() if v.const_value is not None)
    for node in graph:
        given = [v for v in node.inputs if v is not None]
        made = node.op_type == "Constant" or (
            given and node.op_type not in _EACH_RUN and all(v in found for v in given)
        )
        if made and not any(True for _ in _owned(node)):
            found |= dict.fromkeys(v for v in node.outputs if v.name)
    return found


def _owned(node: onnx_ir.Node) -> Iterator[onnx_ir.Node]:
    """The nodes in a node's bodies, and in theirs."""
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        bodies = [attribute.as_graph()] if attribute.type.name == "GRAPH" else []
        bodies += attribute.as_graphs() if attribute.type.name == "GRAPHS" else []
        for body in bodies:
            for inner in body:
                yield inner
                yield from _owned(inner)
