"""Writes a region as tiles: slices of what it reads, its nodes once a tile, and a join of what it makes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from tcc.ir.model import Model
from tcc.ir.naming import Names, names_of_values
from tcc.ir.values import constant_value
from tcc.passes._tile_regions import Region, Tile, cuts, tiles
from tcc.passes._tile_rows import Rows


def written(model: Model, region: Region, count: int) -> Model:
    """A copy of the model with a region in ``count`` tiles; ``tiles`` must have found them."""
    copy = model.clone()
    twins = dict(zip(model.graph, copy.graph, strict=True))
    nodes = tuple(twins[node] for node in region.nodes)
    names = {v.name: axis for v, axis in region.axes.items()}
    values = {v for node in nodes for v in (*node.inputs, *node.outputs) if v is not None}
    own = Region(nodes, {v: names[v.name] for v in values if v.name in names})
    writing = _Writing(copy.graph, own)
    pieces: dict[onnx_ir.Value, list[onnx_ir.Value]] = {v: [] for v in own.outputs}
    wanted = cuts(own, count)
    made = tiles(own, wanted)
    assert made is not None
    for number, (one, rows) in enumerate(zip(made, wanted, strict=True)):
        for v, piece in writing.tile(one, number, rows).items():
            pieces[v].append(piece)
    joins = [writing.joined(v, parts) for v, parts in pieces.items()]
    onnx_ir.convenience.replace_nodes_and_values(
        copy.graph, nodes[-1], list(nodes), writing.nodes, list(own.outputs), joins
    )
    return copy


@dataclass
class _Writing:
    """New nodes of one region, in the order in which they run."""

    graph: onnx_ir.Graph
    region: Region
    nodes: list[onnx_ir.Node] = field(default_factory=list)
    _numbers: dict[int, onnx_ir.Value] = field(default_factory=dict)
    _names: Names = field(init=False)

    def __post_init__(self) -> None:
        self._names = Names(names_of_values(self.graph))

    def tile(self, made: Tile, number: int, wanted: dict[onnx_ir.Value, Rows]) -> dict[onnx_ir.Value, onnx_ir.Value]:
        """The nodes of one tile; the wanted rows of the region's outputs."""
        local: dict[onnx_ir.Value, onnx_ir.Value] = {}
        for node in self.region.nodes:
            found = made.steps[node]
            inputs = list(node.inputs)
            for need in found.needs:
                v = node.inputs[need.index]
                assert v is not None
                inputs[need.index] = self._piece(v, need.rows, made, local)
            attributes = dict(node.attributes)
            attributes |= {a.name: a for a in onnx_ir.convenience.convert_attributes(found.attributes)}
            local[node.outputs[0]] = self._node(node, inputs, attributes, number, found.rows)
        return {v: self._piece(v, rows, made, local) for v, rows in wanted.items()}

    def _node(
        self, node: onnx_ir.Node, inputs: list[onnx_ir.Value | None], attributes: dict[str, onnx_ir.Attr],
        number: int, rows: Rows,
    ) -> onnx_ir.Value:  # fmt: skip
        old = node.outputs[0]
        made = onnx_ir.Node(
            node.domain, node.op_type, inputs, list(attributes.values()), overload=node.overload,
            num_outputs=len(node.outputs), version=node.version, name=f"{node.name or node.op_type}/tile{number}",
        )  # fmt: skip
        for extra in made.outputs[1:]:
            extra.name = ""
        return self._placed(made, old, rows, f"{old.name}/tile{number}")

    def _placed(self, made: onnx_ir.Node, like: onnx_ir.Value, rows: Rows, name: str) -> onnx_ir.Value:
        """Put a node last; its output has the type of ``like``, with so many rows."""
        output = made.outputs[0]
        output.name = self._names.fresh(name)
        assert like.shape is not None
        sizes = list(like.shape)
        sizes[self.region.axes[like]] = rows[1] - rows[0]
        output.type, output.shape = like.type, onnx_ir.Shape(sizes)
        self.nodes.append(made)
        return output

    def _piece(
        self, v: onnx_ir.Value, rows: Rows, made: Tile, local: dict[onnx_ir.Value, onnx_ir.Value]
    ) -> onnx_ir.Value:
        """Some rows of a value of the region, or of one from outside."""
        have = made.rows[v] if v in local else (0, self.region.rows(v))
        source = local.get(v, v)
        if have == rows:
            return source
        axis = self.region.axes[v]
        given = [self._number(n) for n in (rows[0] - have[0], rows[1] - have[0], axis)]
        cut = onnx_ir.Node(
            "", "Slice", [source, *given], version=self._version, name=self._names.fresh(f"{source.name}/rows")
        )
        return self._placed(cut, v, rows, f"{source.name}/{rows[0]}-{rows[1]}")

    def joined(self, v: onnx_ir.Value, pieces: list[onnx_ir.Value]) -> onnx_ir.Value:
        """All rows of one of the region's outputs."""
        axis = onnx_ir.AttrInt64("axis", self.region.axes[v])
        join = onnx_ir.Node(
            "", "Concat", pieces, [axis], version=self._version, name=self._names.fresh(f"{v.name}/joined")
        )
        return self._placed(join, v, (0, self.region.rows(v)), f"{v.name}/whole")

    @property
    def _version(self) -> int | None:
        return self.region.nodes[0].version

    def _number(self, n: int) -> onnx_ir.Value:
        """A constant vector of one number."""
        if n not in self._numbers:
            name = self._names.fresh(f"rows/{n}")
            made = constant_value(name, onnx_ir.tensor(np.array([n], np.int64), name=name))
            self.graph.register_initializer(made)
            self._numbers[n] = made
        return self._numbers[n]
