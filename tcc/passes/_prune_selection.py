"""Chooses the units that go, for a ratio or under a budget, proves the slice and recovers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tcc.diagnostics import Exit, TccError, fail
from tcc.ir.batches import samples_in
from tcc.ir.channels import Group, Groups, prove_most, sliced
from tcc.ir.channels.choosing import at_ratio, spread_ratio
from tcc.ir.channels.proof import Proven
from tcc.ir.channels.slicing import kept
from tcc.ir.loss import loss_of
from tcc.ir.model import Model
from tcc.passes._prune_budget import WORDS, by_cost, by_loss, evenly, infeasible, missed, with_unproven
from tcc.passes._prune_consumers import Consumer, consumers
from tcc.passes._prune_costs import Cost, Costs, spent
from tcc.passes._prune_data import BY_DATA, Statistics, collect, reconstruction
from tcc.passes._prune_latency import LONG, TOLERANCE, Point, Stopwatch, reached
from tcc.passes._prune_path import Path, Step, aligned, compensate, curves, guessed
from tcc.passes._prune_probe import LEVELS, measured
from tcc.passes._prune_recovery import ROUNDS, recover
from tcc.passes._prune_taps import Feed, few, joined, outputs
from tcc.passes._prune_weights import BY_WEIGHTS
from tcc.passes.base import Context
from tcc.targets.native import processors

if TYPE_CHECKING:
    from tcc.passes.prune import Prune

_LISTED = 12
"""Names that are listed before the rest is only counted."""
_SAMPLES = 256
"""Samples that the loss of a point is measured on, and that a recovery has at least, where there are so many."""
_WORK = 1e13
"""Operations that passing the data through the layers that are fitted may take, as far as the fewest samples allow."""

_CANDIDATES = 3
"""Removals that are compared at most."""
_ATTEMPTS = 8
"""How often a budget that was missed is tried again, without the groups that could not be proven."""

Removal = dict[Group, np.ndarray]


@dataclass(frozen=True)
class _Candidate:
    """A pruned model (None where nothing was proven), its facts, and the loss on held-out samples.

    ``part`` is what is left of the cost that was asked for, as the proven model has it.
    """

    model: Model | None
    record: dict[str, Any]
    loss: float
    part: float = 1.0


@dataclass
class Selection:
    """One run of the pass; ``record`` collects its facts."""

    options: Prune
    groups: Groups
    context: Context
    feeds: tuple[Feed, ...]
    record: dict[str, Any]
    _unproven: dict[str, str] = field(default_factory=dict)
    _aim: float = 1.0
    """The part of the cost that is looked for; below what was asked for where that was missed."""
    _measured: float = 1.0
    _lanes: int = 1

    def run(self) -> Model | None:
        """The pruned model; None where nothing can go.

        Raises:
            TccError: E0235 where an option needs data that is not there, E0502 where a budget cannot be met.
        """
        if (asked := self._asked) is not None:
            return self._taken(self._within(*asked))
        found = [one for one in self._tried() if one is not None]
        for one in found[:1]:
            self._unproven |= one.record["unproven"]
            self.record |= missed(self._unproven, len(self.groups.groups))
        return self._taken(found)

    def _taken(self, found: Sequence[_Candidate]) -> Model | None:
        """The candidate that loses least, with its facts."""
        best = min(found, key=lambda one: one.loss, default=None)
        if best is None:
            return None
        self.record |= best.record
        self.record["unproven"] = dict(self._unproven)
        if len(found) > 1:
            self.record["tried"] = [one.loss for one in found]
        return best.model

    def _within(self, name: str, part: float) -> list[_Candidate]:
        """Proven models that keep the budget; none where the whole model does.

        A group that cannot be proven stays, and what it should have saved has to come from the others.

        Raises:
            TccError: E0502 where they cannot save as much, with the least that was reached.
        """
        if part >= 1:
            return []
        self._aim, reached = part, 1.0
        most = part * (1 + (TOLERANCE if self._watched else _ROUNDING))
        for _ in range(_ATTEMPTS):
            try:
                found = [one for one in self._tried() if one is not None]
            except TccError as problem:
                raise with_unproven(problem, self._unproven) from problem
            kept_to = [one for one in found if one.part <= most]
            if kept_to:
                return kept_to
            reached = min([reached, *(one.part for one in found)])
            failed = {name: why for one in found for name, why in one.record["unproven"].items()}
            if failed:
                self._unproven |= failed
                left = tuple(g for g in self.groups.groups if g.name not in failed)
                self.groups = Groups(self.groups.network, left, self.groups.frozen)
            else:
                # What is added to say what is kept has its own costs.
                self._aim *= part / min(one.part for one in found) if found else 1.0
            if not found or not self.groups.groups:
                break
        raise with_unproven(infeasible(WORDS[name], part, reached), self._unproven)

    def _tried(self) -> list[_Candidate | None]:
        """What comes of each removal that is worth a proof and a recovery."""
        removal = self._at_ratio() if self.options.ratio is not None else self._within_budget()
        return [self._finished(own) for own in (removal, *self._others())]

    def _finished(self, removal: Removal) -> _Candidate | None:
        """What is left after a removal, proven and recovered; None where nothing can go."""
        removal = {group: removed for group, removed in removal.items() if removed.any()}
        if not removal:
            return None
        record: dict[str, Any] = {}
        proven = prove_most(self.groups, removal, self.feeds)
        record["unproven"] = dict(proven.failed)
        proof = proven.proof
        record["proof"] = {"difference": proof.difference, "tolerance": proof.tolerance, "inner": proof.inner}
        if proven.model is None:
            record["declined"] = {"all": "no group could be proven"}
            return _Candidate(None, record, float("inf"))
        record["removed"] = {g.name: [int(r.sum()), g.size] for g, r in proven.removal.items()}
        before, after = self.costs.total({}), spent(proven.model, self.feeds[0], self.context.target)
        record["operations"] = [before.operations, after.operations]
        record["bytes"] = [before.nbytes, after.nbytes]
        loss = 0.0
        if self._data and self.options.recover:
            record["recovery"] = self._recover(proven.model, proven.removal)
            loss = record["recovery"]["after"]
        return _Candidate(proven.model, record, loss, self._part(before, after, proven, record))

    def _part(self, before: Cost, after: Cost, proven: Proven, record: dict[str, Any]) -> float:
        """What is left of the cost that was asked for."""
        if (asked := self._asked) is None:
            return 1.0
        if not self._watched:
            part = _MEASURES[asked[0]](after) / max(_MEASURES[asked[0]](before), np.finfo(float).tiny)
        elif proven.failed:
            assert proven.model is not None
            part = self._watch.ratio(proven.model, sessions=LONG)
        else:
            part = self._measured
        if self._watched:
            record["latency"] = {"asked": asked[1], "measured": part, "align": self._lanes}
        record["budget"] = {"of": asked[0], "asked": asked[1], "reached": part}
        return part

    def _others(self) -> Iterator[Removal]:
        """Removals to the same budget that do not rest on predicted losses, as far as there is time to compare them.

        Losses of single groups do not add up where much goes; the same part of every group is then hard to beat.
        """
        asked = self._asked
        if asked is None or not (self._data and self.options.recover) or self._watched:
            return
        measure, options = _MEASURES[asked[0]], self.options
        most = self._aim * measure(self.costs.total({}))

        def within(removal: Removal) -> bool:
            return measure(self.costs.total(kept(removal))) <= most

        rankings = [self.scores]
        if options.importance == "auto":
            rankings.append({group: BY_WEIGHTS["l1"](self.groups, group) for group in self.groups.groups})
        for scores in rankings[: min(self._affordable, _CANDIDATES) - 1]:
            found = evenly(self.groups, scores, within, minimum=options.minimum, align=options.align)
            if found is not None:
                yield found

    @property
    def _affordable(self) -> int:
        """How many recoveries there is time for; at least one."""
        return max(int(_WORK / max(self._operations * self._rounds * _SAMPLES, 1.0)), 1)

    @property
    def _asked(self) -> tuple[str, float] | None:
        """The budget on a cost, and its value."""
        return next(((name, part) for name, part in self.options.budgets.items() if part is not None), None)

    @property
    def _watched(self) -> bool:
        """Whether the budget is one of latency that is measured."""
        return self.options.latency is not None and self.context.target.name == "native"

    def _recover(self, small: Model, removal: Mapping[Group, np.ndarray]) -> dict[str, Any]:
        share = min(self._affordable, _CANDIDATES)
        most = _WORK / max(share * self._operations * self._rounds, 1.0)
        return recover(self._model, small, self._consumers, kept(removal), few(self._data, max(int(most), _SAMPLES)))

    @cached_property
    def _consumers(self) -> list[Consumer]:
        return list(consumers(self.groups))

    @property
    def _rounds(self) -> int:
        return min(len(self._consumers), ROUNDS)

    @property
    def _model(self) -> Model:
        return self.groups.network.model

    @cached_property
    def _data(self) -> tuple[Feed, ...]:
        return joined(self._model, self.context.calibration or ())

    @cached_property
    def _operations(self) -> float:
        """Of one sample."""
        return self.costs.total({}).operations / samples_in(self.feeds[0])

    @cached_property
    def costs(self) -> Costs:
        """Prices on the target."""
        return Costs(self.groups, self.context.target)

    @cached_property
    def statistics(self) -> list[Statistics]:
        """Moments of what the consumers read."""
        return collect(self.groups, self._model, self._data)

    @cached_property
    def scores(self) -> dict[Group, np.ndarray]:
        """The ranking of every group's units."""
        name: str = self.options.importance
        if name == "auto":
            name = "reconstruction" if self._data else "l2"
        if name in BY_WEIGHTS:
            return {group: BY_WEIGHTS[name](self.groups, group) for group in self.groups.groups}
        if not self._data:
            advice = "give it with --calib, or rank by weights: l1, l2, bn, fpgm, lamp"
            raise fail(Exit.USAGE, "E0235", f"importance {name} needs calibration data", help=advice)
        if name in LEVELS:
            return measured(self.groups, self._data, LEVELS[name])
        if name == "reconstruction":
            return reconstruction(self.groups, self.statistics)
        return {group: BY_DATA[name](self.groups, group, self.statistics) for group in self.groups.groups}

    def _at_ratio(self) -> Removal:
        options = self.options
        assert options.ratio is not None
        if options.scope == "local":
            found = at_ratio(self.groups, options.ratio, self.scores.__getitem__, options.minimum)
        else:
            isomorphic = options.scope == "isomorphic"
            found = spread_ratio(self.groups, options.ratio, self.scores, options.minimum, isomorphic=isomorphic)
        return {g: aligned(removed, self.scores[g], options.align) for g, removed in found.items()}

    def _within_budget(self) -> Removal:
        asked = self._asked
        if asked is None and not self._data:
            advice = "give data with --calib, or say how much goes: ratio, macs, size or latency"
            raise fail(Exit.USAGE, "E0235", "pruning to a loss budget needs calibration data", help=advice)
        name, part = (asked[0], self._aim) if asked else ("macs", 0.0)
        losses = self._curves if self._data else guessed(self.scores)
        if self._watched:
            return self._at_latency(losses, part)
        path = self._path(losses, name, self.options.align)
        steps = path.steps()
        if asked is None:
            at = by_loss(steps, self.context.max_loss, lambda step: self._loss(path, step))
        else:
            at = by_cost(steps, part, lambda step: _MEASURES[name](step.cost), WORDS[name])
        self.record["path"] = {"points": len(steps), "chosen": at}
        return path.removal(steps[at].shares)

    @cached_property
    def _curves(self) -> dict[Group, np.ndarray]:
        """The losses of every group by itself; of those that are left out later, too."""
        return curves(self.groups, self.scores, self.statistics, self._data, self._operations)

    def _path(self, losses: Mapping[Group, np.ndarray], name: str, align: int) -> Path:
        return Path(self.groups, self.scores, losses, self.costs, _MEASURES[name], self.options.minimum, align)

    def _at_latency(self, losses: Mapping[Group, np.ndarray], part: float) -> Removal:
        """The point of least loss among those measured at the asked latency: one with whole lanes, one with any width.

        Raises:
            TccError: E0502 where there is none, with the fastest.
        """
        found: list[Point] = []
        problems: list[TccError] = []
        for align in dict.fromkeys((self.options.align, max(self.options.align, self.context.target.alignment))):
            path = self._path(losses, "latency", align)
            try:
                found.append(reached(path, part, lambda removal: sliced(self.groups, removal), self._watch))
            except TccError as problem:
                problems.append(problem)
        if not found:
            raise problems[0]
        best = min(found, key=lambda point: point.rank(part))
        self._measured, self._lanes = best.ratio, best.align
        return best.removal

    @cached_property
    def _watch(self) -> Stopwatch:
        return Stopwatch(self._model, self.feeds[0], min(self.context.target.threads, processors()))

    def _loss(self, path: Path, step: Step) -> float:
        """The loss of a point, with what the moments tell of the recovery."""
        removal = path.removal(step.shares)
        if not removal:
            return 0.0
        data = few(self._data, _SAMPLES)
        try:
            small = sliced(self.groups, removal)
            if self.options.recover:
                compensate(small, self.statistics, kept(removal))
                self._recover(small, removal)
            return loss_of(outputs(self._model, data), outputs(small, data)).value
        except TccError:
            return float("inf")


_MEASURES: dict[str, Callable[[Cost], float]] = {
    "macs": lambda cost: cost.operations,
    "size": lambda cost: cost.nbytes,
    "latency": lambda cost: cost.seconds,
}
_ROUNDING = 1e-9


def found_facts(groups: Groups) -> dict[str, Any]:
    """What was found, and what stands in the way of more."""
    return {
        "groups": len(groups.groups),
        "units": sum(group.size for group in groups.groups),
        "frozen": _first(groups.frozen),
        "unknown": _first(groups.unknown()),
    }


def _first(reasons: Mapping[str, str]) -> dict[str, str]:
    listed = dict(list(reasons.items())[:_LISTED])
    if len(reasons) > _LISTED:
        listed["..."] = f"{len(reasons) - _LISTED} more"
    return listed
