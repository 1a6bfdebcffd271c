"""Measures what a lossy program loses on the user's own data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tcc.compiler.evaluation import LABELS, Evaluation
from tcc.ir import holding
from tcc.ir.loss import Z95, Loss, loss_of
from tcc.ir.model import Model
from tcc.passes.manager import Snapshot

Feed = Mapping[str, Any]
Outputs = list[list[Any]]
_PART = 4
_HELD = 64 * 2**20
"""Bytes of outputs that are kept."""
FEWEST = 16
"""Samples below which there are too few to hold any out."""


@dataclass
class LossOf:
    """The loss of a form of a model on data; the original runs once, when it is first needed.

    With an evaluation the loss is the drop of the mean score, in the metric's own unit (0.01: one point of
    accuracy), never negative. Without one it is the distance from the original's outputs (``loss_of``). There are as
    many runs at once as ``threads``.
    """

    original: Snapshot
    feeds: Sequence[Feed]
    evaluation: Evaluation | None = None
    threads: int = 1
    _expected: Outputs = field(default_factory=list)
    _known: dict[int, tuple[Snapshot, Loss]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: without the losses, whose keys are addresses in this one."""
        return self.__dict__ | {"_known": {}}

    def __call__(self, snapshot: Snapshot) -> Loss | None:
        """None where there is no data."""
        if not self.feeds and self.evaluation is None:
            return None
        if (known := self._known.get(id(snapshot))) is None:
            # The snapshot is kept with its loss, so that its id stays its own.
            known = self._known[id(snapshot)] = (snapshot, self.measured(snapshot))
        return known[1]

    def measured(self, snapshot: Snapshot) -> Loss:
        """The loss of a form that is not remembered."""
        # What is lost is lost by the kernels of a deployment.
        runner = snapshot.runner(optimise=True)
        if self.evaluation is None:
            return loss_of(self._originals(), runner.run_each(self.feeds, self.threads))
        self._expected = self._expected or list(self.original.runner().run_each(self.evaluation.feeds, self.threads))
        found = list(runner.run_each(self.evaluation.feeds, self.threads))
        gap = self.evaluation.scores(self._expected) - self.evaluation.scores(found)
        drop, error = float(gap.mean()), float(gap.std() / math.sqrt(max(1, gap.size)))
        return Loss(f"{self.evaluation.name} drop", max(0.0, drop), int(gap.size), max(0.0, drop + Z95 * error))

    def _originals(self) -> Iterator[list[Any]]:
        """The original's outputs, kept where they are small and computed again where they are not."""
        if self._expected:
            yield from self._expected
            return
        kept: Outputs = []
        runner, held = self.original.runner(), 0
        for made in runner.run_each(self.feeds, self.threads):
            held += sum(getattr(output, "nbytes", 0) for output in made)
            if held <= _HELD:
                kept.append(made)
            yield made
        self._expected = kept if held <= _HELD else []


@dataclass(frozen=True)
class Judged:
    """The loss by the user's metric as passes ask for it: less what was ``spent`` before, of a form not seen again."""

    loss: LossOf
    spent: float = 0.0

    @property
    def key(self) -> str:
        """A digest of the evaluation data and of the metric's name."""
        evaluation = self.loss.evaluation
        assert evaluation is not None
        digest = hashlib.sha256(f"{evaluation.name} {self.spent}".encode())
        for run in (*evaluation.feeds, *({LABELS: labels} for labels in evaluation.labels)):
            for name, array in sorted(run.items()):
                held = np.asarray(array)
                digest.update(f"{name} {held.dtype} {held.shape}".encode())
                digest.update(held.tobytes())
        return digest.hexdigest()

    def __call__(self, model: Model) -> Loss:
        """The loss of a form, and the end of its interval from the samples' paired differences."""
        found = self.loss.measured(Snapshot.of(model))
        return replace(found, value=max(0.0, found.value - self.spent), upper=max(0.0, found.upper - self.spent))


def held_out(samples: Sequence[Feed] | None) -> tuple[tuple[Feed, ...] | None, tuple[Feed, ...]]:
    """Calibration data in two parts: what passes fit to, and what their loss is measured on.

    One of every four samples is held out. What is fitted to samples (factors, what is left after pruning) looks better
    on them than on any others: a loss measured there would be none. Too few samples are not divided.
    """
    if samples is None:
        return None, ()
    every = tuple(samples)
    if len(every) < FEWEST:
        return every, every
    apart = holding.held(len(every), _PART)
    return tuple(f for f, h in zip(every, apart, strict=True) if not h), tuple(
        f for f, h in zip(every, apart, strict=True) if h
    )
