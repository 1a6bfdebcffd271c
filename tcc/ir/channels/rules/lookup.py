"""Operators that look things up: by constant indices, whose places are followed, or by computed ones."""

from __future__ import annotations

import numpy as np

from tcc.ir.channels.links import Factors, Frozen, Link, Map, MismatchError, Operand, tied
from tcc.ir.channels.resizing import Resizing
from tcc.ir.channels.rule import MICROSOFT, Rule
from tcc.ir.channels.rules.reductions import frozen_along
from tcc.ir.channels.site import Site


def _gather(site: Site) -> list[Link]:
    """Axes of data and of indices go on; along ``axis`` constant indices are a map, computed ones freeze."""
    shape, places = site.shape(), site.shape(1)
    if shape is None or places is None:
        raise MismatchError("its sizes are not known")
    axis = int(site.attribute("axis", 0)) % len(shape)
    data: list[Factors | None] = [(f"d{i}",) for i in range(len(shape))]
    index: list[Factors] = [(f"i{i}",) for i in range(len(places))]
    out: list[Factors | None] = [*data[:axis], *index, *data[axis + 1 :]]
    data[axis] = None
    fixed = _indices(site, shape[axis])
    along = [] if fixed is None or not fixed.size else _along(site, axis, fixed)
    if len(along) == 1 and isinstance(along[0], Map):
        out[axis : axis + len(places)] = [None] * len(places)
        index = []
    operands: list[Operand] = [(0, data), (1, index or [None] * len(places)), (~0, out)]
    links = tied(site, operands)
    if fixed is None:
        return links
    return [link for link in links if not isinstance(link, Frozen)] + along


def _indices(site: Site, size: int) -> np.ndarray | None:
    found = site.fixed(1)
    return None if found is None else np.where(found < 0, found + size, found)


def _direction(fixed: np.ndarray) -> int | None:
    """The one axis of a table of indices along which they differ; None for a single index and where there are two."""
    varying = [i for i in range(fixed.ndim) if (fixed != fixed.take([0], axis=i)).any()]
    if fixed.ndim == 1 or len(varying) == 1:
        return (varying or [0])[0]
    return None


def _line(fixed: np.ndarray, place: int) -> np.ndarray:
    return np.moveaxis(fixed, place, 0).reshape(fixed.shape[place], -1)[:, 0]


def _along(site: Site, axis: int, fixed: np.ndarray) -> list[Link]:
    value, target = site.input(0), site.output()
    assert value is not None
    assert target is not None
    if (place := _direction(fixed)) is not None:
        return [Map(site.node, (value, axis), (target, axis + place), _line(fixed, place).astype(np.int64))]
    reason = "is picked out by its index" if not fixed.ndim else "is looked up by a table of indices"
    return [Frozen(site.node, (value, axis), reason, tuple(np.unique(fixed).tolist()))]


def _resize_gather(resizing: Resizing) -> None:
    site = resizing.site
    axis = int(site.attribute("axis", 0)) % len(site.shape() or (0,))
    fixed = _indices(site, (site.shape() or ())[axis])
    place = None if fixed is None or not fixed.size else _direction(fixed)
    picked = place is not None and resizing.keep(~0, axis + place) is not None
    if resizing.keep(0, axis) is None and not picked:
        return
    if fixed is None:
        raise MismatchError("its indices are computed")
    if place is not None:
        moved = resizing.moved(0, ~0, axis, _line(fixed, place), axis + place).astype(np.int64)
        shape = [len(moved) if i == place else size for i, size in enumerate(fixed.shape)]
        along = moved.reshape([-1 if i == place else 1 for i in range(fixed.ndim)])
        resizing.set_input(1, np.ascontiguousarray(np.broadcast_to(along, shape)))
        return
    # All indices that are used are kept: only their numbers change.
    keep = resizing.keep(0, axis)
    assert keep is not None
    resizing.set_input(1, (np.cumsum(keep) - 1)[fixed].astype(np.int64))


def _gather_nd(site: Site) -> list[Link]:
    """The axes that the index tuples do not reach go on."""
    shape, places = site.shape(), site.shape(1)
    if shape is None or places is None or site.attribute("batch_dims", 0):
        raise MismatchError("its sizes are not known, or it has batch axes")
    depth = places[-1]
    data: list[Factors | None] = [None if i < depth else (f"d{i}",) for i in range(len(shape))]
    index: list[Factors | None] = [*[(f"i{i}",) for i in range(len(places) - 1)], None]
    return tied(site, [(0, data), (1, index), (~0, [*index[:-1], *data[depth:]])])


def _scatter_nd(site: Site) -> list[Link]:
    shape, places = site.shape(), site.shape(1)
    if shape is None or places is None:
        raise MismatchError("its sizes are not known")
    depth = places[-1]
    data: list[Factors | None] = [None if i < depth else (f"d{i}",) for i in range(len(shape))]
    index: list[Factors | None] = [*[(f"i{i}",) for i in range(len(places) - 1)], None]
    return tied(site, [(0, data), (1, index), (2, [*index[:-1], *data[depth:]]), (~0, data)])


def _elements(site: Site) -> list[Link]:
    """Axes of equal size in all operands go on, but the one that is indexed."""
    shapes = [site.shape(i) for i in range(len(site.node.inputs))] + [site.shape_out()]
    rank = len(shapes[0] or ())
    axis = int(site.attribute("axis", 0)) % rank
    same = [i != axis and len({(s or ())[i] for s in shapes}) == 1 for i in range(rank)]
    axes = [(f"a{i}",) if ok else None for i, ok in enumerate(same)]
    return tied(site, [*((i, axes) for i in range(len(site.node.inputs))), (~0, axes)])


def _one_hot(site: Site) -> list[Link]:
    rank = len(site.shape_out() or ())
    axis = int(site.attribute("axis", -1)) % rank
    index: list[Factors | None] = [(f"a{i}",) for i in range(rank - 1)]
    return tied(site, [(0, index), (~0, [*index[:axis], None, *index[axis:]])])


RULES = {
    "Gather": Rule(_gather, _resize_gather, parametric=True),
    "GatherND": Rule(_gather_nd),
    "ScatterND": Rule(_scatter_nd),
    "GatherElements": Rule(_elements),
    "ScatterElements": Rule(_elements),
    "Scatter": Rule(_elements),
    "OneHot": Rule(_one_hot),
    "Compress": Rule(frozen_along(0)),
    (MICROSOFT, "GatherND"): Rule(_gather_nd),
}
