"""Which rules made each node of a simplified graph and why others declined, in the names of the graph's own values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tcc.ir.declining import Declining
from tcc.ir.derivation import Derivation, Recorder
from tcc.ir.emission import Program
from tcc.ir.frozen import ENode, ReadOut
from tcc.ir.importing import Imported
from tcc.ir.problem import LEAF, STORED

_PLAIN = frozenset({"absent", "project", LEAF.operator})


@dataclass
class Origins:
    """The origins of one chosen program; made before it is written, as the imported values lose their names then."""

    imported: Imported
    read: ReadOut
    recorder: Recorder
    program: Program
    _found: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        derivation = Derivation(self.imported, self.read, self.recorder)
        self._names = [_name(self.imported, n) for n in range(len(self.imported.values))]
        for c in sorted(self.program.used):
            node = self.program.choice[c].node
            if node.operator == "project":
                source = self.program.choice[node.inputs[0]].node
                self._add(c, source, derivation)
            elif node.operator == STORED:
                self._add_constant(c, derivation)
            elif node.operator not in _PLAIN:
                self._add(c, node, derivation)

    def entries(self, values: Mapping[int, Any]) -> dict[str, dict[str, Any]]:
        """By the name of the value that is computed; what stands as it was imported is left out.

        Args:
            values: of each class, as it was written.
        """
        found: dict[str, dict[str, Any]] = {}
        for c, entry in self._found.items():
            v = values.get(c)
            if v is None or not v.name or (not entry["rules"] and entry["of"] == [v.name]):
                continue
            found.setdefault(v.name, entry)
        return dict(sorted(found.items()))

    def _add(self, c: int, node: ENode, derivation: Derivation) -> None:
        number, origin = derivation.number(node), derivation.origin(node)
        if origin is not None:
            # A rule that reads facts alone, of sizes, starts from the value that it computes.
            numbers = origin.numbers or self.read.frozen.classes[c].numbers[:1]
            names = dict.fromkeys(name for n in numbers if (name := self._names[n]))
            self._found[c] = {"rules": list(origin.rules), "of": list(names)}
            if origin.given:
                self._found[c]["given"] = list(origin.given)
        elif number is not None:
            self._found[c] = {"rules": [], "of": [self._names[number]]}
        else:
            self._found[c] = {"rules": [], "of": []}

    def _add_constant(self, c: int, derivation: Derivation) -> None:
        """What a constant was computed from, where the model did not hold it: the shortest of its derivations."""
        if self.read.frozen.classes[c].original_constant:
            return
        origins = [origin for node in self.read.frozen.classes[c].nodes if (origin := derivation.origin(node))]
        if origins:
            shortest = min(origins, key=lambda origin: (len(origin.rules), origin.rules))
            names = [name for n in shortest.numbers if (name := self._names[n])]
            self._found[c] = {"rules": list(shortest.rules), "of": names}


def declines(imported: Imported, read: ReadOut, declining: Declining) -> list[dict[str, Any]]:
    """The rules that declined, each with the node of the graph that is an example."""
    found = []
    for each in declining.find(read):
        eclass = read.frozen.classes[each.example]
        producers = [v.producer() for n in eclass.numbers if (v := imported.values[n]) is not None]
        names = [node.name or node.outputs[0].name for node in producers if node is not None]
        example = names[0] if names else f"a new {eclass.nodes[0].operator}" if eclass.nodes else ""
        entry = {"rule": each.rule, "count": each.count, "reason": each.reason, "example": example}
        found.append(entry | {"operators": each.operators})
    return found


def _name(imported: Imported, number: int) -> str:
    """The first output of the node that computes an imported value; empty for what no node computes."""
    v = imported.values[number]
    producer = None if v is None else v.producer()
    return "" if producer is None else next((o.name for o in producer.outputs if o.name), "")
