"""The tiles of a model's kernels: those that extraction chose, this back end's own choice where none stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tcc.cost_models._tiles import TILE, Kernel, Plan, Processor


@dataclass
class Tiles:
    """Gives each kernel its tile as it is made, and notes whose choice it is.

    Nodes lose their names on the way through TVM's passes; kernels of one description come in the nodes' order.

    Args:
        chip: what kernels are made for.
        chosen: the tiles that nodes say, by the description of their kernel, in the nodes' order.
    """

    chip: Processor
    chosen: Mapping[str, list[Plan]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    """Every kernel with its tile."""
    own: list[str] = field(default_factory=list)
    """Those whose tile this back end chose."""

    def take(self, kernel: Kernel) -> Plan:
        """The tile of the next kernel of this description."""
        possible = [plan for _, plan in kernel.plans(self.chip)]
        waiting = self.chosen.get(kernel.text, [])
        wanted = waiting.pop(0) if waiting else None
        if wanted not in possible:
            self.own.append(kernel.text)
            wanted = possible[0]
        assert wanted is not None
        self.made.append(f"{kernel.text} in {wanted.text}")
        return wanted

    def facts(self) -> dict[str, Any]:
        """For the report."""
        left = [f"{what} in {plan.text}" for what, plans in self.chosen.items() for plan in plans]
        return {
            "own_schedules": self.made,
            "tiles": {"by_extraction": len(self.made) - len(self.own), "by_back_end": self.own, "unused": left},
        }


def said(nodes: Iterable[Any]) -> dict[str, list[Plan]]:
    """What the nodes of a graph (of ONNX's protobuf) say under ``TILE``; what is no tile is left out."""
    found: dict[str, list[Plan]] = {}
    for node in nodes:
        text = next((entry.value for entry in node.metadata_props if entry.key == TILE), "")
        what, _, tile = text.rpartition(" in ")
        if (plan := Plan.parse(tile)) is not None:
            found.setdefault(what, []).append(plan)
    return found
