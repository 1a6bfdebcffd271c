"""Operators that move blocks of channels to places and back."""

from __future__ import annotations

from collections.abc import Mapping

from tcc.ir.channels.links import Link
from tcc.ir.channels.patterns import pattern
from tcc.ir.channels.rule import Rule
from tcc.ir.channels.site import Site


def _block(site: Site) -> Mapping[str, int]:
    size = int(site.attribute("blocksize", 1))
    return {"r": size, "s": size}


_RIGID = ("r", "s")
_COLUMNS_FIRST = pattern("n (c r s) h w -> n c (h r) (w s)", sizes=_block, rigid=_RIGID)
_DEPTH_FIRST = pattern("n (r s c) h w -> n c (h r) (w s)", sizes=_block, rigid=_RIGID)
_TO_DEPTH = pattern("n c (h r) (w s) -> n (r s c) h w", sizes=_block, rigid=_RIGID)


def _depth_to_space(site: Site) -> list[Link]:
    return _COLUMNS_FIRST(site) if site.attribute("mode", "DCR") == "CRD" else _DEPTH_FIRST(site)


RULES = {"DepthToSpace": Rule(_depth_to_space), "SpaceToDepth": Rule(_TO_DEPTH)}
