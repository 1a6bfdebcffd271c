"""Typed claims as one ONNX graph: an output for each side."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tcc.ir import structures
from tests.equalities.expressions import Expression
from tests.equalities.shapes import SAME, Typed

OPSET = 17
RELU = 2


@dataclass
class Encoder:
    """A graph under construction. Values are small whole numbers, so that sums and products of them are exact."""

    rng: np.random.Generator
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    sides: list[tuple[str, str]] = field(default_factory=list)
    _inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    _nodes: list[onnx.NodeProto] = field(default_factory=list)
    _constants: dict[bytes, str] = field(default_factory=dict)
    _initializers: list[onnx.TensorProto] = field(default_factory=list)
    _count: int = 0

    def add(self, typed: Typed, constant: Collection[str] = (), shared: dict[str, str] | None = None) -> dict[str, str]:
        """Add both sides of a claim.

        Args:
            typed: the claim and its shapes.
            constant: the variables that are constants; the others are inputs.
            shared: variables that another claim has brought in.

        Returns:
            The variables' names in the graph.
        """
        variables = dict(shared or {})
        for name, shape in typed.variables.items():
            if name not in variables:
                variables[name] = self._variable(shape, name in constant)
        memo: dict[str, str] = {}
        left, right = (self._encode(typed, side, variables, memo) for side in (typed.claim.left, typed.claim.right))
        self.sides.append((left, right))
        shape = typed.shapes[typed.claim.left]
        for name in (left, right):
            # A value is an output once, and never an input.
            own = self._node("Identity", name)
            self.outputs.append(helper.make_tensor_value_info(own, TensorProto.FLOAT, shape))
        return variables

    def model(self) -> onnx.ModelProto:
        """The graph of all claims so far; the outputs go by pairs."""
        graph = helper.make_graph(self._nodes, "claims", self._inputs, self.outputs, self._initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)

    def _fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _variable(self, shape: tuple[int, ...], constant: bool) -> str:  # noqa: FBT001 - one of two kinds
        array = self.rng.integers(-3, 4, shape).astype(np.float32)
        if constant:
            name = self._fresh("w")
            self._initializers.append(numpy_helper.from_array(array, name))
            return name
        name = self._fresh("x")
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.feeds[name] = array
        return name

    def _constant(self, array: np.ndarray) -> str:
        key = f"{array.dtype}{array.shape}".encode() + array.tobytes()
        if key not in self._constants:
            self._constants[key] = self._fresh("c")
            self._initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def _node(self, operator: str, *inputs: str, outputs: int = 1, take: int = 0, **attributes: Any) -> str:
        names = [self._fresh("t") for _ in range(outputs)]
        self._nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[take]

    def _encode(self, typed: Typed, node: Expression, variables: dict[str, str], memo: dict[str, str]) -> str:
        if node.is_variable:
            return variables[node.operator]
        text = f"{node}{typed.shapes[node]}"
        if text not in memo:
            operands = [self._encode(typed, operand, variables, memo) for operand in node.operands]
            memo[text] = self._operator(typed, node, operands)
        return memo[text]

    def _operator(self, typed: Typed, node: Expression, operands: list[str]) -> str:
        shape, simple = typed.shapes[node], _SIMPLE.get(node.operator)
        if simple is not None:
            return self._node(simple, *operands)
        if node.operator in {"Iconv", "Cpool"}:
            name = structures.IDENTITY if node.operator == "Iconv" else structures.MEAN
            return self._constant(structures.kernel(name, shape))
        if node.operator == "Imatmul":
            return self._constant(np.eye(shape[0], dtype=np.float32))
        if node.operator == "Iewmul":
            return self._constant(np.ones(shape, np.float32))
        if node.operator == "transpose":
            rank = len(shape)
            return self._node("Transpose", *operands, perm=[*range(rank - 2), rank - 1, rank - 2])
        if node.operator == "concat":
            return self._node("Concat", *operands, axis=node.numbers[0])
        if node.operator.startswith("split_"):
            sizes = self._constant(np.array(typed.parts[node], np.int64))
            take = int(node.operator[-1])
            return self._node("Split", *operands, sizes, outputs=2, take=take, axis=node.numbers[0])
        before = typed.shapes[node.operands[0]]
        if node.operator == "enlarge":
            return self._node("Pad", *operands, self._constant(np.array(_centred(before, shape), np.int64)))
        if node.operator == "merge":
            return self._merged(typed, node, operands[0])
        return self._windowed(typed, node, operands)

    def _windowed(self, typed: Typed, node: Expression, operands: list[str]) -> str:
        x = typed.shapes[node.operands[0]]
        if node.operator == "conv2d":
            *strides, pad, activation = node.numbers
            w = typed.shapes[node.operands[1]]
            window = _window(strides, _pads(x[2:], w[2:], strides, pad))
            made = self._node("Conv", *operands, group=x[1] // w[1], **window)
            return self._node("Relu", made) if activation == RELU else made
        kh, kw, *strides, pad = node.numbers
        window = {"kernel_shape": [kh, kw], **_window(strides, _pads(x[2:], (kh, kw), strides, pad))}
        if node.operator == "poolmax":
            return self._node("MaxPool", *operands, **window)
        return self._node("AveragePool", *operands, **window, count_include_pad=int(typed.domain.counts_padding))

    def _merged(self, typed: Typed, node: Expression, w: str) -> str:
        """Each group's kernels between zeros, where the kernels of those it is joined with stand."""
        shape, count = typed.shapes[node], node.numbers[0]
        inner = shape[1] // count
        convolution = next(n for n in typed.claim.nodes() if n.operator == "conv2d" and node in n.operands)
        groups = typed.shapes[convolution.operands[0]][1] // inner
        mask = np.zeros((shape[0], shape[1], 1, 1), np.float32)
        for o in range(shape[0]):
            place = (o * groups // shape[0]) % count
            mask[o, place * inner : (place + 1) * inner] = 1
        return self._node("Mul", self._node("Concat", *[w] * count, axis=1), self._constant(mask))


_SIMPLE = {"ewadd": "Add", "ewmul": "Mul", "smul": "Mul", "relu": "Relu", "matmul": "MatMul"}


def _window(strides: list[int], pads: list[int]) -> dict[str, Any]:
    """The attributes that are not at their defaults."""
    given = {"strides": strides} if any(s != 1 for s in strides) else {}
    return {**given, "pads": pads} if any(pads) else given


def _centred(before: tuple[int, ...], after: tuple[int, ...]) -> list[int]:
    missing = [b - a for a, b in zip(before, after, strict=True)]
    return [*(m // 2 for m in missing), *(m - m // 2 for m in missing)]


def _pads(sizes: Iterable[int], window: Iterable[int], strides: Iterable[int], pad: int) -> list[int]:
    """SAME as ONNX's ``SAME_UPPER``: what is odd is added at the end."""
    triples = zip(sizes, window, strides, strict=True)
    total = [max((-(-n // s) - 1) * s + k - n, 0) if pad == SAME else 0 for n, k, s in triples]
    return [*(t // 2 for t in total), *(t - t // 2 for t in total)]
