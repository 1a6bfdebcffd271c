"""Lossy alternatives: every module here offers one technique, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tcc.ir.importing import Imported
from tcc.ir.tables import Tables
from tcc.targets import Target

__all__ = ["Alternative", "Offer", "techniques"]


@dataclass(frozen=True)
class Alternative:
    """Imported value ``source`` may be computed as value ``target``, at the loss of ``site``."""

    site: str
    source: int
    target: int


@dataclass
class Offer:
    """What a technique adds: rows of new nodes, priced edges to them, the local error of each site.

    ``error`` is the relative L2 error of what the site computes, as far as it is known locally;
    ``declined`` says for each node why it was not offered.
    """

    imported: Imported
    tables: Tables
    target: Target
    opset: int
    ranges: Mapping[str, float]
    alternatives: list[Alternative]
    error: dict[str, float]
    declined: dict[str, str]
    memo: dict[Any, int]


def techniques() -> dict[str, ModuleType]:
    """The techniques by name; each module has ``offer(Offer) -> None``."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    return {name.replace("_", "-"): importlib.import_module(f"{__name__}.{name}") for name in names}
