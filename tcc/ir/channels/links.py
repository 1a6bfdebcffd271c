"""Links: what an operator says about which indices of its inputs and outputs go together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir

    from tcc.ir.channels.site import Site


class Reduction(Enum):
    """How an operator combines the indices of an axis, and so what stands for an index that is not there."""

    SUM = "sum"
    """0 stands for nothing: products, sums, norms of a vector."""
    MEAN = "mean"
    """0, with the result scaled by all over kept."""
    LOWEST = "lowest"
    """The lowest number: maxima, softmax, log-sum-exp."""
    HIGHEST = "highest"
    """The highest number: minima."""
    PRODUCT = "product"
    """1 stands for nothing."""
    NORMALIZE = "normalize"
    """Mean and variance over the kept indices alone: no number stands for nothing."""


Axis = tuple["onnx_ir.Value", int]
"""One axis of one tensor."""
Factors = tuple[str, ...]
"""An axis as a product of named factors, in row-major order."""


@dataclass(frozen=True, eq=False)
class End:
    """One axis that a tie touches; ``port`` is the input's position, or ``~position`` of an output."""

    value: onnx_ir.Value
    axis: int
    factors: Factors
    port: int

    @property
    def key(self) -> Axis:
        """The axis."""
        return self.value, self.axis


@dataclass(frozen=True, eq=False)
class Tie:
    """Axes that share factors: an index of a factor is there in all of them or in none.

    Args:
        node: the operator that says so.
        ends: the axes; each factor is in one at least.
        sizes: of the factors, all above 1.
        rigid: factors whose indices cannot be removed, such as the gates of an LSTM.
        reduced: factors whose indices the operator combines.
        places: the port and axis where a factor is combined, where it is not wherever an input has it.
    """

    node: onnx_ir.Node
    ends: tuple[End, ...]
    sizes: Mapping[str, int]
    rigid: frozenset[str]
    reduced: Mapping[str, Reduction]
    places: Mapping[str, tuple[int, int]]

    def combined(self, end: End) -> set[str]:
        """The factors of an input's axis that the operator combines there."""
        here = (end.port, end.axis)
        return {f for f in end.factors if f in self.reduced and self.places.get(f, here) == here}


@dataclass(frozen=True, eq=False)
class Map:
    """Data movement along one axis: index ``j`` of ``target`` is index ``index[j]`` of ``source``; -1: of nothing."""

    node: onnx_ir.Node
    source: Axis
    target: Axis
    index: np.ndarray


@dataclass(frozen=True, eq=False)
class Frozen:
    """Indices of an axis that cannot be removed, and why; ``positions`` None for all."""

    node: onnx_ir.Node | None
    key: Axis
    reason: str
    positions: Sequence[int] | None = None


Link = Tie | Map | Frozen

Operand = tuple[int, Sequence[Factors | None]]
"""A port and the factors of each of its axes; None for an axis that cannot be followed."""


class MismatchError(Exception):
    """The shapes do not fit the rule: the operator is frozen."""


def tied(
    site: Site,
    operands: Iterable[Operand],
    sizes: Mapping[str, int] | None = None,
    *,
    rigid: Iterable[str] = (),
    reduced: Mapping[str, Reduction] | None = None,
    places: Mapping[str, tuple[int, int]] | None = None,
) -> list[Link]:
    """Links of operands whose axes are products of factors; unknown sizes follow from the shapes.

    A factor that is a number has that size and is rigid. An axis of size 1 where its factors are larger is broadcast.

    Raises:
        MismatchError: where shapes and factors disagree.
    """
    present = [(port, axes, site.port_shape(port)) for port, axes in operands if site.port(port) is not None]
    for port, axes, shape in present:
        if shape is None or len(shape) != len(axes):
            raise MismatchError(f"operand {port} has shape {shape}, should have {len(axes)} axes")
    known = _solved([(axes, shape or ()) for _, axes, shape in present], dict(sizes or {}))
    ends: list[End] = []
    links: list[Link] = []
    for port, axes, shape in present:
        value = site.port(port)
        assert value is not None
        for axis, factors in enumerate(axes):
            size = (shape or ())[axis]
            if factors is None:
                if size > 1:
                    links.append(Frozen(site.node, (value, axis), "cannot be followed through it"))
                continue
            kept = tuple(f for f in factors if known[f] > 1)
            if not kept or size == 1:
                continue
            if math.prod(known[f] for f in kept) != size:
                raise MismatchError(f"axis {axis} of operand {port} has {size} indices, should have the rule's")
            ends.append(End(value, axis, kept, port))
    fixed = {*rigid, *(f for f in known if f.isdecimal())}
    return [*links, *_components(Tie(site.node, tuple(ends), known, frozenset(fixed), reduced or {}, places or {}))]


def _solved(
    operands: Sequence[tuple[Sequence[Factors | None], Sequence[int]]], known: dict[str, int]
) -> dict[str, int]:
    """Sizes of all factors; single-factor axes first, then products with one unknown."""
    axes = [
        (factors, size)
        for of, shape in operands
        for factors, size in zip(of, shape, strict=True)
        if factors is not None
    ]
    known |= {f: int(f) for factors, _ in axes for f in factors if f.isdecimal()}
    for factors, size in axes:
        if len(factors) == 1 and size != 1:
            known.setdefault(factors[0], size)
    for _ in axes:
        for factors, size in axes:
            unknown = [f for f in factors if f not in known]
            if len(unknown) == 1 and (size != 1 or len(factors) > 1):
                rest = math.prod(known[f] for f in factors if f in known)
                if not rest or size % rest:
                    raise MismatchError(f"{size} indices are no multiple of {rest}")
                known[unknown[0]] = size // rest
    return known | {f: 1 for factors, _ in axes for f in factors if f not in known}


def _components(whole: Tie) -> list[Tie]:
    """One tie for each set of ends that are connected by factors."""
    groups: list[tuple[set[str], list[End]]] = []
    for end in whole.ends:
        touching = [g for g in groups if g[0] & set(end.factors)]
        merged = (set(end.factors).union(*(g[0] for g in touching)), [e for g in touching for e in g[1]] + [end])
        groups = [g for g in groups if all(g is not t for t in touching)] + [merged]
    return [
        Tie(
            whole.node,
            tuple(members),
            {f: whole.sizes[f] for f in sorted(factors)},
            frozenset(factors & whole.rigid),
            {f: kind for f, kind in whole.reduced.items() if f in factors},
            whole.places,
        )
        for factors, members in groups
    ]
