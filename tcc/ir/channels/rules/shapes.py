"""Sizes as numbers, and tensors that are made from them."""

from __future__ import annotations

from tcc.ir.channels.links import Frozen, Link
from tcc.ir.channels.resizing import Resizing
from tcc.ir.channels.rule import Rule
from tcc.ir.channels.site import Site


def _nothing(site: Site) -> list[Link]:
    """Nothing goes together: a size is a number, and a made axis is free."""
    del site
    return []


def _original_shape(resizing: Resizing) -> None:
    """Sizes stay those of the original: who uses them to make a shape adapts them there."""
    resizing.keep_original_shape()


def _original_size(resizing: Resizing) -> None:
    resizing.keep_original_size()


def _rescale(resizing: Resizing) -> None:
    resizing.rescale(0)


def _select(resizing: Resizing) -> None:
    resizing.select_output(0)


def _square(site: Site) -> list[Link]:
    value = site.output()
    assert value is not None
    return [Frozen(site.node, (value, axis), "has a diagonal") for axis in (0, 1)]


RULES = {
    "Shape": Rule(_nothing, _original_shape),
    "Size": Rule(_nothing, _original_size),
    "ConstantOfShape": Rule(_nothing, _rescale),
    "Range": Rule(_nothing, _select),
    "EyeLike": Rule(_square),
}
