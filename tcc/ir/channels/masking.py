"""The original with channels that count for nothing: what the sliced model is compared with.

A channel counts for nothing if, wherever an operator combines it with others, it holds the number that stands for
nothing there: 0 in a sum, the lowest number in a maximum or a softmax. Means are over the kept ones; normalisations
are written out, with their statistics over the kept ones alone. Nothing else of the model changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tcc.ir.channels.groups import Groups
from tcc.ir.channels.links import End, MismatchError, Reduction, Tie
from tcc.ir.channels.masked_nodes import Masking
from tcc.ir.channels.masked_norms import write_out
from tcc.ir.channels.resizing import Keep
from tcc.ir.channels.rule import Rule
from tcc.ir.channels.site import Site
from tcc.ir.channels.slicing import Removal, kept, remove_unused
from tcc.ir.model import Model

if TYPE_CHECKING:
    import onnx_ir


def masked(groups: Groups, removal: Removal) -> Model:
    """The original, all sizes as they are, in which the removed units count for nothing.

    Raises:
        MismatchError: where no number stands for nothing.
    """
    keep = kept(removal)
    original = groups.network.model
    model = original.clone()
    nodes = dict(zip(original.graph.all_nodes(), list(model.graph.all_nodes()), strict=True))
    for site, rule in groups.network.sites:
        for link in groups.network.links.get(site.node, ()):
            if rule is not None and isinstance(link, Tie) and link.reduced:
                _Masker(site, rule, link, keep, Masking(nodes[site.node], model.opset)).mask()
    remove_unused(model.graph)
    return model


@dataclass(frozen=True)
class _Masker:
    """One operator that combines indices of some factors."""

    site: Site
    rule: Rule
    tie: Tie
    keep: Keep
    making: Masking

    def mask(self) -> None:
        ends = [e for e in self.tie.ends if e.port >= 0 and self._combined(e)]
        if not ends:
            return
        kinds = {self.tie.reduced[f] for e in ends for f in self.tie.combined(e)}
        if len(kinds) > 1:
            raise MismatchError("it combines in two ways")
        kind = kinds.pop()
        if kind is Reduction.NORMALIZE:
            first = [e for e in ends if e.port == 0]
            write_out(self.site, self.making, {e.axis: self._mask(e) for e in first}, self.tie)
            return
        for end in self._chosen(ends):
            self._fill(end, kind)
        if kind is Reduction.MEAN:
            self._rescale([e for e in ends if e.port == 0])

    def _combined(self, end: End) -> bool:
        """Whether the axis loses indices of a factor that is combined."""
        mask = self.keep.get(end.key)
        if mask is None or not self.tie.combined(end):
            return False
        return not self._mask(end).all()

    def _mask(self, end: End) -> np.ndarray:
        """Which indices count, as far as the combined factors tell: bool, as long as the axis."""
        grid = self.keep[end.key].reshape([self.tie.sizes[f] for f in end.factors])
        others = tuple(i for i, f in enumerate(end.factors) if f not in self.tie.combined(end))
        return np.broadcast_to(grid.any(axis=others, keepdims=True), grid.shape).reshape(-1)

    def _chosen(self, ends: Sequence[End]) -> Sequence[End]:
        """One operand is enough where the operator multiplies; a constant one, where there is one."""
        if self.rule.mask_all:
            return ends
        chosen: dict[End, None] = {}
        for factor in self.tie.reduced:
            having = [e for e in ends if factor in self.tie.combined(e)]
            constant = [e for e in having if e.value.const_value is not None]
            ports = {e.port for e in (constant or having)[:1]}
            chosen |= dict.fromkeys(e for e in having if e.port in ports)
        return list(chosen)

    def _fill(self, end: End, kind: Reduction) -> None:
        number = {Reduction.LOWEST: -np.inf, Reduction.HIGHEST: np.inf, Reduction.PRODUCT: 1.0}.get(kind, 0.0)
        zero = self.rule.zero_points.get(end.port)
        if zero is not None and self.site.input(zero) is not None:
            number = _zero_point(self.site.input(zero))
        self.making.fill(end.port, end.axis, self._mask(end), number, len(self.site.port_shape(end.port) or ()))

    def _rescale(self, ends: Sequence[End]) -> None:
        whole = counted = 1
        for end in ends:
            whole, counted = whole * len(self._mask(end)), counted * int(self._mask(end).sum())
        self.making.scale_output(whole / counted)


def _zero_point(value: onnx_ir.Value | None) -> float:
    assert value is not None
    if value.const_value is None or len(np.unique(value.const_value.numpy())) != 1:
        raise MismatchError("its zero points differ or are computed")
    return float(value.const_value.numpy().reshape(-1)[0])
