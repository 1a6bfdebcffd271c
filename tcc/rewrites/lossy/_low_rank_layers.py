"""Which nodes of a graph multiply by a constant matrix that can be factored, and how each is read as a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir

from tcc.ir import attributes
from tcc.ir.covariance import Tap
from tcc.ir.model import tensor_type
from tcc.ir.types import TensorType
from tcc.rewrites.lossy import Offer

SMALLEST = 1024
"""Elements below which a weight is left alone: another node outweighs what its factors could save."""
WIDEST = 4096
"""The largest side of a matrix of second moments; its decomposition takes about half a minute."""
_WEIGHT = {"MatMul": 1, "Gemm": 1, "Conv": 1, "ConvTranspose": 1, "Gather": 0}
_DTYPES = frozenset({"float32", "float16", "float64"})
_MATRIX = 2
_GEMM_WITHOUT_BIAS = 11
"""The first opset whose Gemm needs no third input."""


@dataclass(frozen=True)
class Use:
    """One place where a layer is computed: ``result`` is what its factors stand in for.

    ``output`` is what the node itself computes; ``result`` may be a bias further. ``bias`` is [N], None where
    there is none or where it cannot be moved, and ``kept`` a Gemm's own third input in the latter case.
    """

    node: onnx_ir.Node
    source: onnx_ir.Value
    output: onnx_ir.Value
    result: onnx_ir.Value
    bias: np.ndarray | None
    kept: onnx_ir.Value | None = None


@dataclass(frozen=True)
class Layer:
    """A constant weight read as matrices [groups, K, N] that act on rows: y = x W (+ bias), a group at a time.

    ``kind`` is the operator in lower case, ``left`` for a MatMul whose constant comes first.
    """

    kind: str
    weight: onnx_ir.Value
    plain: Mapping[str, attributes.Plain]
    groups: int
    uses: tuple[Use, ...] = field(default=())

    @property
    def name(self) -> str:
        """What sites call it."""
        return self.weight.name or ""

    @property
    def dtype(self) -> str:
        """The element type of the weight."""
        kind = tensor_type(self.weight)
        assert kind is not None
        return kind.dtype

    def matrix(self) -> np.ndarray:
        """The weight as [groups, K, N] in float64; the rows of a convolution's are (channel, kernel position)."""
        assert self.weight.const_value is not None
        array = self.weight.const_value.numpy().astype(np.float64)
        if self.kind == "conv":
            return array.reshape(self.groups, array.shape[0] // self.groups, -1).transpose(0, 2, 1)
        if self.kind == "convtranspose":
            return np.moveaxis(array, 1, -1).reshape(1, -1, array.shape[1])
        transposed = self.kind == "left" or bool(self.plain.get("transB", 0))
        scale = float(self.plain.get("alpha", 1.0)) if self.kind == "gemm" else 1.0  # type: ignore[arg-type]
        return scale * (array.T if transposed else array)[None]

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's own shape."""
        kind = tensor_type(self.weight)
        assert kind is not None
        return kind.sizes({})

    @property
    def size(self) -> tuple[int, int]:
        """K and N of one group."""
        shape = self.shape
        count = int(np.prod(shape))
        if self.kind in {"conv", "convtranspose"}:
            columns = shape[0] // self.groups if self.kind == "conv" else shape[1]
            return count // self.groups // columns, columns
        transposed = self.kind == "left" or bool(self.plain.get("transB", 0))
        return (shape[1], shape[0]) if transposed else (shape[0], shape[1])

    @property
    def pointwise(self) -> bool:
        """Whether a row of the input is a vector of the input tensor: no windows, no indices."""
        window = self.kind == "conv" and int(np.prod(self.shape[2:])) > 1
        return self.kind not in {"convtranspose", "gather"} and not window and self.groups == 1

    def axis(self, rank: int) -> int:
        """The axis of the outputs (and of a pointwise layer's inputs) along which rows lie."""
        if self.kind in {"conv", "convtranspose"}:
            return 1
        return rank - 2 if self.kind == "left" else rank - 1

    def output_tap(self, use: Use) -> Tap:
        """Where the node's own outputs are measured."""
        kind = _known(use.output)
        assert kind.rank is not None
        return Tap(use.output.name or "", self.axis(kind.rank), kind.rank, self.groups * self.size[1], kind.dtype)

    def input_tap(self, use: Use) -> Tap:
        """Where a pointwise layer's inputs are measured."""
        kind = _known(use.source)
        assert kind.rank is not None
        axis = 0 if self.plain.get("transA", 0) and self.kind == "gemm" else self.axis(kind.rank)
        return Tap(use.source.name or "", axis, kind.rank, self.size[0], kind.dtype)


def _known(v: onnx_ir.Value) -> TensorType:
    kind = tensor_type(v)
    assert kind is not None
    return kind


def find(made: Offer) -> list[Layer]:
    """The factorable layers in the graph's order; each node that is none gets a reason where one might expect it.

    Nodes that use one weight alike are one layer: it is factored once for all of them.
    """
    layers: dict[object, Layer] = {}
    for node in made.imported.graph:
        found = _layer(node)
        if found is None:
            continue
        if isinstance(found, Layer) and found.plain.get("transA", 0) and made.opset < _GEMM_WITHOUT_BIAS:
            found = f"Gemm of opset {made.opset} wants a third input"
        if isinstance(found, str):
            made.declined[f"low-rank:{node.name}"] = found
            continue
        key = (found.weight, found.kind, attributes.key_of(dict(found.plain)))
        before = layers.get(key)
        layers[key] = found if before is None else replace(before, uses=before.uses + found.uses)
    return list(layers.values())


def _layer(node: onnx_ir.Node) -> Layer | str | None:
    """The layer of a node, why it cannot be factored, or None where there is no constant matrix in it."""
    index = _WEIGHT.get(node.op_type) if not node.domain else None
    if index is None or len(node.inputs) <= index:
        return None
    kind = node.op_type.lower()
    if node.op_type == "MatMul" and _constant(node.inputs[0]):
        index, kind = 0, "left"
    weight, source = node.inputs[index], node.inputs[1 - index]
    plain = attributes.plain(node)
    if weight is None or source is None or plain is None or not _constant(weight) or _constant(source):
        return None
    stored = tensor_type(weight)
    if stored is None or stored.dtype not in _DTYPES or weight.const_value is None:
        return None
    if weight.const_value.size < SMALLEST:
        return None
    layer = Layer(kind, weight, plain, int(plain.get("group", 1)))  # type: ignore[arg-type]
    if reason := _refusal(layer, node, source):
        return reason
    use = _use(layer, node, source)
    return replace(layer, uses=(use,))


def _constant(v: onnx_ir.Value | None) -> bool:
    return v is not None and v.const_value is not None and not v.is_graph_input()


def _refusal(layer: Layer, node: onnx_ir.Node, source: onnx_ir.Value) -> str:
    """Why a layer cannot be factored; empty where it can."""
    output, rank = tensor_type(node.outputs[0]), len(layer.shape)
    incoming = tensor_type(source)
    if output is None or output.shape is None or incoming is None or incoming.shape is None:
        return "the rank of its output is not known"
    if layer.kind in {"matmul", "left", "gemm", "gather"} and rank != _MATRIX:
        return f"its constant has {rank} dimensions, a matrix has 2"
    if len(output.shape) < _MATRIX:
        return "its output is a single vector of its constant's columns"
    if layer.kind == "gather" and layer.plain.get("axis", 0):
        return "gathers columns and not rows of its constant"
    if layer.kind == "convtranspose" and layer.groups != 1:
        return "a grouped transposed convolution has no factoring here"
    inner, columns = layer.size
    if columns == 1:
        return "a depthwise convolution has one channel a group: there is nothing to factor across channels"
    if min(inner, columns) > WIDEST and layer.groups == 1:
        return f"both sides of {inner} x {columns} are above {WIDEST}"
    return ""


def _use(layer: Layer, node: onnx_ir.Node, source: onnx_ir.Value) -> Use:
    output = node.outputs[0]
    columns = layer.groups * layer.size[1]
    if layer.kind in {"conv", "convtranspose", "gemm"}:
        given = node.inputs[2] if len(node.inputs) > _MATRIX else None
        if given is None:
            return Use(node, source, output, output, np.zeros(columns))
        bias = _vector(given, columns)
        if bias is None:
            return Use(node, source, output, output, None, given)
        return Use(node, source, output, output, bias * float(layer.plain.get("beta", 1.0)))  # type: ignore[arg-type]
    if layer.kind == "matmul" and (added := _addition(output, columns)) is not None:
        return Use(node, source, output, added[0], added[1])
    return Use(node, source, output, output, None)


def _vector(v: onnx_ir.Value, columns: int) -> np.ndarray | None:
    """A constant along the columns alone, as [N]; None for any other value."""
    if not _constant(v) or v.const_value is None:
        return None
    array = v.const_value.numpy()
    if array.ndim > _MATRIX or array.size not in {1, columns} or (array.ndim and array.shape[-1] != array.size):
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (columns,))


def _addition(output: onnx_ir.Value, columns: int) -> tuple[onnx_ir.Value, np.ndarray] | None:
    """The sum of an output and a constant vector, where nothing else reads the output; the vector."""
    users = list(output.uses())
    if len(users) != 1 or output.is_graph_output():
        return None
    node = users[0].node
    if node.op_type != "Add" or node.domain or tensor_type(node.outputs[0]) != tensor_type(output):
        return None
    other = next((v for v in node.inputs if v is not output), None)
    bias = None if other is None else _vector(other, columns)
    return None if bias is None else (node.outputs[0], bias)


def siblings(layers: list[Layer]) -> Iterator[list[Layer]]:
    """Matrix products of one input, two or more, each used once: what can share a first factor."""
    groups: dict[object, list[Layer]] = {}
    for layer in layers:
        if layer.kind in {"matmul", "gemm"} and len(layer.uses) == 1 and not layer.plain.get("transA", 0):
            groups.setdefault((layer.uses[0].source, layer.dtype), []).append(layer)
    yield from (group for group in groups.values() if len(group) > 1)
