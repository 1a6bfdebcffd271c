"""A lossy program that was chosen and measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tcc.ir.loss import Loss
from tcc.ir.model import Model
from tcc.rewrites.lossy import techniques


@dataclass(frozen=True)
class Tried:
    """A program that was chosen and, where it has lossy sites, measured; ``loss_of`` its sites' predicted losses."""

    model: Model
    facts: dict[str, Any]
    objective: float
    loss_of: Mapping[str, float]
    loss: Loss | None
    left: bool
    """Whether sites were offered that it does not use."""

    @property
    def predicted(self) -> float:
        """The sum over its sites."""
        return sum(self.loss_of.values())

    def entry(self) -> dict[str, Any]:
        """For the report."""
        measured = None if self.loss is None else self.loss.value
        return {"sites": len(self.loss_of), "predicted": self.predicted, "measured": measured}

    def text(self) -> str:
        """One line, for those who look on."""
        counts = Counter(map(technique_of, self.loss_of))
        used = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        measured = "nothing" if self.loss is None else f"{self.loss.value:.3g} (at most {self.loss.upper:.3g})"
        return f"a program of {used or 'no sites'}: predicted to lose {self.predicted:.3g}, measured {measured}"


def dependent(used: Sequence[str]) -> tuple[str, ...]:
    """Those techniques that work on what others made."""
    return tuple(name for name in used if getattr(techniques()[name], "LAST", False))


def technique_of(site: str) -> str:
    return site.partition(":")[0]
