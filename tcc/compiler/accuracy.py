"""Measures what a lossy program loses on the user's own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tcc.ir.execution import Runner
from tcc.ir.loss import Loss, loss_of
from tcc.passes.base import Effect
from tcc.passes.manager import Outcome, Snapshot

Feed = Mapping[str, Any]
Outputs = list[list[Any]]


@dataclass
class LossOf:
    """The loss of a form of a model on data; the original runs once, when it is first needed."""

    outcome: Outcome
    feeds: Sequence[Feed]
    _expected: Outputs = field(default_factory=list)

    def __call__(self, snapshot: Snapshot) -> Loss | None:
        """None for a form that promises more than a loss, and where there is no data."""
        if not self.feeds or self.outcome.promise(snapshot) is not Effect.LOSSY:
            return None
        self._expected = self._expected or outputs(self.outcome.snapshots[0].runner(), self.feeds)
        return loss_of(self._expected, outputs(snapshot.runner(), self.feeds))


def outputs(runner: Runner, feeds: Sequence[Feed]) -> Outputs:
    """The model's outputs for every feed."""
    return [runner.run(feed) for feed in feeds]
