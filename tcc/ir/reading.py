"""What the rows that an e-graph was loaded from say about what reads what."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

from tcc.ir import translated
from tcc.ir.attributes import CARRIED
from tcc.ir.fact_functions import carried_operator
from tcc.ir.importing import is_pure
from tcc.ir.queries import FORM
from tcc.ir.reach import ANYTHING, CONSTANTS, Reach
from tcc.ir.tables import Tables

_Node = tuple[str, bool, list[int], tuple[str, int]]
"""An operator, whether it is deterministic, the numbers that it reads, and the number of its result."""


def reach_of(tables: Tables) -> Reach:
    """Everything that stands in the e-graph that these tables have been loaded into."""
    return _Reading(tables).reach()


@dataclass
class _Reading:
    """The rows of one e-graph; results of nodes with several outputs have numbers of their own."""

    tables: Tables
    found: Reach = field(default_factory=Reach)
    bits: dict[tuple[str, int], int] = field(default_factory=dict)
    """What each number stands for, by its sort."""
    _several: list[int] = field(default_factory=list)
    """The bits of numbers that nodes of several operators make."""

    def reach(self) -> Reach:
        """Read all rows."""
        fixed = {int(row) for row in self._rows("constant")}
        known = {int(row.partition("\t")[0]) for row in self._rows("known")}
        literal, stored = (self.found.leaf(name, constant_=True) for name in ("literal", "value"))
        absent = self.found.leaf("absent", constant_=True)
        self.bits["value", 0] = absent
        for number in fixed:
            self.bits["value", number] = stored | (literal if number in known else 0)
        for row in self._rows("alias"):
            number, twin = map(int, row.split("\t"))
            self.bits["value", number] = stored | self.bits.get(("value", twin), 0)
        nodes = list(self._nodes())
        projections = [(int(n), int(of)) for row in self._rows("project") for n, of, _ in [row.split("\t")]]
        self._number(nodes, projections)
        for operator, _, inputs, _ in nodes:
            self.found.add(operator, self._inputs(operator, inputs))
        for bits in self._several:
            self.found.join(bits)
        self.found.told = 0
        for number in known - fixed:
            self.found.told |= self._bits(number)
        self.found.relate(f'{FORM}:"coefficient"', (CONSTANTS, CONSTANTS))
        if self.found.both("Transpose"):
            self.found.relate(f'{FORM}:"order wanted"', (ANYTHING, ANYTHING))
        if self.found.both("Softmax"):
            # The analysis finds such tensors, wherever they stand.
            self.found.relate(f'{FORM}:"moderate"', (ANYTHING, ANYTHING))
        self.found.settle()
        return self.found

    def _rows(self, table: str) -> Iterator[str]:
        for loaded in self.tables.loaded:
            yield from loaded.get(table, ())

    def _nodes(self) -> Iterator[_Node]:
        lists = {number: list(numbers) for numbers, number in self.tables.lists.items()}
        for operator in translated.language().operators.values():
            sort = "results" if operator.several else "value"
            for row in self._rows(operator.name):
                number, *cells = row.split("\t")[: operator.inputs + 1]
                inputs = lists[int(cells[0])] if operator.variadic else list(map(int, cells))
                yield operator.name, True, inputs, (sort, int(number))
        for row in self._rows("opaque"):
            number, key, inside = row.split("\t")
            self.found.names.update({carried_operator(key)} & CARRIED)
            yield "opaque", is_pure(key), lists[int(inside)], ("results", int(number))

    def _number(self, nodes: list[_Node], projections: list[tuple[int, int]]) -> None:
        """Find out which nodes depend on constants alone."""
        made: dict[tuple[str, int], dict[str, None]] = {}
        for operator, _, _, result in nodes:
            made.setdefault(result, {})[operator] = None
        varying = set(made)
        outputs = {("value", n): ("results", of) for n, of in projections}
        changed = True
        while changed:
            changed = False
            for _, pure, inputs, result in nodes:
                if result in varying and pure and not any(self._varies(i, made, varying, outputs) for i in inputs):
                    varying.discard(result)
                    changed = True
        several: list[int] = []
        for result in dict.fromkeys((*made, *outputs)):
            # A value may come out of a node of its own, and be a part of what was joined, too.
            of = outputs.get(result, result)
            operators = (*made.get(result, ()), *(made.get(of, ()) if of != result else ()))
            fixed = result not in varying if result in made else of not in varying
            bits = [self.found.bit(operator, constant_=fixed) for operator in operators]
            self.bits[result] = self.bits.get(result, 0) | sum(dict.fromkeys(bits))
            if len(bits) > 1:
                several.append(self.bits[result])
        self._several = several

    def _varies(
        self,
        number: int,
        made: Container[tuple[str, int]],
        varying: Container[tuple[str, int]],
        outputs: Mapping[tuple[str, int], tuple[str, int]],
    ) -> bool:
        at = ("value", number)
        if at in made:
            return at in varying
        return outputs[at] in varying if at in outputs else at not in self.bits

    def _bits(self, number: int) -> int:
        if ("value", number) not in self.bits:
            self.bits["value", number] = self.found.leaf("value", constant_=False)
        return self.bits["value", number]

    def _inputs(self, operator: str, inputs: list[int]) -> list[tuple[int, int]]:
        known = translated.language().operators.get(operator)
        at_once = known is None or known.variadic
        return [(0 if at_once else at, self._bits(number)) for at, number in enumerate(inputs)]
