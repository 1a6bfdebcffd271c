"""The pipeline that is run: a level's, with what the options of a compilation add to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tcc.compiler import ablation, levels
from tcc.passes.base import Effect, Pass
from tcc.passes.compress import Compress
from tcc.passes.pipeline import parse
from tcc.passes.strip import Strip
from tcc.passes.tile import Tile


def of_level(level: int | str, *, objective: str = "", without: Sequence[str] = (), memory: bool = False) -> list[Pass]:
    """The pipeline of a level, as it is tried first.

    Args:
        level: ``0`` to ``3``, ``s`` or ``z``.
        objective: what is minimised; the level's own where it is empty.
        without: what is left out.
        memory: whether there is a budget of memory.

    Raises:
        TccError: exit USAGE for an unknown level or objective, or something to be left out that is not known.
    """
    passes, aim = parse(levels.pipeline_text(level)), levels.objective(objective, level)
    ablation.check(without)
    return [aimed(step, aim, without) for step in (tiled(passes) if memory else passes)]


def tiled(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    """A level's passes with tiling last, for a budget of memory, where bits need not be kept."""
    if all(step.promises is Effect.BITS for step in passes):
        return passes
    end = len(passes) - isinstance(passes[-1], Strip)
    return *passes[:end], Tile(), *passes[end:]


def aimed(step: Pass, objective: str, without: Sequence[str] = ()) -> Pass:
    """A level's pass with this objective, and without what is left out."""
    return ablation.without(replace(step, objective=objective), without) if isinstance(step, Compress) else step
