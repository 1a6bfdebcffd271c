"""Draws random typed models: a seeded generator, and a graph under construction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import helper, numpy_helper

T = TypeVar("T")
Shape = Sequence[int]

NEWEST = 24
"""The newest opset that instances are written in; ONNX Runtime has kernels for it."""
SPECIAL = (0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0)


@dataclass
class Value:
    """A value of the graph under construction: its name, element type and concrete shape (not the declared one)."""

    name: str
    dtype: str = ""
    shape: tuple[int, ...] = ()


@dataclass
class Draw:
    """A seeded source of models.

    Args:
        rng: all randomness comes from here.
        special: whether inputs hold signed zeros, infinities and NaN.
    """

    rng: np.random.Generator
    special: bool = False
    opset: int = 17
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    _inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    _initializers: list[onnx.TensorProto] = field(default_factory=list)
    _nodes: list[onnx.NodeProto] = field(default_factory=list)
    _declared: dict[str, onnx.TypeProto] = field(default_factory=dict)
    _count: int = 0

    def integer(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both possible."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float = 0.5) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """The options in random order."""
        return [options[i] for i in self.rng.permutation(len(options))]

    def subset(self, options: Sequence[T], least: int = 0) -> list[T]:
        """Some of the options, at least so many, in their order."""
        count = self.integer(min(least, len(options)), len(options))
        return [options[i] for i in sorted(self.rng.permutation(len(options))[:count])]

    def versions(self, first: int, last: int = NEWEST) -> int:
        """Choose the opset; the last call before the first node counts."""
        self.opset = self.integer(first, last)
        return self.opset

    def shape(self, low: int = 0, high: int = 5, size: int = 4) -> tuple[int, ...]:
        """A shape of rank ``low`` to ``high`` with sizes from 1, the commonest, to ``size``."""
        return tuple(1 if self.chance(0.25) else self.integer(2, size) for _ in range(self.integer(low, high)))

    def broadcast_to(self, shape: Shape) -> tuple[int, ...]:
        """A shape that broadcasts to this one without widening it."""
        kept = tuple(1 if self.chance(0.4) else size for size in shape)
        return kept[self.integer(0, len(kept)) :]

    def array(self, shape: Shape, dtype: str = "float32") -> np.ndarray:
        """Values of order one; small integers."""
        shape = tuple(shape)
        if dtype == "bool":
            return self.rng.integers(0, 2, shape).astype(bool)
        if "int" in dtype:
            return self.rng.integers(0 if dtype[0] == "u" else -9, 10, shape).astype(dtype)
        return np.asarray(self.rng.normal(size=shape)).astype(dtype)

    def positive(self, shape: Shape, dtype: str = "float32") -> np.ndarray:
        """Values between a half and two."""
        return np.asarray(self.rng.uniform(0.5, 2.0, tuple(shape))).astype(dtype)

    def _fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def input(self, shape: Shape, dtype: str = "float32", *, symbols: float = 0.2) -> Value:
        """An input of the graph; each dimension is symbolic with that probability."""
        return self.input_of(self._with_special(self.array(shape, dtype)), symbols=symbols)

    def _with_special(self, array: np.ndarray) -> np.ndarray:
        if not self.special or array.dtype.kind != "f" or not array.size:
            return array
        at = self.rng.random(array.shape) < 0.4
        return np.where(at, self.rng.choice(np.array(SPECIAL, array.dtype), array.shape), array).astype(array.dtype)

    def input_of(self, array: np.ndarray, *, symbols: float = 0.2, names: Sequence[str | int] | None = None) -> Value:
        """An input that is fed with this array; ``names`` are the declared dimensions."""
        name = self._fresh("x")
        # One name is one size: a symbol carries its size, so that equal names are equal sizes.
        declared = names or [f"n{size}" if self.chance(symbols) else size for size in array.shape]
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self._inputs.append(helper.make_tensor_value_info(name, kind, declared))
        self.feeds[name] = array
        return Value(name, array.dtype.name, array.shape)

    def constant(self, array: Any, dtype: str | None = None) -> Value:
        """An initialiser."""
        array = np.asarray(array, dtype)
        name = self._fresh("c")
        self._initializers.append(numpy_helper.from_array(array, name))
        return Value(name, array.dtype.name, array.shape)

    def operand(self, array: Any, *, constant: bool) -> Value:
        """An array as an initialiser, or as an input that is fed with it."""
        return self.constant(array) if constant else self.input_of(np.asarray(array), symbols=0.0)

    def tensor(self, shape: Shape, dtype: str = "float32", *, symbols: float = 0.2) -> Value:
        """An input, or at times what an operator without a rule makes of one."""
        value = self.input(shape, dtype, symbols=symbols)
        if dtype == "float32" and self.chance(0.3):
            return Value(self.node("Elu", value).name, dtype, tuple(shape))
        return value

    def node(self, operator: str, *inputs: Value | None, **attributes: Any) -> Value:
        """A node with one output."""
        return self.nodes(operator, 1, *inputs, **attributes)[0]

    def nodes(self, operator: str, outputs: int, *inputs: Value | None, **attributes: Any) -> list[Value]:
        """A node with several outputs; None is an input that is not given."""
        names = [self._fresh("v") for _ in range(outputs)]
        given = [v.name if v is not None else "" for v in inputs]
        while given and not given[-1]:
            given.pop()
        attributes = {k: v for k, v in attributes.items() if v is not None}
        self._nodes.append(helper.make_node(operator, given, names, name=self._fresh("node"), **attributes))
        return [Value(name) for name in names]

    def declare(self, value: Value, shape: Sequence[int | str | None], dtype: str = "float32") -> Value:
        """State the type of a value, as exporters do that know more than inference can tell."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._declared[value.name] = helper.make_tensor_type_proto(kind, shape)
        return value

    def model(self, *outputs: Value) -> onnx.ModelProto:
        """The model; at times with an operator behind an output, at times with an inner value as one more output."""
        names = [v.name for v in outputs]
        graph = helper.make_graph(self._nodes, "instance", self._inputs, [], self._initializers)
        graph.output.extend(onnx.ValueInfoProto(name=name, type=self._declared.get(name)) for name in names)
        graph.value_info.extend(
            onnx.ValueInfoProto(name=k, type=t) for k, t in self._declared.items() if k not in names
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        inferred = onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True).graph
        kinds = {
            v.name: v.type for v in (*inferred.value_info, *inferred.output) if v.type.tensor_type.HasField("shape")
        }
        inner = [n.output[0] for n in self._nodes if n.output[0] in kinds and n.output[0] not in names]
        if inner and self.chance(0.25):
            names.append(self.choice(inner))
        if kinds[names[0]].tensor_type.elem_type == onnx.TensorProto.FLOAT and self.chance(0.3):
            made.graph.node.append(helper.make_node("Softsign", [names[0]], ["behind"], name="behind"))
            kinds["behind"] = kinds[names[0]]
            names[0] = "behind"
        del made.graph.output[:]
        made.graph.output.extend(onnx.ValueInfoProto(name=name, type=kinds[name]) for name in names)
        return made
