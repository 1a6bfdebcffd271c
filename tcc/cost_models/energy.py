"""The energy of a run, estimated: joules of its operations by type, and of the bytes that it moves."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING

from tcc.targets import FrozenMapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcc.targets import Target

_FREE = 1e30
"""Operations or bytes per joule of what is not counted."""


@dataclass(frozen=True)
class Joules:
    """What one operation costs, by element type, and one byte; ``source`` says where the numbers are from."""

    operation: Mapping[str, float]
    byte: float
    source: str


@functools.cache
def joules() -> Joules:
    """The published numbers, of one old process: they compare programs, they are no machine's consumption."""
    found = tomllib.loads((resources.files("tcc.cost_models") / "energy.toml").read_text(encoding="utf-8"))
    return Joules(FrozenMapping(found["operation"]), found["byte"], found["source"])


def in_joules(target: Target) -> tuple[Target, Target]:
    """The target with joules in the place of seconds, twice: computing alone, and moving alone.

    A roofline's time is the longer of the two; energy is their sum, so a program is priced under both.
    """
    known = joules()
    # A byte's joules are those of main memory: caches, which save time, are not in the numbers.
    idle = replace(target, launch_overhead=1e-18, single_thread=1.0, alignment=1, composed=FrozenMapping(), caches=())
    computing = replace(
        idle, peak=FrozenMapping({dtype: 1 / each for dtype, each in known.operation.items()}), bandwidth=_FREE
    )
    moving = replace(idle, peak=FrozenMapping(dict.fromkeys(known.operation, _FREE)), bandwidth=1 / known.byte)
    return computing, moving
