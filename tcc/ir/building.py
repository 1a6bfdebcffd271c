"""Nodes for a chosen program: each class's node and the values between them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx_ir

from tcc.ir import attributes
from tcc.ir.facts import OUTPUTS_MARK
from tcc.ir.frozen import EClass, ENode, Frozen
from tcc.ir.importing import Imported
from tcc.ir.problem import LEAF, LOSSY, STORED, Candidate
from tcc.ir.values import ir_type

ABSENT = "absent"
PROJECT = "project"
OPAQUE = "opaque"


@dataclass
class Builder:
    """Makes the nodes of a choice; values of leaves and stored constants are given in ``values`` beforehand."""

    imported: Imported
    frozen: Frozen
    choice: Mapping[int, Candidate]
    opset: int
    values: dict[int, onnx_ir.Value | None] = field(default_factory=dict)
    nodes: list[onnx_ir.Node] = field(default_factory=list)

    def resolve(self, c: int) -> int:
        """The class whose program stands for ``c``: lossy edges followed to their end."""
        while self.choice[c].node.operator == LOSSY:
            c = self.choice[c].node.inputs[0]
        return c

    def input(self, c: int) -> onnx_ir.Value | None:
        """The value of a class that an earlier node needs."""
        c = self.resolve(c)
        return None if self.choice[c].node.operator == ABSENT else self.values[c]

    def build(self, used: Iterable[int]) -> None:
        """Make the nodes of these classes, in an order that follows the imported graph's."""
        projected: dict[int, list[int]] = {}
        used = sorted(used)
        for c in used:
            if self.choice[c].node.operator == PROJECT:
                projected.setdefault(self.resolve(self.choice[c].node.inputs[0]), []).append(c)
        for c in self._ordered(used):
            node = self.choice[c].node
            if node.operator in {ABSENT, PROJECT, STORED, LOSSY, LEAF.operator}:
                continue
            made = self._make(c, node)
            self.nodes.append(made)
            if self.frozen.classes[c].several:
                for p in projected.get(c, ()):
                    output = made.outputs[self.choice[p].node.output]
                    set_type(output, self.frozen.classes[p])
                    self.values[p] = output
            else:
                self.values[c] = made.outputs[0]

    def _ordered(self, used: list[int]) -> list[int]:
        """Topological order; of the classes that are ready, the one that came first in the imported graph."""
        among = set(used)
        position = {c: self._position(c) for c in used}
        waiting = {c: len(set(self.choice[c].needs) & among) for c in used}
        users: dict[int, list[int]] = {}
        for c in used:
            for need in set(self.choice[c].needs) & among:
                users.setdefault(need, []).append(c)
        heap = [(position[c], c) for c in used if not waiting[c]]
        heapq.heapify(heap)
        order: list[int] = []
        while heap:
            _, c = heapq.heappop(heap)
            order.append(c)
            for user in users.get(c, ()):
                waiting[user] -= 1
                if not waiting[user]:
                    heapq.heappush(heap, (position[user], user))
        return order

    def _position(self, c: int) -> int:
        numbers = self.frozen.classes[c].numbers
        if not numbers and (found := [p for p in self.frozen.classes[c].nodes if p.operator == OPAQUE]):
            return min(self.imported.numbers.get(self.imported.nodes[n.attributes].outputs[0], 0) for n in found)
        # A class that rules made has no place of its own: it is made as soon as its inputs are there.
        return min(numbers, default=0)

    def _make(self, c: int, node: ENode) -> onnx_ir.Node:
        inputs = [self.input(n) for n in node.inputs]
        if node.operator == OPAQUE:
            return self._carry(self.imported.nodes[node.attributes], inputs)
        while inputs and inputs[-1] is None:
            inputs.pop()
        plain = dict(attributes.parse(node.attributes))
        outputs = int(plain.pop(OUTPUTS_MARK, 1))
        made = onnx_ir.Node(
            "",
            node.operator,
            inputs,
            attributes.to_ir(plain, node.operator, self.opset),
            num_outputs=outputs,
            version=self.opset,
        )
        if self.frozen.classes[c].several:
            return made
        set_type(made.outputs[0], self.frozen.classes[c])
        return made

    def _carry(self, original: onnx_ir.Node, inputs: list[onnx_ir.Value | None]) -> onnx_ir.Node:
        own = inputs[: len(original.inputs)]
        if own != [*original.inputs] and any(
            new is None is not old for new, old in zip(own, original.inputs, strict=True)
        ):
            while own and own[-1] is None:
                own.pop()
        made = onnx_ir.Node(
            original.domain,
            original.op_type,
            own,
            list(original.attributes.values()),
            overload=original.overload,
            num_outputs=len(original.outputs),
            version=original.version,
        )
        for old, new in zip(original.outputs, made.outputs, strict=True):
            if not old.name:
                new.name = ""
            elif not isinstance(old.type, onnx_ir.TensorType):
                # Sequences and optionals have no kind in the e-graph; equal nodes have equal types.
                new.type, new.shape = old.type, old.shape
        return made


def set_type(v: onnx_ir.Value, eclass: EClass) -> None:
    """Give a value the type that its class is known to have."""
    if eclass.kind is not None:
        v.type, v.shape = ir_type(eclass.kind)
