"""Kernels in tiles as alternatives: an anchor with what is done to its result, once for each tile worth considering."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tcc.cost_models._fusions import Regions, fusions_of
from tcc.cost_models._tiles import REGION, TILE, Kernel, Plan, Processor, of_target, seconds
from tcc.ir.frozen import EClass, ENode, Frozen
from tcc.ir.problem import Candidate
from tcc.passes._neighbours import Neighbours
from tcc.targets import Target

if TYPE_CHECKING:
    import onnx_ir

_LONGEST = 4
"""Operators that join one anchor at most: a bias, a residual sum, an activation, a rounding to bytes."""
_CHAINS = 12
"""Chains of operators behind one anchor that become alternatives at most; the shortest first."""
_TILES = 2
"""Tiles of one chain that become alternatives: its inner classes are its own, so the cheaper one is better."""
_RESCALED = 3.0
"""Vector instructions that turn sums of products of bytes into floats: less the zero's part, converted, scaled."""
_BYTES = frozenset({"int8", "uint8"})
Place = tuple[int, ENode]


@dataclass(frozen=True)
class Marked:
    """What is written on the node that computes a class: its tile, and the operators of its region."""

    tile: str
    region: str


@dataclass
class KernelTiles:
    """The alternatives of one read-out.

    Each region in each tile stands in classes of its own, which nothing else reads: an inner result that another
    operator needs too is computed outside the region, as a kernel that writes it.

    Args:
        around: the read-out as it is, and who reads what in it.
        regions: what the back end makes one kernel of.
        chip: what tiles are chosen by.
        target: whose clock counts.
        parsed: the attributes of an e-node.
    """

    around: Neighbours
    regions: Regions
    chip: Processor
    target: Target
    parsed: Any
    frozen: Frozen = field(init=False)
    seconds: dict[Place, float] = field(default_factory=dict, init=False)
    """What each alternative takes, by its class and node; the rest of a region is free."""
    _marks: dict[str, Marked] = field(default_factory=dict, init=False)
    _origin: dict[int, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        plain = self.around.frozen
        self.frozen = Frozen([dataclasses.replace(e, nodes=list(e.nodes)) for e in plain.classes], dict(plain.of))
        for c, eclass in enumerate(plain.classes):
            for node in eclass.nodes:
                kernel = None if eclass.constant else self._kernel(c, node)
                if kernel is not None and kernel.plans(self.chip):
                    self._offer(c, node, kernel)

    def _offer(self, c: int, node: ENode, kernel: Kernel) -> None:
        """The kernel's tiles in place of the node without one, and those of the regions that begin with it."""
        self.frozen.classes[c].nodes.remove(node)
        own = _RESCALED if kernel.is_integer else 0.0
        own += float(len(node.inputs) > 2 and not self.around.is_absent(node.inputs[2]))
        for chain in [(), *self._chains(c)]:
            names = [self.around.operator(n) for _, n in ((c, node), *chain)]
            work = own + sum(self.regions.elementwise[name] for name in names[1:])
            for clocks, plan in kernel.shortlist(self.chip, work)[: _TILES if chain else None]:
                made = dataclasses.replace(node, variant=self._marked(kernel, plan, names))
                self._place(c, made, chain, seconds(clocks, self.target, self.chip))

    def _marked(self, kernel: Kernel, plan: Plan, names: Sequence[str]) -> str:
        variant = f"{len(self._marks)}"
        self._marks[variant] = Marked(f"{kernel.text} in {plan.text}", "+".join(names))
        return variant

    def _place(self, c: int, made: ENode, chain: Sequence[Place], seconds: float) -> None:
        """The anchor in the first class of the region, each further operator reading the one before it."""
        at, was = c, c
        if chain:
            at = self._private(c)
        self._add(at, made, seconds)
        for last, (u, user) in enumerate(chain, 1):
            inputs = tuple(at if i == was else i for i in user.inputs)
            place = u if last == len(chain) else self._private(u)
            self._add(place, dataclasses.replace(user, inputs=inputs, variant=made.variant), 0.0)
            at, was = place, u

    def _add(self, c: int, node: ENode, seconds: float) -> None:
        self.frozen.classes[c].nodes.append(node)
        self.seconds[c, node] = seconds

    def _private(self, c: int) -> int:
        self.frozen.classes.append(EClass(kind=self.frozen.classes[c].kind))
        self._origin[len(self.frozen.classes) - 1] = c
        return len(self.frozen.classes) - 1

    def _chains(self, c: int) -> list[tuple[Place, ...]]:
        """What may be done to a class's elements as they are written, the shortest chains first."""
        found: list[tuple[Place, ...]] = []
        ends: list[tuple[tuple[Place, ...], int]] = [((), c)]
        while ends and len(found) < _CHAINS:
            chain, end = ends.pop(0)
            if len(chain) == _LONGEST:
                continue
            for place in self._joining(end, {c, *(u for u, _ in chain)}):
                found.append((*chain, place))
                ends.append(((*chain, place), place[0]))
        return found[:_CHAINS]

    def _joining(self, c: int, inside: Collection[int]) -> Iterator[Place]:
        classes = self.around.frozen.classes
        shape = classes[c].kind
        for u, user in self.around.users.get(c, ()):
            kind = classes[u].kind
            if u in inside or classes[u].several or user.operator == "project" or kind is None or shape is None:
                continue
            if self.around.operator(user) not in self.regions.elementwise or kind.shape != shape.shape:
                continue
            # What is read twice, or belongs to the region already, is no operand from outside.
            if user.inputs.count(c) == 1 and not (set(user.inputs) - {c}) & set(inside):
                yield u, user

    def _kernel(self, c: int, node: ENode) -> Kernel | None:
        """What the back end makes of an anchor; None where it leaves that to others."""
        operator = self.around.operator(node) if node.inputs else ""
        if operator not in self.regions.anchors:
            return None
        kinds = [self.around.frozen.classes[i].kind for i in (*node.inputs[:2], c)]
        if any(kind is None or not kind.is_static or kind.dtype != "float32" for kind in kinds):
            return None
        left, right, result = (
            tuple(d for d in kind.shape or () if isinstance(d, int)) for kind in kinds if kind is not None
        )
        integer = " int8" if self._is_integer(node) else ""
        constant = self.around.is_constant(node.inputs[1])
        parsed: Mapping[str, Any] = self.parsed(node)
        if operator == "Conv":
            return _convolution(parsed, left, right, result, integer) if constant else None
        if operator == "Gemm":
            depth = left[0] if parsed.get("transA") else left[1]
            return Kernel(f"matmul{integer}", result[:-1], result[-1], depth) if constant else None
        if constant and len(right) == 2 and len(left) > 1:
            return Kernel(f"matmul{integer}", left[:-1], right[1], right[0])
        if constant or len(left) < 3 or left[:-2] != right[:-2]:
            return None
        return Kernel(f"batched matmul{integer}", left[:-1], right[-1], right[-2])

    def _is_integer(self, node: ENode) -> bool:
        """Whether both factors come from bytes, and the processor adds up products of such."""
        return self.chip.dot is not None and all(self._is_dequantized(i) for i in node.inputs[:2])

    def _is_dequantized(self, c: int) -> bool:
        """Whether a class is computed from bytes, perhaps transposed since; an e-graph turns back into itself there."""
        seen, waiting = {c}, [c]
        while waiting:
            for _, maker in self.around.makers(waiting.pop()):
                kind = self.around.frozen.classes[maker.inputs[0]].kind if maker.inputs else None
                if self.around.has(maker, "DequantizeLinear") and kind is not None and kind.dtype in _BYTES:
                    return True
                if self.around.has(maker, "Transpose") and maker.inputs[0] not in seen:
                    seen.add(maker.inputs[0])
                    waiting.append(maker.inputs[0])
        return False

    def folded(
        self, choice: Mapping[int, Candidate], used: Collection[int]
    ) -> tuple[dict[int, Candidate], set[int], dict[int, Marked]]:
        """A choice in terms of the classes that were read out: the candidates, those used, and what to write on which.

        Where the class that a region's inner result stands for is computed for others too, the region keeps its own.
        """
        inner = [c for c in sorted(used) if c in self._origin]
        place: dict[int, int] = {}
        for c in inner:
            origin = self._origin[c]
            place[c] = c if origin in used or origin in place.values() else origin
        made, marks = dict(choice), {}
        for c in sorted(used):
            node = choice[c].node
            to = place.get(c, c)
            if (c, node) in self.seconds and self.around.operator(node) in self.regions.anchors:
                marks[to] = self._marks[node.variant]
            renamed = dataclasses.replace(node, inputs=tuple(place.get(i, i) for i in node.inputs), variant="")
            needs = tuple(place.get(i, i) for i in choice[c].needs)
            made[to] = Candidate(renamed, choice[c].price, needs)
        return made, {place.get(c, c) for c in used}, marks


def tiles_of(around: Neighbours, target: Target, parsed: Any) -> KernelTiles | None:
    """The kernels in tiles for a target; None where its back end brings kernels of its own, or no registers are stated.

    Args:
        around: the read-out.
        target: what is compiled for.
        parsed: gives an e-node's attributes.
    """
    regions, chip = fusions_of(target).regions, of_target(target)
    return None if regions is None or chip is None else KernelTiles(around, regions, chip, target, parsed)


def _convolution(
    parsed: Mapping[str, Any], data: tuple[int, ...], weight: tuple[int, ...], result: tuple[int, ...], integer: str
) -> Kernel | None:
    """A convolution over one or two axes, channels last: all channels together, or each for itself."""
    if len(weight) == 3:
        data, weight, result = ((*shape[:2], 1, shape[2]) for shape in (data, weight, result))
    if len(weight) != 4:
        return None
    outer, (outputs, inputs, high, wide), groups = (result[0], *result[2:]), weight, int(parsed.get("group", 1))
    if groups == data[1] == outputs and inputs == 1:
        return Kernel(f"depthwise{integer}", outer, outputs, taps=high * wide)
    if groups != 1:
        return None
    what = f"convolution{integer} {high}x{wide}"
    is_plain = all(s == 1 for s in parsed.get("strides", ())) and not any(parsed.get("pads", ()))
    if high == wide == 1 and not is_plain:
        what += " strided"
    return Kernel(what, outer, outputs, inputs, math.prod((high, wide)))


def write_tiles(marks: Mapping[int, Marked], values: Mapping[int, onnx_ir.Value | None]) -> dict[str, Any]:
    """Write the chosen tiles on the nodes that compute these classes; for the report, how many there are."""
    for c, mark in marks.items():
        node = None if (v := values.get(c)) is None else v.producer()
        if node is not None:
            node.metadata_props.update({TILE: mark.tile, REGION: mark.region})
    return {"tiles": len(marks)} if marks else {}
