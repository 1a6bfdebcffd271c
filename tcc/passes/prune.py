"""Removes channels, heads and hidden units, whole groups of slices at a time, and proves every slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from tcc.diagnostics import TccError
from tcc.ir.channels import Groups, find
from tcc.ir.channels.sharing import join_vectors, split_vectors
from tcc.ir.model import Model
from tcc.passes._hoisting import hoist
from tcc.passes._prune_budget import WORDS, infeasible
from tcc.passes._prune_feeds import proving_feeds
from tcc.passes._prune_filters import allowed
from tcc.passes._prune_selection import Selection, found_facts
from tcc.passes._prune_taps import Feed
from tcc.passes.base import Context, Effect, Pass, PassResult
from tcc.passes.canonicalize import Canonicalize

Importance = Literal[
    "auto", "l1", "l2", "bn", "fpgm", "lamp", "random", "apoz", "mean", "variance", "energy", "taylor", "mask",
    "reconstruction",
]  # fmt: skip


@dataclass(frozen=True)
class Prune(Pass):
    """Structured pruning: channels that nobody misses are removed from every tensor that carries them.

    Which slices go together follows from the graph alone. After the weights are sliced, the model is compared
    with the original in which the same channels count for nothing; a group for which the two differ stays.
    What is asked for is a ratio or one budget; without either, as much goes as the loss budget allows.

    Args:
        ratio: the part of every group's units that goes.
        macs: operations that may be left, as a part of the model's; groups shrink by what they are measured to lose.
        size: the same of the constants' bytes.
        latency: the same of the latency, measured where the target is this machine, else predicted.
        importance: how units are ranked; ``auto``: by reconstruction with calibration data, by L2 without.
            ``taylor`` and ``mask`` run the model once or more for every unit.
        scope: how a ratio is spread: ``local`` takes it of every group, ``global`` of all units together,
            ``isomorphic`` of all units of groups of the same form.
        minimum: indices that every axis keeps at least.
        align: kept units come in multiples of this, where a group has twice as many.
        ignore: patterns of what must stay, separated by blanks: globs over names, ``re:...``, ``op:...``.
        only: patterns of what may go; all without any.
        recover: whether what is left is fitted to the original's outputs, where there is calibration data.
    """

    ratio: float | None = None
    macs: float | None = None
    size: float | None = None
    latency: float | None = None
    importance: Importance = "auto"
    scope: Literal["local", "global", "isomorphic"] = "local"
    minimum: int = 1
    align: int = 1
    ignore: str = ""
    only: str = ""
    recover: bool = True

    effect: ClassVar[Effect] = Effect.LOSSY

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: where one is out of its range, or more than one budget is given.
        """
        if self.ratio is not None and not 0 <= self.ratio < 1:
            message = f"ratio is {self.ratio:g}, should be at least 0 and below 1"
            raise ValueError(message)
        budgets = {name: value for name, value in self.budgets.items() if value is not None}
        if len(budgets) + (self.ratio is not None) > 1:
            message = f"{', '.join(['ratio'] * (self.ratio is not None) + list(budgets))} are given, should be one"
            raise ValueError(message)
        for name, value in budgets.items():
            if not 0 < value <= 1:
                message = f"{name} is {value:g}, should be above 0 and at most 1"
                raise ValueError(message)
        for name in ("minimum", "align"):
            if getattr(self, name) < 1:
                message = f"{name} is {getattr(self, name)}, should be at least 1"
                raise ValueError(message)

    @property
    def budgets(self) -> dict[str, float | None]:
        """The budgets on costs, by name."""
        return {"macs": self.macs, "size": self.size, "latency": self.latency}

    def run(self, model: Model, context: Context) -> PassResult:
        """Prune the top-level graph."""
        given = tuple(context.feeds or context.calibration or ())
        if not given:
            return self._declined(model, {}, "there are no inputs that run through the model")
        try:
            groups, feeds = groups_of(model, given)
        except TccError as error:
            return self._declined(model, {}, error.diagnostics[0].message)
        work = groups.network.model
        record = found_facts(groups)
        chosen = Groups(groups.network, tuple(allowed(groups, self.ignore, self.only)), groups.frozen)
        selection = Selection(self, chosen, context, feeds, record)
        small = selection.run() if chosen.groups else None
        if small is None:
            reasons = "; ".join(list(dict.fromkeys(groups.frozen.values()))[:3])
            told = record.get("declined", {}).get("all")
            return self._declined(model, record, told or f"no group has units to spare: {reasons}".removesuffix(": "))
        join_vectors(small)
        record["parameters"] = [work.parameter_count, small.parameter_count]
        return PassResult(Model(small.ir, model.source, files=model.files, notes=model.notes), True, record)

    def _declined(self, model: Model, record: dict[str, Any], reason: str) -> PassResult:
        """The model as it is.

        Raises:
            TccError: E0502 where a budget was asked for.
        """
        for name, part in self.budgets.items():
            if part is not None and part < 1:
                problem = infeasible(WORDS[name], part, 1.0)
                first = replace(problem.diagnostics[0], notes=(reason,))
                raise TccError(problem.exit_code, [first])
        facts = record | {"declined": {"all": reason}}
        if self.ratio:
            facts["missed"] = f"nothing is pruned: {reason}"
        return PassResult(model, changed=False, facts=facts)


def groups_of(model: Model, given: Sequence[Feed]) -> tuple[Groups, tuple[Feed, ...]]:
    """The channel groups of a canonical copy of a model, and the inputs that slices are proven on.

    Raises:
        TccError: where the model does not run on what is given.
    """
    work = Canonicalize().rewrite(model.clone()).model
    hoist(work)
    split_vectors(work)
    feeds = proving_feeds(work, given)
    return find(work, feeds), feeds
