"""Operators that move indices along an axis: the exact place of each is followed."""

from __future__ import annotations

import numpy as np

from tcc.ir.channels.links import Factors, Frozen, Link, Map, MismatchError, tied
from tcc.ir.channels.resizing import Resizing
from tcc.ir.channels.rule import Rule
from tcc.ir.channels.site import Site


def _same(site: Site, but: set[int], out: int = 0) -> list[Link]:
    """Ties of all axes of input 0 and an output but some."""
    rank = len(site.shape() or ())
    axes: list[Factors] = [() if i in but else (f"a{i}",) for i in range(rank)]
    ports = [(port, axes) for port in (0, ~out)]
    return list(_without(site, ports, but))


def _without(site: Site, ports: list[tuple[int, list[Factors]]], but: set[int]) -> list[Link]:
    # Axes that are moved along have sizes of their own; their empty products are of size 1 and skipped.
    shapes = {port: site.port_shape(port) for port, _ in ports}
    if any(shape is None or len(shape) != len(axes) for (_, axes), shape in zip(ports, shapes.values(), strict=True)):
        raise MismatchError("its sizes are not known")
    trimmed = [(port, [f if i not in but else None for i, f in enumerate(axes)]) for port, axes in ports]
    return [link for link in tied(site, trimmed) if not isinstance(link, Frozen)]


def _moved(site: Site, axis: int, index: np.ndarray, out: int = 0) -> Map:
    source, target = site.input(0), site.output(out)
    assert source is not None
    assert target is not None
    return Map(site.node, (source, axis), (target, axis), index)


def _transpose(site: Site) -> list[Link]:
    rank = len(site.shape() or ())
    order = site.attribute("perm") or list(reversed(range(rank)))
    return tied(site, [(0, [(f"a{i}",) for i in range(rank)]), (~0, [(f"a{i}",) for i in order])])


def _concat(site: Site) -> list[Link]:
    target = site.output()
    rank = len(site.shape_out() or ())
    axis = int(site.attribute("axis", 1)) % max(rank, 1)
    axes = [None if i == axis else (f"a{i}",) for i in range(rank)]
    ports = [p for p in range(len(site.node.inputs)) if site.input(p) is not None]
    found: list[Link] = [
        link for link in tied(site, [*((p, axes) for p in ports), (~0, axes)]) if not isinstance(link, Frozen)
    ]
    start, total = 0, (site.shape_out() or ())[axis]
    for port in ports:
        source, size = site.input(port), (site.shape(port) or ())[axis]
        index = np.full(total, -1)
        index[start : start + size] = np.arange(size)
        assert source is not None
        assert target is not None
        found.append(Map(site.node, (source, axis), (target, axis), index))
        start += size
    return found


def _split(site: Site) -> list[Link]:
    rank = len(site.shape() or ())
    axis = int(site.attribute("axis", 0)) % max(rank, 1)
    found: list[Link] = []
    start = 0
    for out in range(len(site.node.outputs)):
        shape = site.shape_out(out)
        if shape is None:
            raise MismatchError("the size of a part is not known")
        found += _same(site, {axis}, out)
        found.append(_moved(site, axis, np.arange(start, start + shape[axis]), out))
        start += shape[axis]
    if (site.attribute("split") is None and site.input(1) is not None and site.fixed(1) is None) or start != (
        site.shape() or ()
    )[axis]:
        raise MismatchError("the sizes of its parts are computed")
    return found


def _resize_split(resizing: Resizing) -> None:
    site = resizing.site
    axis = int(site.attribute("axis", 0)) % len(site.shape() or (0,))
    outputs = range(len(site.node.outputs))
    if all(resizing.keep(~out, axis) is None for out in outputs):
        return
    sizes = [resizing.count(~out, axis) for out in outputs]
    if site.opset < 13:
        resizing.set_attribute("split", sizes)
    else:
        resizing.set_input(1, np.array(sizes, np.int64))
        resizing.drop_attribute("num_outputs")


def _slices(site: Site) -> dict[int, np.ndarray | None]:
    """The indices that each sliced axis keeps; None where they are computed."""
    shape = site.shape() or ()
    starts, ends = site.integers("starts", 1), site.integers("ends", 2)
    axes, steps = site.integers("axes", 3), site.integers("steps", 4)
    if axes is None:
        raise MismatchError("its axes are computed")
    count = len(starts) if starts is not None else len(ends or ()) or len(axes) or len(shape)
    named = [a % len(shape) for a in axes or range(count)]
    if starts is None or ends is None or steps is None:
        return dict.fromkeys(named)
    strides = steps or [1] * len(named)
    return {
        a: np.arange(shape[a])[slice(*_bounds(s, e, d, shape[a]))]
        for a, s, e, d in zip(named, starts, ends, strides, strict=True)
    }


def _bounds(start: int, end: int, step: int, size: int) -> tuple[int, int | None, int]:
    """ONNX clamps where numpy's slices do, but for an end before the first index of a negative step."""
    if step < 0 and end < -size:
        return start, None, step
    return start, end, step


def _slice(site: Site) -> list[Link]:
    found: list[Link] = []
    cut = _slices(site)
    shape, after = site.shape() or (), site.shape_out() or ()
    for axis, index in cut.items():
        value, target = site.input(0), site.output()
        assert value is not None
        assert target is not None
        if index is None:
            reason = "is sliced by computed bounds"
            found += [Frozen(site.node, (value, axis), reason), Frozen(site.node, (target, axis), reason)]
        elif len(index) != after[axis]:
            raise MismatchError("its bounds do not fit its sizes")
        elif shape[axis] > 1:
            found.append(_moved(site, axis, index))
    return [*_same(site, set(cut)), *found]


def _resize_slice(resizing: Resizing) -> None:
    cut = _slices(resizing.site)
    touched = [a for a in cut if resizing.keep(0, a) is not None or resizing.keep(~0, a) is not None]
    if not touched:
        return
    chosen = {a: resizing.moved(0, ~0, a, index) for a in touched if (index := cut[a]) is not None}
    if len(chosen) != len(touched):
        raise MismatchError("its bounds are computed")
    if any(np.any(np.diff(index) != 1) for index in chosen.values()):
        resizing.replace_by_gathers({**{a: i for a, i in cut.items() if i is not None}, **chosen})
        return
    starts, ends = resizing.site.integers("starts", 1), resizing.site.integers("ends", 2)
    steps = resizing.site.integers("steps", 4) or [1] * len(cut)
    assert starts is not None
    assert ends is not None
    bounds = [
        (int(chosen[a][0]), int(chosen[a][-1]) + 1, 1) if a in chosen else (s, e, d)
        for a, s, e, d in zip(cut, starts, ends, steps, strict=True)
    ]
    columns = [np.array(column, np.int64) for column in zip(*bounds, strict=True)]
    resizing.set_slice(columns[0], columns[1], np.array(list(cut), np.int64), columns[2])


def _pads(site: Site) -> dict[int, tuple[int, int]]:
    """How much each axis is padded, at its begin and end."""
    rank = len(site.shape() or ())
    pads, axes = site.integers("pads", 1), site.integers("axes", 3)
    if pads is None or axes is None:
        raise MismatchError("its sizes are computed")
    named = [a % rank for a in axes] or list(range(rank))
    return {a: (pads[i], pads[i + len(named)]) for i, a in enumerate(named)}


def _pad(site: Site) -> list[Link]:
    pads = {a: pair for a, pair in _pads(site).items() if pair != (0, 0)}
    found = _same(site, set(pads))
    constant = site.attribute("mode", "constant") == "constant"
    for axis, (begin, end) in pads.items():
        size = (site.shape() or ())[axis]
        value, target = site.input(0), site.output()
        assert value is not None
        assert target is not None
        if constant:
            index = np.arange(-begin, size + end)
            found.append(_moved(site, axis, np.where((index >= 0) & (index < size), index, -1)))
        else:
            reason = "is padded with its own values"
            found += [Frozen(site.node, (value, axis), reason), Frozen(site.node, (target, axis), reason)]
    return found


def _resize_pad(resizing: Resizing) -> None:
    site = resizing.site
    pads = _pads(site)
    changed = False
    for axis, (begin, end) in pads.items():
        after, before = resizing.keep(~0, axis), resizing.keep(0, axis)
        if (begin, end) == (0, 0) or (after is None and before is None):
            continue
        size = (site.shape() or ())[axis]
        kept = np.ones(size + begin + end, bool) if after is None else after
        own = np.ones(size, bool) if before is None else before
        # A negative pad takes away: of what it takes, the kept ones.
        first = int(kept[:begin].sum()) if begin >= 0 else -int(own[:-begin].sum())
        last = int(kept[size + begin :].sum()) if end >= 0 else -int(own[end:].sum())
        pads[axis] = (first, last)
        changed = True
    if changed:
        flat = [pads[a][0] for a in pads] + [pads[a][1] for a in pads]
        resizing.set_integers("pads", 1, flat)


def _tile(site: Site) -> list[Link]:
    repeats = site.fixed(1)
    shape, after = site.shape() or (), site.shape_out() or ()
    tiled = {i for i, (a, b) in enumerate(zip(shape, after, strict=True)) if a != b}
    found = _same(site, tiled)
    for axis in tiled:
        if shape[axis] > 1:
            found.append(_moved(site, axis, np.arange(after[axis]) % shape[axis]))
        elif repeats is None:
            target = site.output()
            assert target is not None
            found.append(Frozen(site.node, (target, axis), "is repeated a computed number of times"))
    return found


def _resize_tile(resizing: Resizing) -> None:
    repeats = resizing.site.fixed(1)
    shape = resizing.site.shape() or ()
    grown = [a for a in range(len(shape)) if shape[a] == 1 and resizing.keep(~0, a) is not None]
    if grown and repeats is not None:
        new = repeats.copy()
        for axis in grown:
            new[axis] = resizing.count(~0, axis)
        resizing.set_input(1, new)


def _reverse(site: Site) -> list[Link]:
    """Steps change places as each sample's length says: neither axis can be followed, all others stay in place."""
    rank = len(site.shape() or ())
    moved = {site.attribute("batch_axis", 1) % rank, site.attribute("time_axis", 0) % rank}
    frozen = [
        Frozen(site.node, (value, axis), "is reversed by computed lengths")
        for value in (site.input(0), site.output()) if value is not None
        for axis in sorted(moved)
    ]  # fmt: skip
    return [*_same(site, moved), *frozen]


RULES = {
    "ReverseSequence": Rule(_reverse),
    "Transpose": Rule(_transpose),
    "Concat": Rule(_concat),
    "Split": Rule(_split, _resize_split),
    "Slice": Rule(_slice, _resize_slice),
    "Pad": Rule(_pad, _resize_pad),
    "Tile": Rule(_tile, _resize_tile),
}
