"""What the tables say from which an e-graph was loaded, in terms of its saturated classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tcc.ir import facts, translated
from tcc.ir.frozen import ENode, ReadOut
from tcc.ir.importing import Imported

Row = tuple[int, int, ENode, tuple[int, ...]]
"""Which tables a node was read from, the number of its value, the node, and the numbers that it reads."""
SIBLINGS = "siblings"
"""What stands for a rule's name where several imported nodes were joined before any rule ran."""


def imported_rows(imported: Imported, read: ReadOut) -> Iterator[Row]:
    """The nodes that were read from tables."""
    lists = {number: members for members, number in imported.tables.lists.items()}
    operators = translated.language().operators
    results = read.numbered("results_value")
    for turn, tables in enumerate(imported.tables.loaded):
        for name, rows in tables.items():
            if name not in operators and name not in ("project", "opaque"):
                continue
            for row in rows:
                number, *cells = row.split("\t")
                node, inputs = _read_row(name, cells, lists, (read.frozen.of, results))
                yield turn, int(number), node, inputs


def imported_nodes(imported: Imported, rows: Sequence[Row]) -> Iterator[tuple[ENode, tuple[str, tuple[int, ...]]]]:
    """Those nodes, with the imported values that they compute.

    Those that stand for several imported nodes at once come with the name of what joined them.
    """
    seen: dict[ENode, tuple[str, tuple[int, ...]]] = {}
    whole = _Whole(imported, rows)
    for turn, number, node, _ in rows:
        if node not in seen:
            seen[node] = ("", (number,)) if not turn else (SIBLINGS, whole.parts(number))
    yield from seen.items()


@dataclass(frozen=True)
class Stated:
    """What the imported graph says: the values that its nodes read and compute, and what is known of these."""

    inputs: Mapping[ENode, tuple[int, ...]]
    outputs: Mapping[ENode, set[int]]
    facts: frozenset[tuple[str, int]]

    @staticmethod
    def of(imported: Imported, read: ReadOut, rows: Sequence[Row]) -> Stated:
        """What stands in the tables of an e-graph."""
        inputs: dict[ENode, tuple[int, ...]] = {}
        outputs: dict[ENode, set[int]] = {}
        for _, number, node, numbers in rows:
            inputs.setdefault(node, numbers)
            outputs.setdefault(node, set()).add(number)
        found = set()
        classes = read.frozen.classes
        for tables in imported.tables.loaded:
            for table, fact in (("type", "kind"), ("known", "known")):
                for row in tables.get(table, ()):
                    cell, _, text = row.partition("\t")
                    c = read.frozen.of[int(cell)]
                    told = facts.parse_kind(text) if fact == "kind" else facts.parse_known(text)
                    if told == getattr(classes[c], fact):
                        found.add((fact, c))
        return Stated(inputs, outputs, frozenset(found))

    def holds(self, fact: object) -> bool:
        """Whether the graph itself says so."""
        return fact in self.facts


def _read_row(
    name: str, cells: list[str], lists: Mapping[int, tuple[int, ...]], places: tuple[Mapping[int, int], ...]
) -> tuple[ENode, tuple[int, ...]]:
    of, results = places
    if name == "project":
        return ENode("project", "", (results[int(cells[0])],), int(cells[1])), (int(cells[0]),)
    if name == "opaque":
        members = lists[int(cells[1])]
        return ENode("opaque", cells[0], tuple(of[n] for n in members)), members
    *inputs, key = cells
    variadic = translated.language().operators[name].variadic
    numbers = lists[int(inputs[0])] if variadic else tuple(map(int, inputs))
    return ENode(name, key, tuple(of[n] for n in numbers)), numbers


@dataclass
class _Whole:
    """Which imported values are made of a value that the graph did not hold."""

    imported: Imported
    rows: Sequence[Row]
    _readers: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for turn, number, _, inputs in self.rows:
            for n in inputs if turn else ():
                self._readers.setdefault(n, []).append(number)

    def parts(self, number: int) -> tuple[int, ...]:
        """The values of the graph that are parts of this one."""
        found: set[int] = set()
        stack, seen = [number], set[int]()
        while stack:
            at = stack.pop()
            if at in seen:
                continue
            seen.add(at)
            value = self.imported.values[at] if at < len(self.imported.values) else None
            if value is not None and value.producer() is not None:
                found.add(at)
            else:
                stack.extend(self._readers.get(at, ()))
        return tuple(sorted(found))
