"""Lossy alternatives: every module here offers one technique, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tcc.ir.calibration import Observation
from tcc.ir.importing import Imported
from tcc.ir.model import Model
from tcc.ir.projecting import Projection
from tcc.ir.tables import Tables
from tcc.ir.weight_probing import Reweighted
from tcc.targets import Target

if TYPE_CHECKING:
    from tcc.rewrites.lossy._nibbles import Nibbles

__all__ = [
    "SMALLEST",
    "Alternative",
    "Evidence",
    "Offer",
    "Packable",
    "at_load_time",
    "offered_for",
    "techniques",
    "unpacked",
]

SMALLEST = 1024
"""Elements below which a stored weight is left alone: the nodes would outweigh what they save."""


@dataclass(frozen=True)
class Alternative:
    """Imported value ``source`` may be computed as value ``target``, at the loss of ``site``."""

    site: str
    source: int
    target: int


@dataclass(frozen=True)
class Packable:
    """What an 8-bit constant of ``shape`` is in 4 bits, [K, N], or as it is stored [N, K].

    ``places`` are the values that are computed with it, with the relative L2 error that each then has.
    """

    nibbles: Nibbles
    shape: tuple[int, ...]
    is_transposed: bool
    places: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """What a technique may measure, lazily.

    ``calibrated`` says that ``feeds`` are the user's data and not generated inputs; ``kept`` holds what techniques
    have measured, by keys of their own, for the next program of the same model. ``threads`` is how many runs there
    may be at once, ``operations`` the arithmetic of a run on one feed, where it is known.
    """

    model: Model
    feeds: tuple[Mapping[str, Any], ...]
    calibrated: bool
    kept: dict[Any, Any] = field(default_factory=dict)
    threads: int = 1
    operations: float = 0.0


@dataclass
class Offer:
    """What a technique adds: rows of new nodes, priced edges to them, the local error of each site.

    ``observed`` is what was seen of the float32 values, by name.
    ``error`` is the relative L2 error of what the site computes, as far as it is known locally;
    ``where`` names the imported value at which a site makes its error, for its slope to be measured there.
    A site that only drops directions of values says so in ``projections``, and is measured by that; one that makes an
    error at several values has them, and their errors, in ``spread``.
    ``declined`` says for each node why it was not offered. ``options`` are the words that follow this technique's
    name in the pass's text.
    ``measured`` is what the outputs lose by a part of a site, in unexplained variance; ``error`` is then the rest.
    ``packable`` are 8-bit constants, by number, that may lie in the file in 4 bits.
    ``weights`` are those of a site's product, for the part of the error that is theirs to be measured by itself.
    ``offering`` names all techniques that are offered beside this one; ``without`` what is left out, repairs among it.
    """

    imported: Imported
    tables: Tables
    target: Target
    opset: int
    observed: Mapping[str, Observation]
    alternatives: list[Alternative]
    error: dict[str, float]
    declined: dict[str, str]
    memo: dict[Any, Any]
    evidence: Evidence
    options: tuple[str, ...] = ()
    where: dict[str, str] = field(default_factory=dict)
    projections: dict[str, Projection] = field(default_factory=dict)
    spread: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    packable: dict[int, Packable] = field(default_factory=dict)
    weights: dict[str, Reweighted] = field(default_factory=dict)
    offering: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()


def names() -> tuple[str, ...]:
    """The techniques' names, for which none of them is imported."""
    found = (info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    return tuple(sorted(name.replace("_", "-") for name in found))


def techniques() -> dict[str, ModuleType]:
    """The techniques by name; each module has ``offer(Offer) -> None``, ``LAST`` if it wants the others' rows."""
    modules = {name: importlib.import_module(f"{__name__}.{name.replace('-', '_')}") for name in names()}
    return dict(sorted(modules.items(), key=lambda item: getattr(item[1], "LAST", False)))


def offered_for(module: ModuleType, objective: str, *, bounded: bool = False) -> bool:
    """Whether a technique that was not asked for by name is offered; it may say for which ``OBJECTIVES`` alone.

    Args:
        module: the technique.
        objective: of the compilation.
        bounded: whether bytes have a budget: what serves the size may be needed then, whatever the objective.
    """
    wanted = getattr(module, "OBJECTIVES", (objective,))
    return objective in wanted or (bounded and "size" in wanted)


@cache
def at_load_time() -> tuple[str, ...]:
    """The techniques that change what lies in the file and not what runs; such a module says ``AT_LOAD_TIME``."""
    return tuple(name for name, module in techniques().items() if getattr(module, "AT_LOAD_TIME", False))


@cache
def unpacked() -> tuple[str, ...]:
    """The techniques whose weights take more memory than in the file; such a module says ``UNPACKED``, too."""
    return tuple(
        name for name, module in techniques().items()
        if getattr(module, "UNPACKED", False) or getattr(module, "AT_LOAD_TIME", False)
    )  # fmt: skip
