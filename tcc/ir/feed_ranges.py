"""Finds out from the graph which values an input may take: what it indexes, masks, sizes or multiplies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

Use = Literal["plain", "index", "mask", "size", "shape", "axis", "scale", "length", "choice"]

_STEPS = 4000
"""Values that one trace visits at most; real traces are a few dozen long."""

# Operators whose output carries the elements of these inputs on, and nothing else.
_CARRIES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Identity", "Cast", "CastLike", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"), (0,)),
    **dict.fromkeys(("Expand", "Slice", "Split", "Tile", "Gather", "GatherElements", "GatherND", "Clip", "Pad"), (0,)),
    "Where": (1, 2), "Concat": tuple(range(64)), "Max": tuple(range(8)), "Min": tuple(range(8)),
    "ScatterND": (0, 2), "ScatterElements": (0, 2), "SequenceAt": (0,), "Optional": (0,), "OptionalGetElement": (0,),
}  # fmt: skip
# Index operand → operand whose size bounds it; the axis is the attribute's (None: any axis, so the smallest).
_INDEXES: dict[tuple[str, int], tuple[int, int | None]] = {
    ("Gather", 1): (0, 0), ("GatherElements", 1): (0, 0), ("ScatterElements", 1): (0, 0), ("Scatter", 1): (0, 0),
    ("GatherND", 1): (0, None), ("ScatterND", 1): (0, None), ("GatherBlockQuantized", 1): (0, 0),
    ("EmbedLayerNormalization", 0): (2, 0), ("EmbedLayerNormalization", 1): (4, 0),
}  # fmt: skip
_AXES = {"Slice": 3, "Pad": 3} | dict.fromkeys(("Squeeze", "Unsqueeze", "CumSum"), 1)
_SIZES = (
    ("Expand", 1), ("ConstantOfShape", 0), ("Range", 0), ("Range", 1), ("Tile", 1), ("Slice", 1), ("Slice", 2),
    ("TopK", 1), ("Resize", 3), ("Loop", 0), ("Pad", 1), ("OneHot", 1),
)  # fmt: skip
_LENGTHS = (("LSTM", 4), ("GRU", 4), ("RNN", 4), ("ReverseSequence", 1), ("GroupQueryAttention", 5))
_USES: dict[tuple[str, int], Use] = {
    **dict.fromkeys(_SIZES, "size"), **dict.fromkeys(_LENGTHS, "length"), ("Reshape", 1): "shape",
    ("Resize", 2): "scale", ("Upsample", 1): "scale",
    ("EmbedLayerNormalization", 7): "mask", ("Where", 0): "mask", ("If", 0): "mask",
}  # fmt: skip
_TESTS = {"Equal", "Not", "And", "Or", "CumSum", "ReduceSum", "ReduceMin"}
_CATEGORIES = ("keys_strings", "keys_int64s", "cats_strings", "cats_int64s", "classes_strings")
_INTEGERS = {TensorProto.INT64, TensorProto.INT32, TensorProto.INT16, TensorProto.INT8, TensorProto.UINT8}
_SAME_SHAPE = {"Identity", "Cast", "DequantizeLinear", "QuantizeLinear", "Relu", "Neg", "Mul", "Add"}


@dataclass(frozen=True)
class Domain:
    """The values an input may take: [low, high) for an index, ``choices`` for categories."""

    use: Use = "plain"
    low: int = 0
    high: int | None = None
    choices: tuple[str | int, ...] = ()


@dataclass
class Uses:
    """Who reads each value of a model, subgraphs included, and what is known of its constants and sizes."""

    readers: dict[str, list[tuple[NodeProto, int]]] = field(default_factory=lambda: defaultdict(list))
    producers: dict[str, NodeProto] = field(default_factory=dict)
    constants: dict[str, TensorProto] = field(default_factory=dict)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, model: ModelProto) -> Uses:
        """Index the model in one walk."""
        uses = cls()
        uses._add(model.graph)
        return uses

    def _add(self, graph: GraphProto) -> None:
        for tensor in graph.initializer:
            self.constants[tensor.name] = tensor
            self.sizes[tensor.name] = tuple(tensor.dims)
        for value in graph.value_info:
            dims = value.type.tensor_type.shape.dim
            if dims and all(dim.HasField("dim_value") for dim in dims):
                self.sizes.setdefault(value.name, tuple(dim.dim_value for dim in dims))
        for node in graph.node:
            for index, name in enumerate(node.input):
                self.readers[name].append((node, index))
            for name in node.output:
                self.producers[name] = node
            self._add_attributes(node)

    def _add_attributes(self, node: NodeProto) -> None:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.type == AttributeProto.TENSOR:
                self.constants[node.output[0]] = attribute.t
                self.sizes[node.output[0]] = tuple(attribute.t.dims)
            for body in (attribute.g, *attribute.graphs) if attribute.type in _GRAPHS else ():
                self._add(body)
                # A Loop's body takes (iteration, condition) first and a Scan's takes its operands in order.
                skip = {"Loop": 0, "Scan": 0}.get(node.op_type)
                if skip is not None:
                    for outer, inner in zip(node.input, body.input, strict=False):
                        self.aliases[outer].append(inner.name)

    def size(self, name: str) -> tuple[int, ...] | None:
        """The fixed sizes of a value: an initialiser's, an annotated one's, or through operators that keep them."""
        for _ in range(8):
            if name in self.sizes:
                return self.sizes[name]
            node = self.producers.get(name)
            if node is None or not node.input:
                return None
            if node.op_type == "Transpose" and (inner := self.size(node.input[0])) is not None:
                order = integers(node, "perm") or tuple(reversed(range(len(inner))))
                return tuple(inner[axis] for axis in order)
            if node.op_type not in _SAME_SHAPE:
                return None
            name = node.input[0]
        return None

    def scalar(self, name: str) -> int | None:
        """The value of a small integer constant of one element."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_type not in _INTEGERS or np.prod(tensor.dims) != 1 or tensor.external_data:
            return None
        return int(numpy_helper.to_array(tensor).reshape(()))


_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def integers(node: NodeProto, name: str) -> tuple[int, ...]:
    """An integer or integer-list attribute, () where absent."""
    for attribute in node.attribute:
        if attribute.name == name:
            return tuple(attribute.ints) or (attribute.i,)
    return ()


def domain(uses: Uses, name: str, sizes: Mapping[str, tuple[int, ...]]) -> Domain:
    """What the input ``name`` may hold; ``sizes`` are the inputs' chosen shapes."""
    found = list(_trace(uses, name, sizes))
    for item in found:
        if item.use == "choice":
            return item
    indexes = [item for item in found if item.use == "index"]
    bounds = [item.high for item in indexes if item.high is not None]
    if indexes:
        return Domain("index", max(item.low for item in indexes), min(bounds, default=None))
    for item in found:
        if item.use in {"axis", "scale", "shape", "length", "size"}:
            return item
    if any(item.use == "mask" for item in found):
        return Domain("mask")
    return Domain()


def _trace(uses: Uses, start: str, sizes: Mapping[str, tuple[int, ...]]) -> Iterator[Domain]:
    """The uses of the input's elements, followed through operators that only move them or add a constant."""
    pending, seen = [(start, 0)], {start}
    while pending and len(seen) < _STEPS:
        name, offset = pending.pop()
        following = [(alias, offset) for alias in uses.aliases.get(name, ())]
        for node, index in uses.readers.get(name, ()):
            if (found := _sink(uses, node, index, offset, sizes)) is not None:
                yield found
            elif index in _CARRIES.get(node.op_type, ()):
                following += [(output, offset) for output in node.output]
            elif node.op_type in {"Add", "Sub"} and (step := _step(uses, node, index)) is not None:
                following.append((node.output[0], offset + step))
            elif node.op_type in _TESTS or node.op_type in {"Mul", "Sub"}:
                yield Domain("mask")
        for value, shift in following:
            if value not in seen:
                seen.add(value)
                pending.append((value, shift))


def _step(uses: Uses, node: NodeProto, index: int) -> int | None:
    """The constant that ``x + c`` or ``x - c`` adds to x."""
    if node.op_type == "Sub" and index == 1:
        return None
    constant = uses.scalar(node.input[1 - index])
    return constant if constant is None or node.op_type == "Add" else -constant


def _sink(uses: Uses, node: NodeProto, index: int, offset: int, sizes: Mapping[str, tuple[int, ...]]) -> Domain | None:
    """What one operand slot demands of the values that reach it, shifted by ``offset``."""
    slot = (node.op_type, index)
    if slot in _INDEXES:
        operand, axis = _INDEXES[slot]
        size = sizes.get(node.input[operand]) or uses.size(node.input[operand])
        if not size:
            return Domain("index", max(0, -offset))
        axis = axis if axis is None else (integers(node, "axis") or (axis,))[0]
        high = min(size) if axis is None else size[axis]
        return Domain("index", max(0, -offset), high - offset)
    if slot == ("OneHot", 0):
        depth = uses.scalar(node.input[1])
        return Domain("index", max(0, -offset), None if depth is None else depth - offset)
    if slot in _USES:
        return Domain(_USES[slot])
    if index == _AXES.get(node.op_type, 1 if node.op_type.startswith("Reduce") else None):
        data = sizes.get(node.input[0]) or uses.size(node.input[0])
        return Domain("axis", 0, len(data) if data else None)
    for attribute in node.attribute:
        if attribute.name in _CATEGORIES and (attribute.strings or attribute.ints):
            return Domain("choice", choices=tuple(s.decode() for s in attribute.strings) or tuple(attribute.ints))
    return None
