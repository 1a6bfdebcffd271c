"""Adapts what a node says about sizes to the indices that are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir

from tcc.ir.channels.links import Axis, MismatchError, Tie
from tcc.ir.channels.site import Site
from tcc.ir.naming import fresh
from tcc.ir.values import constant_value

Keep = Mapping[Axis, np.ndarray]
"""For each axis that loses indices: which it keeps."""


_COMPARES_INTEGERS = 12
"""The first opset with LessOrEqual, and with Where before it."""


@dataclass(frozen=True)
class Resizing:
    """One node of the sliced model, with what the original's node says.

    Args:
        site: the original's node.
        node: the copy that is changed in place.
        kept: which indices axes of the original keep.
        ties: the original node's ties.
    """

    site: Site
    node: onnx_ir.Node
    kept: Keep
    ties: tuple[Tie, ...]

    def keep(self, port: int, axis: int) -> np.ndarray | None:
        """Which indices an operand's axis keeps; None for all."""
        value = self.site.port(port)
        return None if value is None else self.kept.get((value, axis))

    def count(self, port: int, axis: int) -> int:
        """How many indices an operand's axis keeps."""
        keep = self.keep(port, axis)
        return (self.site.port_shape(port) or ())[axis] if keep is None else int(keep.sum())

    def factor(self, name: str) -> int:
        """How many indices of a factor of the rule are kept."""
        for tie in self.ties:
            for end in tie.ends:
                if name in end.factors:
                    keep = self.kept.get(end.key)
                    if keep is None:
                        return tie.sizes[name]
                    others = tuple(i for i, f in enumerate(end.factors) if f != name)
                    grid = keep.reshape([tie.sizes[f] for f in end.factors])
                    return int(grid.any(axis=others).sum())
        return 1

    def moved(self, before: int, after: int, axis: int, index: np.ndarray, target: int | None = None) -> np.ndarray:
        """Where the kept indices of ``after`` come from, in numbers of what ``before`` keeps.

        ``target`` is the axis of ``after``, where it is another.

        Raises:
            MismatchError: where one comes from an index that is removed.
        """
        own, kept = self.keep(before, axis), self.keep(after, axis if target is None else target)
        chosen = index if kept is None else index[kept]
        if own is None:
            return chosen
        if not own[chosen].all():
            raise MismatchError("it keeps an index whose source is removed")
        numbers: np.ndarray = np.cumsum(own) - 1
        return np.asarray(numbers[chosen])

    def set_attribute(self, name: str, value: float | list[int]) -> None:
        """Write an attribute."""
        made = onnx_ir.AttrInt64s(name, value) if isinstance(value, list) else (
            onnx_ir.AttrFloat32(name, value) if isinstance(value, float) else onnx_ir.AttrInt64(name, value)
        )  # fmt: skip
        self.node.attributes[name] = made

    def drop_attribute(self, name: str) -> None:
        """Remove an attribute where it is there."""
        self.node.attributes.pop(name, None)

    def set_input(self, i: int, array: np.ndarray) -> None:
        """Give the node a constant of its own as an input."""
        if i >= len(self.node.inputs):
            self.node.resize_inputs(i + 1)
        self.node.replace_input_with(i, self._constant(f"input{i}", array))

    def set_integers(self, attribute: str, i: int, values: list[int]) -> None:
        """Integers that older operator sets keep in an attribute and newer ones in input ``i``."""
        if self.site.attribute(attribute) is not None:
            self.set_attribute(attribute, values)
        else:
            self.set_input(i, np.array(values, np.int64))

    def set_slice(self, starts: np.ndarray, ends: np.ndarray, axes: np.ndarray, steps: np.ndarray) -> None:
        """Write the bounds of a Slice in the form of its operator set."""
        named = {"starts": starts, "ends": ends, "axes": axes}
        if self.site.attribute("starts") is not None:
            for name, values in named.items():
                self.set_attribute(name, values.tolist())
            return
        for i, values in enumerate([*named.values(), steps], 1):
            self.set_input(i, values)

    def replace_by_gathers(self, chosen: Mapping[int, np.ndarray]) -> None:
        """Pick the given indices of each axis one after another, in the node's place."""
        data = self.node.inputs[0]
        for axis, index in chosen.items():
            gather = self._node("Gather", [data, self._constant(f"indices{axis}", index.astype(np.int64))], axis=axis)
            self.node.prepend(gather)
            data = gather.outputs[0]
        identity = self._node("Identity", [data])
        self.node.prepend(identity)
        self._stand_in(identity.outputs[0])

    def select_output(self, axis: int) -> None:
        """Keep the indices of an output that is made, not moved."""
        keep = self.keep(~0, axis)
        if keep is None:
            return
        index = self._constant(f"kept{axis}", np.flatnonzero(keep))
        gather = self._node("Gather", [self.node.outputs[0], index], axis=axis)
        self._after(gather)

    def rescale(self, i: int) -> None:
        """Adapt a shape that the node is given in input ``i`` to what its output keeps.

        A shape that is computed is computed of the original's sizes (``keep_original_shape``), of which each axis
        keeps the same part on every run.
        """
        shape, value = self.site.shape_out(), self.site.input(i)
        if shape is None or value is None:
            return
        kept = {a: self.count(~0, a) for a in range(len(shape)) if self.keep(~0, a) is not None}
        if not kept:
            return
        if value.const_value is not None:
            given = value.const_value.numpy()
            new = given.copy()
            for axis, count in kept.items():
                if given[axis] == shape[axis] or given[axis] == 0:
                    new[axis] = count
            self.set_input(i, new)
            return
        many, all_ = np.ones(len(shape), np.int64), np.ones(len(shape), np.int64)
        for axis, count in kept.items():
            common = math.gcd(count, shape[axis])
            many[axis], all_[axis] = count // common, shape[axis] // common
        before = self.node.inputs[i]
        product = self._node("Mul", [before, self._constant("kept", many)])
        scaled = self._node("Div", [product.outputs[0], self._constant("all", all_)])
        chain = [product, scaled, *self._sizes(before, scaled.outputs[0])]
        for node in chain:
            self.node.prepend(node)
        self.node.replace_input_with(i, chain[-1].outputs[0])

    def _sizes(self, before: onnx_ir.Value | None, scaled: onnx_ir.Value) -> list[onnx_ir.Node]:
        """What a scaled shape is where it says sizes; -1 and 0 are found out by Reshape, 1 is broadcast by Expand."""
        if self.site.opset >= _COMPARES_INTEGERS:
            special = self._node("LessOrEqual", [before, self._constant("one", np.array(1, np.int64))])
            return [special, self._node("Where", [special.outputs[0], before, scaled])]
        # Before, integers are neither compared nor chosen between: before + (scaled - before) · [before > 1].
        real = self._node("Cast", [before], to=onnx_ir.DataType.FLOAT)
        above = self._node("Greater", [real.outputs[0], self._constant("one", np.array(1, np.float32))])
        mask = self._node("Cast", [above.outputs[0]], "mask", to=onnx_ir.DataType.INT64)
        less = self._node("Sub", [scaled, before])
        change = self._node("Mul", [less.outputs[0], mask.outputs[0]], "change")
        return [real, above, mask, less, change, self._node("Add", [before, change.outputs[0]])]

    def keep_original_shape(self) -> None:
        """Make Shape tell the original's sizes."""
        shape = self.site.shape() or ()
        rows = range(*slice(self.site.attribute("start", 0), self.site.attribute("end")).indices(len(shape)))
        kept = {at: axis for at, axis in enumerate(rows) if self.keep(0, axis) is not None}
        if not kept or not self._reads_any(kept):
            return
        many, all_ = np.ones(len(rows), np.int64), np.ones(len(rows), np.int64)
        for at, axis in kept.items():
            common = math.gcd(self.count(0, axis), shape[axis])
            many[at], all_[at] = self.count(0, axis) // common, shape[axis] // common
        self._scale_output(all_, many)

    def keep_original_size(self) -> None:
        """Make Size tell the original's number of elements."""
        shape = self.site.shape() or ()
        kept = [a for a in range(len(shape)) if self.keep(0, a) is not None]
        if kept:
            many, all_ = (math.prod(n) for n in zip(*((self.count(0, a), shape[a]) for a in kept), strict=True))
            common = math.gcd(many, all_)
            self._scale_output(np.array(all_ // common, np.int64), np.array(many // common, np.int64))

    def _reads_any(self, kept: Mapping[int, int]) -> bool:
        """Whether somebody reads one of these sizes; who picks others by constant indices does not."""
        for user, i in self.site.node.outputs[0].uses():
            index = self.site.sizes.fixed.get(user.inputs[1]) if len(user.inputs) > 1 and user.inputs[1] else None
            if user.op_type != "Gather" or i != 0 or index is None:
                return True
            count = len(self.site.shape() or ())
            if {int(n) % count for n in index.reshape(-1)} & set(kept):
                return True
        return bool(self.site.node.outputs[0].is_graph_output())

    def _scale_output(self, many: np.ndarray, all_: np.ndarray) -> None:
        product = self._node("Mul", [self.node.outputs[0], self._constant("all", many)])
        scaled = self._node("Div", [product.outputs[0], self._constant("kept", all_)])
        self._after(product, scaled)

    def _after(self, *chain: onnx_ir.Node) -> None:
        """Let who read the node's output read the last of a chain of nodes that starts from it."""
        output = self.node.outputs[0]
        users = [use for use in output.uses() if use.node is not chain[0]]
        for node in reversed(chain):
            self.node.append(node)
        for use in users:
            use.node.replace_input_with(use.idx, chain[-1].outputs[0])

    def _stand_in(self, value: onnx_ir.Value) -> None:
        output = self.node.outputs[0]
        for use in list(output.uses()):
            use.node.replace_input_with(use.idx, value)

    def _node(
        self, operator: str, inputs: list[onnx_ir.Value | None], tag: str = "", **attributes: int
    ) -> onnx_ir.Node:
        made = [onnx_ir.AttrInt64(name, value) for name, value in attributes.items()]
        node = onnx_ir.Node("", operator, inputs, made, version=self.node.version)
        graph = self.node.graph
        assert isinstance(graph, onnx_ir.Graph)
        # Generated names would be those of one graph, and a body sees the names around it.
        node.outputs[0].name = f"{self.node.outputs[0].name}/{operator}{len(graph)}{tag}"
        return node

    def _constant(self, tag: str, array: np.ndarray) -> onnx_ir.Value:
        graph = self.node.graph
        assert isinstance(graph, onnx_ir.Graph)
        name = fresh(f"{self.node.outputs[0].name}/{tag}", graph.initializers)
        value = constant_value(name, onnx_ir.tensor(array))
        graph.register_initializer(value)
        return value
