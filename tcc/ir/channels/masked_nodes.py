"""Edits one node of the masked model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from tcc.ir.values import constant_value


@dataclass(frozen=True)
class Masking:
    """One node of the masked model, and the nodes that are put around it."""

    node: onnx_ir.Node
    opset: int

    def fill(self, port: int, axis: int, mask: np.ndarray, number: float, rank: int) -> None:
        """Replace the indices of an input's axis that are not in the mask by a number."""
        value = self.node.inputs[port]
        assert value is not None
        if value.const_value is not None and not value.is_graph_input():
            array = np.array(value.const_value.numpy())
            array[(slice(None),) * axis + (~mask,)] = array.dtype.type(number)
            made = self.constant(array, value.const_value.dtype)
        else:
            made = self.filled(value, axis_mask(mask, axis, rank), number)
        self.node.replace_input_with(port, made)

    def filled(self, value: onnx_ir.Value, mask: np.ndarray, number: float) -> onnx_ir.Value:
        """A value with a number where the mask, which is broadcast to it, is false."""
        dtype = value.dtype or onnx_ir.DataType.FLOAT
        kind = dtype.numpy()
        if not np.issubdtype(kind, np.floating) and not np.isfinite(number):
            number = float(np.iinfo(kind).min if number < 0 else np.iinfo(kind).max)
        if self.opset >= 9:
            other = self.constant(np.array(number, kind), dtype)
            return self.add("Where", [self.constant(mask, onnx_ir.DataType.BOOL), value, other])
        made = self.add("Mul", [value, self.constant(mask.astype(kind), dtype)])
        if number == 0:
            return made
        finite = np.clip(number, -1e30, 1e30)
        return self.add("Add", [made, self.constant(np.where(mask, 0, finite).astype(kind), dtype)])

    def scale_output(self, factor: float) -> None:
        """Multiply the node's output."""
        output = self.node.outputs[0]
        dtype = output.dtype or onnx_ir.DataType.FLOAT
        scaled = onnx_ir.Node("", "Mul", [output, self.constant(np.array(factor, dtype.numpy()), dtype)])
        self.stand_in(scaled)

    def stand_in(self, other: onnx_ir.Node) -> None:
        """Let who reads the node's first output read another node's, which comes after it."""
        output = self.node.outputs[0]
        self._name(other)
        users = [use for use in output.uses() if use.node is not other]
        self.node.append(other)
        for use in users:
            use.node.replace_input_with(use.idx, other.outputs[0])
        graph = self.node.graph
        if output.is_graph_output() and isinstance(graph, onnx_ir.Graph):
            name = output.name
            output.name, other.outputs[0].name = f"{name}/before", name
            other.outputs[0].type, other.outputs[0].shape = output.type, output.shape
            graph.outputs[list(graph.outputs).index(output)] = other.outputs[0]

    def add(self, operator: str, inputs: list[onnx_ir.Value | None], **attributes: int | list[int]) -> onnx_ir.Value:
        """A node before this one; its output has the type of the last input."""
        made = [
            onnx_ir.AttrInt64s(n, v) if isinstance(v, list) else onnx_ir.AttrInt64(n, v) for n, v in attributes.items()
        ]
        node = onnx_ir.Node("", operator, inputs, made)
        self._name(node)
        last = next(v for v in reversed(inputs) if v is not None)
        node.outputs[0].type = last.type
        self.node.prepend(node)
        return node.outputs[0]

    def mean(self, value: onnx_ir.Value, axes: list[int], factor: float) -> onnx_ir.Value:
        """The mean over axes, which stay with size 1, times a factor."""
        if self.opset >= 18:
            at = self.constant(np.array(axes, np.int64), onnx_ir.DataType.INT64)
            found = self.add("ReduceMean", [value, at], keepdims=1)
            found.type = value.type
        else:
            found = self.add("ReduceMean", [value], axes=axes, keepdims=1)
        dtype = value.dtype or onnx_ir.DataType.FLOAT
        return self.add("Mul", [found, self.constant(np.array(factor, dtype.numpy()), dtype)])

    def _name(self, node: onnx_ir.Node) -> None:
        """Give a new node's output a name that no graph around this one has."""
        graph = self.node.graph
        assert isinstance(graph, onnx_ir.Graph)
        node.outputs[0].name = f"{self.node.outputs[0].name}/{node.op_type}{len(graph)}"

    def constant(self, array: np.ndarray, dtype: onnx_ir.DataType) -> onnx_ir.Value:
        """A new initialiser."""
        graph = self.node.graph
        assert isinstance(graph, onnx_ir.Graph)
        turn = len(graph.initializers)
        while (name := f"{self.node.outputs[0].name}/tcc_mask_{turn}") in graph.initializers:
            turn += 1
        value = constant_value(name, onnx_ir.tensor(np.ascontiguousarray(array).reshape(array.shape), dtype=dtype))
        graph.register_initializer(value)
        return value


def axis_mask(mask: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A mask of one axis, to be broadcast over the others."""
    return mask.reshape([-1 if i == axis else 1 for i in range(rank)])
