"""The Model: a thin, typed owner of one ``onnx_ir.Model``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir

from tcc.diagnostics import Diagnostic
from tcc.ir import saving, storage
from tcc.ir.types import TensorType

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnx_graphsurgeon

DEFAULT_DOMAIN = ""
"""The domain of ONNX's own operators; ``ai.onnx`` is its other spelling."""

_NAMES = {"float": "float32", "double": "float64"}


def dtype_name(dtype: onnx_ir.DataType) -> str:
    """The name of an ONNX element type as ``tcc.ir.types`` spells it: ``float32``, ``bfloat16``, ``int4``."""
    name = dtype.name.lower()
    return _NAMES.get(name, name)


def tensor_type(value: onnx_ir.Value) -> TensorType | None:
    """The type of a tensor value; None for a sequence, an optional, a sparse tensor, or where it is not known.

    A dimension of an input that has neither size nor name is called by the input and the axis, ``x:0``.
    """
    if not isinstance(value.type, onnx_ir.TensorType):
        return None
    shape = _dimensions(value.shape)
    if shape is not None and None in shape and value.name and value.is_graph_input():
        shape = tuple(f"{value.name}:{axis}" if d is None else d for axis, d in enumerate(shape))
    return TensorType(dtype_name(value.type.dtype), shape)


def _dimensions(shape: onnx_ir.Shape | None) -> tuple[int | str | None, ...] | None:
    if shape is None:
        return None
    # A dimension whose symbol is the empty string is as unknown as one without a symbol; some exporters write -1.
    return tuple((d if d >= 0 else None) if isinstance(d, int) else d.value or None for d in shape.dims)


def type_text(value: onnx_ir.Value) -> str:
    """The type of any value as text: ``float32[N,3,224,224]``, ``seq(float32[...])``, ``unknown``."""
    if value.type is None:
        return "unknown"
    return _nested_text(value.type, value.shape)


def _nested_text(kind: onnx_ir.TypeProtocol, shape: onnx_ir.Shape | None) -> str:
    if isinstance(kind, onnx_ir.SequenceType):
        return f"seq({_nested_text(kind.elem_type, shape)})"
    if isinstance(kind, onnx_ir.OptionalType):
        return f"optional({_nested_text(kind.elem_type, shape)})"
    text = str(TensorType(dtype_name(kind.dtype), _dimensions(shape)))
    return f"sparse({text})" if isinstance(kind, onnx_ir.SparseTensorType) else text


@dataclass(frozen=True)
class Signature:
    """What a caller of the model relies on: names and types of inputs and outputs, in order.

    An initialiser that is also listed as an input is a constant with a default value, as deployment
    runtimes treat it, and therefore not an input here.
    """

    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


class Model:
    """One ONNX model and where it came from.

    ``ir`` may be edited by passes, in place or on a ``clone``; everything this class tells is computed from
    it when asked. Tensors are immutable: replace a value's ``const_value``, never write into it.

    Args:
        ir: the model; its top-level initialisers may lie in memory or in external files.
        source: the file name that diagnostics print.
        files: the files the model was read from (the model and its external data); ``save`` never overwrites them.
        notes: what the frontend has to say about the source, to be printed once.
    """

    def __init__(
        self,
        ir: onnx_ir.Model,
        source: str = "<memory>",
        *,
        files: tuple[Path, ...] = (),
        notes: tuple[Diagnostic, ...] = (),
    ) -> None:
        self.ir = ir
        self.source = source
        self.files = files
        self.notes = notes

    def __repr__(self) -> str:
        return f"Model({self.source!r}, {self.node_count} nodes, {self.parameter_count} parameters)"

    @property
    def graph(self) -> onnx_ir.Graph:
        """The top-level graph."""
        return self.ir.graph

    @property
    def signature(self) -> Signature:
        """Names and types of the inputs that a caller feeds and of the outputs."""
        initialisers = self.graph.initializers
        return Signature(
            tuple((v.name or "", type_text(v)) for v in self.graph.inputs if v.name not in initialisers),
            tuple((v.name or "", type_text(v)) for v in self.graph.outputs),
        )

    @property
    def overridable(self) -> tuple[str, ...]:
        """Initialisers that are also listed as inputs, which a caller could override."""
        initialisers = self.graph.initializers
        return tuple(v.name or "" for v in self.graph.inputs if v.name in initialisers)

    def freeze_overridable(self) -> None:
        """Make every overridable initialiser a plain constant, in place.

        IR version 3 wants each initialiser listed as an input, so the model becomes IR version 4.
        """
        if not self.overridable:
            return
        self.ir.ir_version = max(self.ir.ir_version, 4)
        kept = [v for v in self.graph.inputs if v.name not in self.graph.initializers]
        self.graph.inputs.clear()
        self.graph.inputs.extend(kept)

    @property
    def opset_imports(self) -> dict[str, int]:
        """The version of each domain, ``ai.onnx`` spelt as the default domain."""
        return dict(self.ir.opset_imports)

    @property
    def opset(self) -> int:
        """The version of the default domain; 0 where the model does not import it."""
        return self.ir.opset_imports.get(DEFAULT_DOMAIN, 0)

    @property
    def ir_version(self) -> int:
        """The version of the file format."""
        return self.ir.ir_version

    def nodes(self) -> Iterator[onnx_ir.Node]:
        """All nodes: of the graph, of its subgraphs and of the functions' bodies."""
        yield from _nodes_of(self.graph)
        for function in self.ir.functions.values():
            yield from _nodes_of(function)

    @property
    def operator_counts(self) -> dict[str, int]:
        """How often each operator occurs, Constant nodes left out; most frequent first, then by name.

        Operators outside the default domain are written ``domain::operator``.
        """
        counts = Counter(operator_name(node) for node in self.nodes() if not is_constant_node(node))
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def node_count(self) -> int:
        """Nodes of the graph, its subgraphs and the functions' bodies, Constant nodes left out."""
        return sum(not is_constant_node(node) for node in self.nodes())

    @property
    def constant_node_count(self) -> int:
        """Constant nodes: weights in another notation, which cost nothing at run time."""
        return sum(map(is_constant_node, self.nodes()))

    def constants(self) -> Iterator[onnx_ir.TensorProtocol]:
        """Every stored tensor: initialisers of all graphs and the tensors of Constant nodes."""
        nodes = list(self.nodes())
        for graph in [self.graph, *(body for node in nodes for body in bodies(node))]:
            yield from (v.const_value for v in graph.initializers.values() if v.const_value is not None)
        for node in filter(is_constant_node, nodes):
            if (attribute := node.attributes.get("value")) is not None and not attribute.is_ref():
                yield attribute.as_tensor()

    @property
    def parameter_count(self) -> int:
        """Elements of all stored tensors."""
        return sum(tensor.size for tensor in self.constants())

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all stored tensors, sub-byte types packed."""
        return sum(tensor.nbytes for tensor in self.constants())

    def clone(self) -> Model:
        """A copy whose graph is its own; the immutable tensors are shared."""
        return Model(self.ir.clone(), self.source, files=self.files, notes=self.notes)

    def to_proto(self) -> onnx.ModelProto:
        """The model as protobuf, all weights inside, bytes as they are."""
        return storage.serialize(self.ir, storage.embedded)

    def to_bytes(self) -> bytes:
        """The serialised model, the same bytes for the same model.

        Raises:
            TccError: E0225 where the model is larger than a protobuf message may be (2 GiB).
        """
        return saving.to_bytes(self.ir, self.source)

    def stripped_proto(self, threshold_bytes: int = 1024) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
        """The model without its large weights, and these weights by name.

        Top-level initialisers of at least ``threshold_bytes`` bytes are marked as external data at
        ``storage.IN_MEMORY`` and handed out as arrays: views of the model's own memory where it is aligned.
        Types that numpy lacks (bfloat16, float8, int4, ...), strings and subgraphs' initialisers stay inside.
        """
        weights: dict[str, np.ndarray] = {}
        proto = storage.serialize(self.ir, storage.Stripping(threshold_bytes, weights))
        return proto, weights

    def to_gs(self) -> onnx_graphsurgeon.Graph:
        """The model as an onnx-graphsurgeon graph."""
        import onnx_graphsurgeon

        return onnx_graphsurgeon.import_onnx(self.to_proto())

    def save(self, path: str | Path, *, external_data: bool | None = None) -> tuple[Path, ...]:
        """Write the model atomically; a failure leaves no file and whatever was there before untouched.

        Args:
            path: the file to write.
            external_data: whether weights go to one sibling file, ``<path>.data``; None: only where
                the model is too large for one file (2 GiB).

        Returns:
            The files written.

        Raises:
            TccError: exit USAGE where the path cannot be written, would overwrite the model's own input, or
                ``external_data=False`` cannot hold the model.
        """
        return saving.save(self.ir, Path(path), external_data=external_data, protected=self.files, source=self.source)


def bodies(node: onnx_ir.Node) -> list[onnx_ir.Graph]:
    """The graphs inside a node: branches, loop bodies."""
    found: list[onnx_ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type is onnx_ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type is onnx_ir.AttributeType.GRAPHS:
            found.extend(attribute.as_graphs())
    return found


def _nodes_of(graph: onnx_ir.Graph | onnx_ir.Function) -> Iterator[onnx_ir.Node]:
    # As onnx-ir's own traversal, in a third of its time.
    for node in graph:
        yield node
        for body in bodies(node) if node.attributes else ():
            yield from _nodes_of(body)


def is_constant_node(node: onnx_ir.Node) -> bool:
    """Whether the node is ONNX's own Constant."""
    return node.op_type == "Constant" and node.domain == DEFAULT_DOMAIN


def operator_name(node: onnx_ir.Node) -> str:
    """The node's operator, ``domain::operator`` outside the default domain."""
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type
