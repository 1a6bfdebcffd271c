"""Tables of rows that the e-graph reads at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from tcc.ir import translated
from tcc.ir.engine import EGraph

ABSENT = 0
"""The number of an optional input that is not given."""
NIL = 0
"""The number of the empty list."""


@dataclass
class Tables:
    """Rows by relation, written as tab-separated files that the engine reads at once."""

    rows: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[tuple[int, ...], int] = field(default_factory=lambda: {(): NIL})
    loaded: list[dict[str, list[str]]] = field(default_factory=list)
    """The rows that an e-graph has, as they were added."""

    def further(self) -> Tables:
        """Empty tables whose lists go on where these end."""
        return Tables({}, self.lists, self.loaded)

    def add(self, table: str, *cells: object) -> None:
        """Add a row."""
        self.rows.setdefault(table, []).append("\t".join(map(str, cells)))

    def list_of(self, numbers: tuple[int, ...]) -> int:
        """The number of a list of inputs; equal lists are one, and share their tails."""
        if numbers not in self.lists:
            tail = self.list_of(numbers[1:])
            self.lists[numbers] = len(self.lists)
            self.add("cell", self.lists[numbers], numbers[0], tail)
        return self.lists[numbers]

    def load(self, egraph: EGraph) -> None:
        """Add the rows to an e-graph."""
        tables = translated.language().tables
        self.loaded.append(self.rows)
        egraph.include(f"(union (value {ABSENT}) (absent))\n(union (list_value {NIL}) (nil))")
        for name, rows in self.rows.items():
            egraph.declare(tables[name].declarations)
            egraph.read(f"rows_{name}", rows)
        egraph.run(f"(run {egraph.ruleset([tables[name].rules for name in self.rows])})")
