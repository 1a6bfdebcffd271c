"""What a pruned model costs, told from the original and what its axes keep, without making it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tcc.cost_models.roofline import Roofline
from tcc.ir.channels import Group, Groups
from tcc.ir.channels.links import Axis
from tcc.ir.channels.network import Network
from tcc.ir.channels.observing import observe
from tcc.ir.channels.site import Site
from tcc.ir.model import Model, dtype_name, is_constant_node
from tcc.ir.types import BITS, TensorType
from tcc.passes._prune_taps import Feed
from tcc.targets import Target

if TYPE_CHECKING:
    import onnx_ir

Keep = Mapping[Axis, np.ndarray]


@dataclass(frozen=True)
class Cost:
    """Operations (two a multiply-accumulate), predicted seconds, and bytes of constants."""

    operations: float = 0.0
    seconds: float = 0.0
    nbytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.operations + other.operations, self.seconds + other.seconds, self.nbytes + other.nbytes)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.operations - other.operations, self.seconds - other.seconds, self.nbytes - other.nbytes)


@dataclass
class Costs:
    """Prices nodes and constants at the sizes that a removal leaves; sizes of symbols are those of one run."""

    groups: Groups
    target: Target
    _touched: dict[Group, tuple[list[Site], list[onnx_ir.Value]]] = field(default_factory=dict)
    _shapes: dict[onnx_ir.Node, list[Axis]] = field(default_factory=dict)
    _prices: dict[tuple[onnx_ir.Node, tuple[int | None, ...]], Cost] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._roofline = Roofline(self.target)
        self._sites = [site for site, _ in self.groups.network.sites]
        self._constants = [v for v in self.groups.network.model.graph.initializers.values() if v.const_value]

    def total(self, keep: Keep) -> Cost:
        """Of the whole graph."""
        return self._of(self._sites, self._constants, _counts(keep))

    def gain(self, group: Group, before: Keep, after: Keep) -> Cost:
        """What is saved between two removals that differ in one group only."""
        sites, constants = self._around(group)
        return self._of(sites, constants, _counts(before)) - self._of(sites, constants, _counts(after))

    def _around(self, group: Group) -> tuple[list[Site], list[onnx_ir.Value]]:
        if group not in self._touched:
            values = {key[0] for key in group.slices}
            sites = [s for s in self._sites if any(v in values for v in (*s.node.inputs, *s.node.outputs))]
            self._touched[group] = sites, [v for v in self._constants if v in values]
        return self._touched[group]

    def _of(self, sites: Iterable[Site], constants: Iterable[onnx_ir.Value], counts: Mapping[Axis, int]) -> Cost:
        total = Cost()
        for site in sites:
            axes = self._axes(site)
            key = (site.node, tuple([counts.get(axis) for axis in axes]))
            if key not in self._prices:
                self._prices[key] = self._price(site, counts)
            total += self._prices[key]
        nbytes = 0.0
        for value in constants:
            kind = self._type(value, counts)
            nbytes += 0.0 if kind is None else kind.nbytes({})
        return total + Cost(nbytes=nbytes)

    def _axes(self, site: Site) -> list[Axis]:
        if site.node not in self._shapes:
            values = dict.fromkeys(v for v in (*site.node.inputs, *site.node.outputs) if v is not None)
            known = self.groups.network.sizes.shapes
            self._shapes[site.node] = [(v, a) for v in values for a in range(len(known.get(v, ())))]
        return self._shapes[site.node]

    def _price(self, site: Site, counts: Mapping[Axis, int]) -> Cost:
        node = site.node
        attributes = {name: a.value for name, a in node.attributes.items() if not a.is_ref()}
        inputs = [None if v is None else self._type(v, counts) for v in node.inputs]
        outputs = [self._type(v, counts) for v in node.outputs]
        constant = [v is not None and v.const_value is not None for v in node.inputs]
        price = self._roofline.price(node.op_type, attributes, inputs, outputs, constant)
        return Cost(price.operations, price.seconds)

    def _type(self, value: onnx_ir.Value, counts: Mapping[Axis, int]) -> TensorType | None:
        shape = self.groups.network.sizes.shapes.get(value)
        dtype = value.const_value.dtype if value.const_value is not None else value.dtype
        if shape is None or dtype is None or dtype_name(dtype) not in BITS:
            return None
        return TensorType(dtype_name(dtype), tuple(counts.get((value, a), n) for a, n in enumerate(shape)))


def spent(model: Model, feed: Feed, target: Target) -> Cost:
    """What a model costs as it stands, with whatever was added to it, at the sizes that one run has.

    Raises:
        TccError: where it does not run.
    """
    own = model.clone()
    sizes = observe(own, (feed,))
    nodes = [node for node in own.graph.all_nodes() if not is_constant_node(node)]
    network = Network(own, sizes, sites=[(Site(node, sizes, own.opset), None) for node in nodes])
    return Costs(Groups(network, (), {}), target).total({})


def _counts(keep: Keep) -> dict[Axis, int]:
    return {key: int(mask.sum()) for key, mask in keep.items()}
