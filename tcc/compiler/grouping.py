"""The channel groups of a model: what pruning would remove together, and what cannot shrink and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tcc.diagnostics import Diagnostic

if TYPE_CHECKING:
    from tcc.ir.channels import Group, Groups


@dataclass(frozen=True)
class Grouped:
    """A model's groups, those of them that the patterns allow to shrink, and remarks on reading it."""

    source: str
    groups: Groups
    allowed: tuple[Group, ...]
    notes: tuple[Diagnostic, ...]

    def entry(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "source": self.source,
            "groups": [_entry(group) | {"allowed": group in self.allowed} for group in self.groups.groups],
            "frozen": dict(self.groups.frozen), "unknown": self.groups.unknown(),
        }  # fmt: skip

    def text(self, *, slices: bool) -> str:
        """A line a group (all of its slices, where asked for), then what is frozen, by reason."""
        lines = []
        for group in self.groups.groups:
            stays = "" if group in self.allowed else "  stays: the patterns leave it out"
            weights = dict.fromkeys(key[0].name for key, _ in group.weights())
            head = f"{group.name}: {group.size} units, {group.elements().sum():.0f} elements of {len(weights)} weights"
            lines += [head + stays, *(group.text().splitlines()[1:] if slices else ())]
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.groups.frozen.items():
            by_reason.setdefault(reason, []).append(name)
        lines += [f"frozen: {', '.join(names)}: {reason}" for reason, names in by_reason.items()]
        lines += [f"not followed: {name}: {reason}" for name, reason in self.groups.unknown().items()]
        units = sum(group.size for group in self.groups.groups)
        return "\n".join([*lines, f"{len(self.groups.groups)} groups of {units} units"])


def _entry(group: Group) -> dict[str, Any]:
    return {
        "name": group.name, "units": group.size,
        "elements": group.elements().tolist(),
        "slices": [
            {
                "tensor": value.name, "axis": axis, "constant": value.const_value is not None,
                "units": np.asarray(units).tolist(),
            }
            for (value, axis), units in group.slices.items()
        ],
        "edges": [
            {"from": list(_axis(a)), "to": list(_axis(b)), "operator": operator}
            for (a, b), operator in group.edges.items() if a in group.slices and b in group.slices
        ],
    }  # fmt: skip


def _axis(key: tuple[Any, int]) -> tuple[str, int]:
    return key[0].name or "", key[1]


def groups(
    path: Path, inputs: Path | None = None, symbols: Mapping[str, int] | None = None, ignore: str = "", only: str = ""
) -> Grouped:
    """Find the groups of a model, with its functions inlined and its constants folded, as the passes see it.

    Args:
        path: an ONNX file.
        inputs: what to run it on, in place of generated ones.
        symbols: sizes of symbolic dimensions, for generated inputs.
        ignore: patterns of what must stay, as the pruning pass takes them.
        only: patterns of what may go.

    Raises:
        TccError: E0240 for patterns that are malformed or match nothing; what reading and running the model raise.
    """
    from tcc import frontends
    from tcc.compiler import data, sizing
    from tcc.ir.feeds import exercise_feeds
    from tcc.passes._prune_filters import allowed
    from tcc.passes.canonicalize import Canonicalize
    from tcc.passes.fold import Fold
    from tcc.passes.inline import Inline
    from tcc.passes.manager import Snapshot
    from tcc.passes.prune import groups_of

    model = frontends.load(path)
    original = Snapshot.of(model)
    sizing.require_known(original, symbols or {})
    feeds = data.whole(inputs, model) if inputs else exercise_feeds(original.proto, original.runner(), symbols=symbols)
    notes = tuple(model.notes)
    for step in (Canonicalize(), Inline(), Fold()):
        model = step.rewrite(model).model
    found, _ = groups_of(model, feeds)
    return Grouped(str(path), found, tuple(allowed(found, ignore, only)), notes)
