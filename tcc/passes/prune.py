"""Removes channels, heads and hidden units, whole groups of slices at a time, and proves every slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tcc.diagnostics import TccError
from tcc.ir.channels import Groups, find, prove_most
from tcc.ir.channels.choosing import at_ratio
from tcc.ir.channels.sharing import join_vectors, split_vectors
from tcc.ir.model import Model
from tcc.passes._prune_filters import allowed
from tcc.passes._prune_weights import BY_WEIGHTS
from tcc.passes.base import Context, Effect, Pass, PassResult
from tcc.passes.canonicalize import Canonicalize

_WARNED = 12
"""Names that are listed before the rest is only counted."""


@dataclass(frozen=True)
class Prune(Pass):
    """Structured pruning: channels that nobody misses are removed from every tensor that carries them.

    Which slices go together follows from the graph alone. After the weights are sliced, the model is compared
    with the original in which the same channels count for nothing; a group for which the two differ stays.

    Args:
        ratio: the part of every group's units that goes.
        importance: how units are ranked.
        minimum: indices that every axis keeps at least.
        ignore: patterns of what must stay, separated by blanks: globs over names, ``re:...``, ``op:...``.
        only: patterns of what may go; all without any.
    """

    ratio: float = 0.5
    importance: Literal["l1", "l2", "bn", "fpgm", "lamp", "random"] = "l2"
    minimum: int = 1
    ignore: str = ""
    only: str = ""

    effect: ClassVar[Effect] = Effect.LOSSY

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: where one is out of its range.
        """
        if not 0 <= self.ratio < 1:
            message = f"ratio is {self.ratio:g}, should be at least 0 and below 1"
            raise ValueError(message)
        if self.minimum < 1:
            message = f"minimum is {self.minimum}, should be at least 1"
            raise ValueError(message)

    def run(self, model: Model, context: Context) -> PassResult:
        """Prune the top-level graph."""
        feeds = tuple(context.feeds or context.calibration or ())[:2]
        record: dict[str, Any] = {}
        if not feeds:
            return _declined(model, "there are no inputs that run through the model")
        work = Canonicalize().run(model.clone(), context).model
        split_vectors(work)
        try:
            groups = find(work, feeds)
        except TccError as error:
            return _declined(model, error.diagnostics[0].message)
        chosen = Groups(groups.network, tuple(allowed(groups, self.ignore, self.only)), groups.frozen)
        record |= _found(groups)
        removal = at_ratio(chosen, self.ratio, lambda group: BY_WEIGHTS[self.importance](chosen, group), self.minimum)
        removal = {group: removed for group, removed in removal.items() if removed.any()}
        if not removal:
            return PassResult(model, changed=False, facts=record | {"declined": {"all": "no group has units to spare"}})
        proven = prove_most(chosen, removal, feeds)
        record["unproven"] = dict(proven.failed)
        record["proof"] = {"difference": proven.proof.difference, "tolerance": proven.proof.tolerance}
        if proven.model is None:
            return PassResult(model, changed=False, facts=record)
        small = proven.model
        join_vectors(small)
        record["removed"] = {g.name: [int(r.sum()), g.size] for g, r in proven.removal.items()}
        record["parameters"] = [work.parameter_count, small.parameter_count]
        return PassResult(Model(small.ir, model.source, files=model.files, notes=model.notes), True, record)


def _declined(model: Model, reason: str) -> PassResult:
    return PassResult(model, changed=False, facts={"declined": {"all": reason}})


def _found(groups: Groups) -> dict[str, Any]:
    """What was found, and what stands in the way of more."""
    return {
        "groups": len(groups.groups),
        "units": sum(group.size for group in groups.groups),
        "frozen": _first(groups.frozen),
        "unknown": _first(groups.unknown()),
    }


def _first(reasons: Mapping[str, str]) -> dict[str, str]:
    listed = dict(list(reasons.items())[:_WARNED])
    if len(reasons) > _WARNED:
        listed["..."] = f"{len(reasons) - _WARNED} more"
    return listed
