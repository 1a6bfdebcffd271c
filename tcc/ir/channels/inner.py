"""Observes the sizes of the values inside of bodies: each body hands them out beside its own outputs.

A size comes out as a row of 2 · 8 numbers, the sizes and their negatives, so that one maximum over the runs of a body
tells the largest and the smallest. A branch that was not taken, and a loop without iterations, hands out the lowest
number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tcc.ir.channels.site import Shape

if TYPE_CHECKING:
    import onnx_ir

_PREFIX = "tcc_inner:"
_AXES = 8
_NEVER = -(1 << 40)
_ABSENT = -1
"""What stands for an axis that is not there."""
_OPSET = 13
"""Before, the operators that are put in have other forms."""


@dataclass
class Inner:
    """The values of bodies that are handed out, by the name of the row that tells their sizes.

    Args:
        opset: of the model.
        values: filled by ``hand_out``.
    """

    opset: int
    values: dict[str, onnx_ir.Value] = field(default_factory=dict)
    _rows: int = 0

    def hand_out(self, graph: onnx_ir.Graph, proto: onnx.GraphProto) -> list[str]:
        """Let every body's sizes come out in ``proto``, the serialised form of ``graph``; names of the rows."""
        if self.opset < _OPSET:
            return []
        found: list[str] = []
        for node, own in zip(graph, list(proto.node), strict=True):
            bodies = {a.name: a for a in own.attribute if a.type == onnx.AttributeProto.GRAPH}
            if node.domain or node.op_type not in _BODIES or not bodies:
                continue
            rows = {name: self._inside(node.attributes[name].as_graph(), a.g) for name, a in bodies.items()}
            found += self._out(node.op_type, own, proto, {n: bodies[n].g for n in rows}, rows)
        return found

    def _inside(self, body: onnx_ir.Graph, proto: onnx.GraphProto) -> list[str]:
        """Rows for what a body and the bodies in it compute."""
        found = self.hand_out(body, proto)
        for value in [*body.inputs, *(v for node in body for v in node.outputs)]:
            # The checked file has types for what inference knows; of the rest nothing is told.
            if value.name and value.shape is not None and len(value.shape) < _AXES:
                row = self._name()
                self.values[row] = value
                filler = np.full(_AXES - len(value.shape), _ABSENT, np.int64)
                proto.node.extend(
                    [
                        helper.make_node("Shape", [value.name], [f"{row}:shape"]),
                        _constant(f"{row}:filler", filler),
                        helper.make_node("Concat", [f"{row}:shape", f"{row}:filler"], [f"{row}:all"], axis=0),
                        helper.make_node("Neg", [f"{row}:all"], [f"{row}:negative"]),
                        helper.make_node("Concat", [f"{row}:all", f"{row}:negative"], [row], axis=0),
                    ]
                )
                found.append(row)
        return found

    def _out(
        self,
        operator: str,
        node: onnx.NodeProto,
        graph: onnx.GraphProto,
        bodies: Mapping[str, onnx.GraphProto],
        rows: Mapping[str, Sequence[str]],
    ) -> list[str]:
        """Lead rows from inside of a node's bodies into the graph that it stands in."""
        if operator == "If":
            for name, body in bodies.items():
                for other, own in rows.items():
                    for row in own:
                        body.output.append(helper.make_tensor_value_info(_in(row), TensorProto.INT64, [2 * _AXES]))
                        body.node.append(_renamed(row) if name == other else _constant(_in(row), _never()))
            found = [row for own in rows.values() for row in own]
            _append(node, len(next(iter(bodies.values())).output) - len(found), [self._lead(row) for row in found])
            return [self._leads[row] for row in found]
        (body,), (found,) = bodies.values(), [list(own) for own in rows.values()]
        whole = len(body.output) - (operator == "Loop")
        for row in found:
            body.node.append(_renamed(row))
            body.output.append(helper.make_tensor_value_info(_in(row), TensorProto.INT64, [2 * _AXES]))
        _append(node, whole, [f"{self._lead(row)}:all" for row in found])
        for attribute in node.attribute:
            if attribute.name in {"scan_output_axes", "scan_output_directions"}:
                attribute.ints.extend([0] * len(found))
        for row in found:
            graph.node.extend(_largest(self._leads[row], self.opset))
        return [self._leads[row] for row in found]

    def _lead(self, row: str) -> str:
        """The name of a row one graph further out."""
        name = self._name()
        self.values[name] = self.values.pop(row)
        self._leads[row] = name
        return name

    def _name(self) -> str:
        self._rows += 1
        return f"{_PREFIX}{self._rows}"

    def __post_init__(self) -> None:
        self._leads: dict[str, str] = {}

    def shapes(self, found: Mapping[str, Any]) -> dict[onnx_ir.Value, Shape]:
        """The sizes of the values that were computed, and had the same sizes each time."""
        made: dict[onnx_ir.Value, Shape] = {}
        for row, value in self.values.items():
            largest, smallest = np.split(np.asarray(found[row]), 2)
            if largest[0] != _NEVER and np.array_equal(largest, -smallest):
                assert value.shape is not None
                made[value] = tuple(int(n) for n in largest[: len(value.shape)])
        return made


_BODIES = frozenset({"If", "Loop", "Scan"})


def _never() -> np.ndarray:
    return np.full(2 * _AXES, _NEVER, np.int64)


def _in(row: str) -> str:
    return f"{row}:out"


def _renamed(row: str) -> onnx.NodeProto:
    return helper.make_node("Identity", [row], [_in(row)])


def _constant(name: str, array: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))


def _append(node: onnx.NodeProto, whole: int, names: Iterable[str]) -> None:
    """Further outputs of a node, behind the ``whole`` ones of its bodies."""
    node.output.extend([""] * (whole - len(node.output)))
    node.output.extend(names)


def _largest(row: str, opset: int) -> list[onnx.NodeProto]:
    """The maximum over what came out of each iteration; one more row, for where there was none."""
    reduced = [f"{row}:rows"] if opset < 18 else [f"{row}:rows", f"{row}:axis"]
    options: dict[str, Any] = {"axes": [0]} if opset < 18 else {}
    return [
        _constant(f"{row}:never", _never()[None]),
        _constant(f"{row}:axis", np.array([0], np.int64)),
        helper.make_node("Concat", [f"{row}:all", f"{row}:never"], [f"{row}:rows"], axis=0),
        helper.make_node("ReduceMax", reduced, [row], keepdims=0, **options),
    ]
