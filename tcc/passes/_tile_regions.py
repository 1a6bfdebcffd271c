"""Runs of nodes that can be computed a few rows at a time, and what that would hold in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import onnx_ir

from tcc.cost_models._operations import VIEWS
from tcc.cost_models.memory import IN_PLACE
from tcc.passes._tile_rows import Rows, Step, forward, size, step

Bytes = Callable[[onnx_ir.Value], float]
COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Numbers of tiles that are tried."""
_ENDS = 6
"""Places where a region may begin, and where it may end: those across which the fewest bytes go."""


@dataclass(frozen=True)
class Region:
    """Nodes in their order, and the axis along which each value that they read or make in rows is cut."""

    nodes: tuple[onnx_ir.Node, ...]
    axes: dict[onnx_ir.Value, int]
    _rows: dict[onnx_ir.Value, int] = field(default_factory=dict, repr=False)

    @cached_property
    def made(self) -> frozenset[onnx_ir.Value]:
        """What the nodes make."""
        return frozenset(node.outputs[0] for node in self.nodes)

    @cached_property
    def outputs(self) -> tuple[onnx_ir.Value, ...]:
        """What is read outside, or by the caller."""
        inside = set(self.nodes)
        return tuple(
            v for v in (node.outputs[0] for node in self.nodes)
            if v.is_graph_output() or any(user not in inside for user, _ in v.uses())
        )  # fmt: skip

    @cached_property
    def inputs(self) -> tuple[onnx_ir.Value, ...]:
        """What is computed outside, or given, and read inside."""
        read = dict.fromkeys(v for node in self.nodes for v in node.inputs if v is not None and v.const_value is None)
        return tuple(v for v in read if v not in self.made)

    def rows(self, v: onnx_ir.Value) -> int:
        """How many rows a value has."""
        if v not in self._rows:
            found = size(v, self.axes[v])
            assert found is not None
            self._rows[v] = found
        return self._rows[v]

    def part(self, first: int, last: int) -> Region:
        """Some consecutive nodes of it."""
        return Region(self.nodes[first : last + 1], self.axes, self._rows)


def constants(graph: onnx_ir.Graph) -> set[onnx_ir.Node]:
    """The nodes that depend on no input."""
    found: set[onnx_ir.Node] = set()
    for node in graph:
        if all(v is None or v.const_value is not None or v.producer() in found for v in node.inputs):
            found.add(node)
    return found


def grown(nodes: Sequence[onnx_ir.Node], at: int, axis: int, fixed: Collection[onnx_ir.Node]) -> Region | None:
    """The longest run of nodes around ``nodes[at]`` that can be cut along one axis of each value.

    Args:
        nodes: of the graph, in order.
        at: where the run is to be.
        axis: of that node's output.
        fixed: nodes that depend on no input; they stay outside.
    """
    growing = _Growing()
    if not growing.take(nodes[at], axis):
        return None
    low = high = at
    while low > 0 and (nodes[low - 1] in fixed or growing.join(nodes[low - 1])):
        low -= 1
    while high + 1 < len(nodes) and (nodes[high + 1] in fixed or growing.join(nodes[high + 1])):
        high += 1
    return Region(tuple(node for node in nodes[low : high + 1] if node in growing.taken), growing.axes)


class _Growing:
    """Nodes that have been taken, the axes of their values, and the values that some of them read whole."""

    def __init__(self) -> None:
        self.taken: set[onnx_ir.Node] = set()
        self.axes: dict[onnx_ir.Value, int] = {}
        self.whole: set[onnx_ir.Value] = set()

    def join(self, node: onnx_ir.Node) -> bool:
        """Take the node along the axis that follows from a value which is known already, where there is one."""
        if node.outputs and node.outputs[0] in self.axes:
            return self.take(node, self.axes[node.outputs[0]])
        known = [(index, v) for index, v in enumerate(node.inputs) if v is not None and v in self.axes]
        return any(self.take(node, forward(node, index, self.axes[v])) for index, v in known)

    def take(self, node: onnx_ir.Node, axis: int) -> bool:
        """Take the node along an axis of its output, unless one of its values is cut otherwise or read whole."""
        rows = size(node.outputs[0], axis) if node.outputs else None
        found = step(node, axis, (0, rows)) if rows is not None and rows > 1 else None
        if found is None:
            return False
        axes = {node.outputs[0]: axis}
        for need in found.needs:
            v = node.inputs[need.index]
            if v is None or size(v, need.axis) is None or axes.setdefault(v, need.axis) != need.axis:
                return False
        whole = {v for v in node.inputs if v is not None and v not in axes}
        made = {one.outputs[0] for one in self.taken} | {node.outputs[0]}
        if any(self.axes.get(v, own) != own for v, own in axes.items()) or made & (whole | self.whole):
            return False
        self.axes.update(axes)
        self.whole |= whole
        self.taken.add(node)
        return True


@dataclass(frozen=True)
class Tile:
    """One tile: the rows of each value that are there, and how each node makes its own."""

    rows: dict[onnx_ir.Value, Rows]
    steps: dict[onnx_ir.Node, Step]


def cuts(region: Region, count: int) -> list[dict[onnx_ir.Value, Rows]]:
    """The rows of each of the region's outputs that each tile is for; nothing where there are too few rows.

    Numbers of rows grow by one from tile to tile, so that no two are equal: see ``tiles``.
    """
    least = min(region.rows(v) for v in (*region.made, *(v for v in region.inputs if v in region.axes)))
    if least < count * count:
        return []
    sizes = [least // count + i - (count - 1) // 2 for i in range(count)]
    ends = [*(sum(sizes[:i]) for i in range(count)), least]
    return [
        {v: (round(region.rows(v) * low / least), round(region.rows(v) * high / least)) for v in region.outputs}
        for low, high in pairwise(ends)
    ]


def tiles(region: Region, wanted: Sequence[dict[onnx_ir.Value, Rows]]) -> list[Tile] | None:
    """What has to be computed for some rows of the outputs; None where a tile would be empty.

    Values with equally many rows are given the same ones in a tile, as far as that can be: wherever windows overlap,
    the rows at the ends of a tile are then wrong, and are those that nobody needs. And no two tiles are equally long.
    Both are for runtimes that lay memory out beforehand by giving a value the place of a dead one of the same shape
    (ONNX Runtime, ``AllocationPlanner``): they find one in the tile itself, and none in an earlier tile, which would be
    held until then. It costs some work, and spares slices between the nodes.
    """
    if any(high <= low for rows in wanted for low, high in rows.values()):
        return None
    exact = [_exact(region, rows) for rows in wanted]
    if any(one is None for one in exact):
        return None
    found = [one for one in exact if one is not None]
    even = [_even(region, one, rows) for one, rows in zip(found, _spans(region, found), strict=True)]
    return found if any(one is None for one in even) else [one for one in even if one is not None]


def _spans(region: Region, exact: Sequence[Tile]) -> list[dict[int, Rows]]:
    """Of each tile the rows that all values with so many rows are given; differently many in each tile.

    Numbers of rows that are multiples of the least one go together: what makes two rows of one then needs no slice.
    """
    least = min(region.rows(v) for v in exact[0].rows)
    factors = {total: total // least for total in map(region.rows, exact[0].rows) if total % least == 0}
    spans: list[dict[int, Rows]] = []
    for one in exact:
        own: dict[int, Rows] = {}
        for v, (low, high) in one.rows.items():
            factor = factors.get(total := region.rows(v), 0)
            place, rows = (least, (low // factor, -(-high // factor))) if factor else (total, (low, high))
            own[place] = _hull(own.get(place), rows)
        spans.append(own)
    taken: set[tuple[int, int]] = set()
    for own in spans:
        for total, rows in own.items():
            own[total] = _unlike(rows, total, taken)
            taken.add((total, own[total][1] - own[total][0]))
    return [
        own | {total: (own[least][0] * factor, own[least][1] * factor) for total, factor in factors.items()}
        for own in spans
    ]


def _unlike(rows: Rows, total: int, taken: Collection[tuple[int, int]]) -> Rows:
    """The rows, and as many more as it takes for no other tile to have equally many."""
    low, high = rows
    while (total, high - low) in taken and high - low < total:
        low, high = (low, high + 1) if high < total else (low - 1, high)
    return low, high


def _even(region: Region, exact: Tile, spans: dict[int, Rows]) -> Tile | None:
    """The tile with the same rows of all values with equally many; None where a node cannot make them."""
    steps: dict[onnx_ir.Node, Step] = {}
    for node in region.nodes:
        made, read = node.outputs[0], node.inputs[0]
        there = spans.get(region.rows(read)) if read is not None and read in region.made else None
        found = step(node, region.axes[made], spans[region.rows(made)], there)
        if found is None or found.rows != spans[region.rows(made)]:
            return None
        for need in found.needs:
            v = node.inputs[need.index]
            if v is None or (v in region.made and _hull(spans[region.rows(v)], need.rows) != spans[region.rows(v)]):
                return None
        steps[node] = found
    return Tile({v: spans[region.rows(v)] for v in exact.rows}, steps)


def _exact(region: Region, wanted: dict[onnx_ir.Value, Rows]) -> Tile | None:
    """No row more than is needed."""
    rows = dict(wanted)
    steps: dict[onnx_ir.Node, Step] = {}
    for node in reversed(region.nodes):
        made = node.outputs[0]
        found = step(node, region.axes[made], rows[made]) if made in rows else None
        if found is None:
            return None
        steps[node], rows[made] = found, found.rows
        for need in found.needs:
            v = node.inputs[need.index]
            assert v is not None
            rows[v] = _hull(rows.get(v), need.rows)
    return Tile(rows, steps)


def _hull(one: Rows | None, other: Rows) -> Rows:
    return other if one is None else (min(one[0], other[0]), max(one[1], other[1]))


def parts(region: Region, at: onnx_ir.Node, nbytes: Bytes) -> Iterator[Region]:
    """Parts of the region that hold one of its nodes, their ends where the fewest bytes go across."""
    place, across = region.nodes.index(at), [0.0] * (len(region.nodes) + 1)
    order = {node: i for i, node in enumerate(region.nodes)}
    for v in dict.fromkeys((*region.inputs, *region.made)):
        producer = v.producer()
        begin = order[producer] + 1 if producer in order else 0
        users = [order.get(user, len(order)) for user, _ in v.uses()]
        end = len(order) if v.is_graph_output() else max(users, default=-1)
        for i in range(begin, end + 1):
            across[i] += nbytes(v)
    firsts = sorted(range(place + 1), key=lambda i: (across[i], i))[:_ENDS]
    lasts = sorted(range(place, len(region.nodes)), key=lambda i: (across[i + 1], -i))[:_ENDS]
    for first in sorted(firsts):
        for last in sorted(lasts):
            yield region.part(first, last)


@dataclass(frozen=True)
class Estimate:
    """What tiles hold at once, apart from what lives outside, and how much of the region's work is done again."""

    nbytes: float
    work: float


def estimate(
    region: Region, count: int, nbytes: Bytes, work: Bytes, held: Collection[onnx_ir.Value]
) -> Estimate | None:
    """Bytes at the peak and extra work of a region in so many tiles; from its first, a middle and its last two.

    Args:
        region: what is cut.
        count: the number of tiles.
        nbytes: of a value as a whole.
        work: to make a value as a whole: see ``work_of``.
        held: values that live all along: they are counted outside.
    """
    wanted = cuts(region, count)
    some = tiles(region, [wanted[i] for i in sorted({0, count // 2, count - 2, count - 1})]) if wanted else None
    if some is None:
        return None
    outputs = sum(nbytes(v) for v in region.outputs)
    joined = sum(nbytes(v) for v in region.outputs if v not in held)
    busiest = max(_inside(region, one, nbytes) for one in some)
    done = [sum(work(v) * _share(region, v, one.rows[v]) for v in region.made) for one in some]
    total = sum(done) + done[len(done) // 2] * (count - len(done))
    return Estimate(max(outputs + busiest, outputs + joined), total - sum(work(v) for v in region.made))


def _share(region: Region, v: onnx_ir.Value, rows: Rows) -> float:
    return (rows[1] - rows[0]) / region.rows(v)


def _inside(region: Region, one: Tile, nbytes: Bytes) -> float:
    """Bytes of a tile's own values at its busiest node, its outputs left out."""
    last = {v: i for i, node in enumerate(region.nodes) for v in node.inputs if v is not None}
    kept, alive, most = set(region.outputs), dict[onnx_ir.Value, float](), 0.0
    for i, node in enumerate(region.nodes):
        made = node.outputs[0]
        own = nbytes(made) * _share(region, made, one.rows[made])
        # Slices of what comes from outside, and of what is made with more rows than are read here.
        copied = 0.0
        cut: set[onnx_ir.Value] = set()
        for need in one.steps[node].needs:
            v = node.inputs[need.index]
            assert v is not None
            if need.rows != ((0, region.rows(v)) if v not in region.made else one.rows[v]):
                copied += nbytes(v) * _share(region, v, need.rows)
                cut.add(v)
        dying = {v for v in alive if last.get(v, -1) <= i}
        reused = (node.op_type in IN_PLACE or node.op_type in VIEWS) and any(alive[v] >= own for v in dying)
        here = sum(alive.values())
        gone = sum(alive[v] for v in dying & cut)
        most = max(most, here + copied, here - gone + copied + (0.0 if reused or made in kept else own))
        for v in dying:
            del alive[v]
        if made not in kept:
            alive[made] = own
    return most


def work_of(v: onnx_ir.Value) -> float:
    """Multiplications, or elements where there are none, of making a whole value; sizes that are not known count 1."""
    node = v.producer()
    elements = float(math.prod(d for d in v.shape or () if isinstance(d, int)))
    read = () if node is None else node.inputs
    if node is not None and node.op_type == "Conv" and read[1] is not None:
        return elements * math.prod(d for d in list(read[1].shape or ())[1:] if isinstance(d, int))
    if node is not None and node.op_type in {"MatMul", "Gemm"} and read[0] is not None:
        return elements * (size(read[0], len(read[0].shape or ()) - 1) or 1)
    return elements
