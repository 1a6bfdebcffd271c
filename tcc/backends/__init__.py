"""Back ends: one module each, found by its name, that turns a model into what a runtime loads, and runs it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from tcc.backends._base import Artefact, Backend, Loaded, Placement, Settings
from tcc.backends._measure import PLACEMENT, PairedLatency, measure_pair
from tcc.diagnostics import Exit, fail

__all__ = [
    "PLACEMENT",
    "Artefact",
    "Backend",
    "Loaded",
    "PairedLatency",
    "Placement",
    "Settings",
    "backend",
    "emitters",
    "fallbacks",
    "kinds",
    "measure_pair",
    "names",
    "of_file",
]


def names() -> list[str]:
    """The back ends there are; modules with a leading underscore are their helpers."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(module.replace("_", "-") for module in modules if not module.startswith("_"))


def backend(name: str) -> Backend:
    """The back end of that name.

    Raises:
        TccError: E0231 for a name that is none.
    """
    if name not in names():
        raise fail(Exit.USAGE, "E0231", f"there is no back end {name!r}", help=f"use one of {', '.join(names())}")
    found: Backend = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").BACKEND
    return found


def fallbacks(name: str) -> Iterator[Backend]:
    """The declared chain: the back end itself, then what to try in its place, in order."""
    following: str | None = name
    seen: set[str] = set()
    while following is not None and following not in seen:
        seen.add(following)
        current = backend(following)
        yield current
        following = current.fallback


def kinds() -> list[str]:
    """The kinds of artefacts that back ends write, as ``--emit`` calls them."""
    return sorted({backend(name).emits for name in names()})


def emitters(kind: str) -> list[Backend]:
    """The back ends that write this kind of artefact: those that are installed first, then those with an extra."""
    every = [found for found in map(backend, names()) if found.emits == kind]
    return sorted(every, key=lambda found: (found.absence() is not None, not found.extra))


def of_file(path: Path) -> Backend:
    """The back end that an artefact is for, by its suffix; of several, one that is installed.

    Raises:
        TccError: E0232 for a suffix that no back end writes.
    """
    suffixes = {found.suffix: found.emits for found in map(backend, names()) if found.emits != "device-script"}
    if path.suffix not in suffixes:
        raise fail(Exit.USAGE, "E0232", f"no back end runs files that end in {path.suffix!r}", where=str(path),
                   help=f"give a file that ends in one of {', '.join(sorted(suffixes))}, or --backend")  # fmt: skip
    return emitters(suffixes[path.suffix])[0]
