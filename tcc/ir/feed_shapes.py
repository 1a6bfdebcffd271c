"""Chooses sizes for the symbolic dimensions of a model's inputs."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from onnx import ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto

from tcc.ir.feed_ranges import Uses, integers
from tcc.ir.types import Dimension

Axis = Literal["batch", "sequence", "spatial", "channel", "past", "samples"]

_ELEMENTWISE = {
    "Cast", "Identity", "Add", "Sub", "Mul", "Div", "Relu", "Clip", "Pad", "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
_WORDS: tuple[tuple[Axis, tuple[str, ...]], ...] = (
    ("past", ("past", "cache", "history")),
    ("batch", ("batch", "bs")),
    ("sequence", ("seq", "len", "time", "frame", "token", "step", "sample", "num", "points")),
    ("spatial", ("height", "width", "image_size")),
    ("channel", ("channel",)),
)
_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """One guess at the sizes of symbolic dimensions, by what the dimension is."""

    batch: int = 2
    sequence: int = 8
    spatial: int = 64
    channel: int = 3
    past: int = 4
    samples: int = 64


GUESSES = (
    # Sizes other than 1 first, and different ones: a rewrite that wrongly fixes one is then caught.
    Sizes(), Sizes(batch=1), Sizes(sequence=64, spatial=224, samples=1600), Sizes(1, 64, 224, samples=1600),
    Sizes(1, 16, 32, samples=16000), Sizes(1, 256, 256), Sizes(1, 1, 224), Sizes(1, 128, 512), Sizes(1, 32, 640),
    Sizes(8, 8, 8), Sizes(1, 1, 1, 1, 1, 1),
)  # fmt: skip

DEPLOYED = (
    Sizes(1, 128, 224, past=128, samples=1600), Sizes(1, 64, 256, past=64, samples=16000), Sizes(1, 32, 640, past=32),
    Sizes(1, 16, 64, past=16, samples=1600), Sizes(1, 16, 32, past=16, samples=512),
)  # fmt: skip
"""Sizes as models are mostly run at, the most usual first: one image, a sentence, a tenth of a second of sound."""
MOST = 1 << 22
"""Elements of an input that nobody stated the size of: three symbolic axes of images would fill the memory."""


@dataclass(frozen=True)
class Input:
    """One input to be fed: ``kind`` is what wraps the tensor, ``shape`` None where not even the rank is declared."""

    name: str
    data_type: int
    shape: tuple[Dimension, ...] | None
    kind: Literal["tensor", "sequence", "optional", "map"] = "tensor"

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return str(TensorProto.DataType.Name(self.data_type)).startswith(("FLOAT", "DOUBLE", "BFLOAT"))


def inputs(model: ModelProto) -> list[Input]:
    """The inputs that must be fed: those that are not initialisers."""
    given = {tensor.name for tensor in model.graph.initializer}
    given |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    return [_input(value) for value in model.graph.input if value.name not in given]


def _input(value: ValueInfoProto) -> Input:
    kind, of = "tensor", value.type
    if of.HasField("optional_type"):
        kind, of = "optional", of.optional_type.elem_type
    if of.HasField("sequence_type"):
        kind, of = "sequence", of.sequence_type.elem_type
    if of.HasField("map_type"):
        return Input(value.name, of.map_type.key_type, (), "map")
    tensor: TypeProto.Tensor = of.tensor_type
    shape: tuple[Dimension, ...] | None = None
    if tensor.HasField("shape"):
        # Some exporters write -1 for "any size"; a written 0 is a size, and ONNX Runtime insists on it.
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or None
            for dim in tensor.shape.dim
        )
    return Input(value.name, tensor.elem_type, shape, kind)  # type: ignore[arg-type]


def open_dimensions(ports: Sequence[Input]) -> Iterator[str]:
    """The dimensions whose sizes the model leaves open: by symbol, else by input and axis, ``x:0``."""
    for port in ports:
        for axis, dim in enumerate(port.shape or ()):
            if not isinstance(dim, int):
                yield dim or f"{port.name}:{axis}"


def guesses(
    ports: Sequence[Input], uses: Uses, symbols: Mapping[str, int], sizes_of: Sequence[Sizes] = GUESSES
) -> Iterator[dict[str, tuple[int, ...]]]:
    """The inputs' shapes under each guess, without repeats; ``symbols`` are the user's sizes and always hold."""
    shaped = [port if port.shape is not None else replace(port, shape=_ranked(port, uses)) for port in ports]
    known = {port.name: _known_axes(port, uses) for port in shaped}
    tried: list[dict[str, tuple[int, ...]]] = []
    for sizes in sizes_of:
        values = dict(symbols)
        chosen = {port.name: _concrete(port, known[port.name], sizes, values) for port in shaped}
        if chosen not in tried:
            tried.append(chosen)
            yield chosen


def _concrete(port: Input, known: Mapping[int, int], sizes: Sizes, values: dict[str, int]) -> tuple[int, ...]:
    """The shape of one input; ``values`` collects the symbols' sizes, so that equal names agree."""
    out = []
    for axis, dim in enumerate(port.shape or ()):
        if isinstance(dim, int):
            out.append(dim)
            continue
        size = values.get(dim or f"{port.name}:{axis}")
        if size is None and dim:
            size = _expression(dim, values, sizes)
        if size is None:
            size = known.get(axis, _guess(port, axis, dim, sizes))
        out.append(values.setdefault(dim, size) if dim else size)
    return tuple(out)


def _guess(port: Input, axis: int, dim: str | None, sizes: Sizes) -> int:
    if dim and "total" in dim.lower():
        return sizes.past + sizes.sequence
    return int(getattr(sizes, _axis(port, axis, dim)))


def _axis(port: Input, axis: int, dim: str | None) -> Axis:
    """What a dimension is: by its symbol's name where that says so, else by where it stands."""
    name = (dim or "").lower()
    for kind, words in _WORDS:
        if any(word in name for word in words):
            return kind
    rank = len(port.shape or ())
    if name in {"h", "w"}:
        return "spatial"
    if axis == 0 and (rank != 3 or not port.is_float or not _is_image(port)):
        return "batch"
    if rank >= 4 or (rank == 3 and _is_image(port)):
        return "channel" if axis == rank - 3 and _is_image(port) else "spatial"
    return "samples" if _is_wave(port, axis) else "sequence"


def _is_wave(port: Input, axis: int) -> bool:
    """The time axis of sound: [N, T] or [N, 1 or 2, T]. Long guesses elsewhere would cost memory in attention."""
    shape = port.shape or ()
    last = port.is_float and axis == len(shape) - 1
    return last and (len(shape) == 2 or (len(shape) == 3 and shape[1] in {1, 2}))


def _is_image(port: Input) -> bool:
    """[.., C, H, W] with C first: no last dimension of 1, 3 or 4 that would make it [.., H, W, C]."""
    shape = port.shape or ()
    if len(shape) == 3:
        return shape[0] in {1, 3} and not isinstance(shape[1], int) and not isinstance(shape[2], int)
    return len(shape) >= 4 and shape[-1] not in {1, 3, 4}


def _expression(text: str, values: Mapping[str, int], sizes: Sizes) -> int | None:
    """The size that an arithmetic symbol such as ``past_len + seq_len`` stands for, None for a plain name."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    return _evaluate(tree, values, sizes) if isinstance(tree, ast.BinOp) else None


def _evaluate(tree: ast.expr, values: Mapping[str, int], sizes: Sizes) -> int | None:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, int):
        return tree.value
    if isinstance(tree, ast.Name):
        port = Input("", TensorProto.INT64, (None, None))
        return values.get(tree.id, int(getattr(sizes, _axis(port, 1, tree.id))))
    if not isinstance(tree, ast.BinOp) or type(tree.op) not in _OPERATIONS:
        return None
    left, right = _evaluate(tree.left, values, sizes), _evaluate(tree.right, values, sizes)
    return None if left is None or not right else _OPERATIONS[type(tree.op)](left, right)


def _ranked(port: Input, uses: Uses) -> tuple[Dimension, ...]:
    """A shape for an input whose rank is not declared, from the first operator that fixes it; [] otherwise."""
    for node, index, _ in _first_users(port, uses, rank=None):
        if index == 0 and len(node.input) > 1 and node.op_type in {"Conv", "ConvTranspose"}:
            return (None,) * len(uses.size(node.input[1]) or (0,) * 4)
        if index == 0 and node.op_type in {"Gemm", "MatMul", "Gather", "Flatten", "LSTM", "GRU", "RNN"}:
            return (None,) * (3 if node.op_type in {"LSTM", "GRU", "RNN"} else 2)
    return () if port.is_float else (None, None)


def _known_axes(port: Input, uses: Uses) -> dict[int, int]:
    """The sizes that the first weighted operators fix: input channels of a Conv, rows of a MatMul's matrix."""
    known: dict[int, int] = {}
    for node, index, order in _first_users(port, uses, rank=len(port.shape or ())):
        if index != 0 or len(node.input) < 2 or order is None:
            continue
        axis, size = _feature(node, uses)
        if size is not None and -len(order) <= axis < len(order):
            known.setdefault(order[axis], size)
    return known


def _feature(node: NodeProto, uses: Uses) -> tuple[int, int | None]:
    """The axis of operand 0 that a weighted operator fixes, and its size."""
    weight = uses.size(node.input[1])
    if not weight:
        return 0, None
    if node.op_type in {"Conv", "ConvInteger"}:
        return 1, weight[1] * (integers(node, "group") or (1,))[0]
    if node.op_type in {"ConvTranspose", "BatchNormalization", "InstanceNormalization"}:
        return 1, weight[0]
    if node.op_type in {"MatMul", "MatMulInteger"} and len(weight) > 1:
        return -1, weight[-2]
    if node.op_type == "Gemm" and not any(integers(node, "transA")):
        return -1, weight[1] if any(integers(node, "transB")) else weight[0]
    if node.op_type in {"LSTM", "GRU", "RNN", "LayerNormalization"}:
        return -1, weight[-1]
    return 0, None


def _first_users(port: Input, uses: Uses, rank: int | None) -> Iterator[tuple[NodeProto, int, tuple[int, ...] | None]]:
    """The first operators that are not elementwise, with the input's axes in the order that they see them."""
    start = None if rank is None else tuple(range(rank))
    pending, seen = [(port.name, start)], {port.name}
    while pending:
        name, order = pending.pop(0)
        for node, index in uses.readers.get(name, ()):
            after = order
            if node.op_type == "Transpose" and order is not None:
                perm = integers(node, "perm") or tuple(reversed(range(len(order))))
                after = tuple(order[axis] for axis in perm) if len(perm) == len(order) else None
            elif node.op_type not in _ELEMENTWISE:
                yield node, index, order
                continue
            if node.output[0] not in seen and len(seen) < 64:
                seen.add(node.output[0])
                pending.append((node.output[0], after))
