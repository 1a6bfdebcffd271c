"""Which commands of rules can match a graph: an approximation from above of what reads what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

from tcc.ir.queries import LEAVES, Query, Row
from tcc.ir.symbolic import VIEWS

ANYTHING = -1
_VIEW = "view"
_VIEWS = (*sorted(VIEWS), "Transpose")


def varying(number: int) -> int:
    """The bit of an operator (or leaf) that depends on some input."""
    return 1 << 2 * number


def constant(number: int) -> int:
    """The bit of an operator (or leaf) over constants."""
    return 2 << 2 * number


CONSTANTS = sum(constant(n) for n in range(1024))
"""The bits of everything that depends on no input."""


@dataclass
class Reach:
    """Sets of operators that classes may hold, as bits; each operator has one bit over constants, one otherwise.

    All nodes of one operator are taken for one: what reads any of them, or is equal to any, reads or equals all. So
    whatever matches in the e-graph matches here; not the other way round.

    ``edges[operator][position]`` are the sets that are read there, by the two kinds of nodes.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    present: int = 0
    names: set[str] = field(default_factory=set)
    edges: dict[tuple[str, bool], dict[int, int]] = field(default_factory=dict)
    related: dict[str, tuple[int, ...]] = field(default_factory=dict)
    told: int = 0
    """What has a known value, besides what always has."""
    groups: dict[int, int] = field(default_factory=dict)
    """For each bit that shares classes with others: all of these."""
    _whole: dict[int, int] = field(default_factory=dict)

    def bit(self, name: str, *, constant_: bool) -> int:
        """The bit of an operator or a leaf."""
        number = self.numbers.setdefault(name, len(self.numbers))
        return constant(number) if constant_ else varying(number)

    def both(self, name: str) -> int:
        """Both bits of an operator, as far as there are such nodes."""
        return self.present & (self.bit(name, constant_=True) | self.bit(name, constant_=False))

    def whole(self, found: int) -> int:
        """A set, with what shares classes with any of it."""
        if not self.groups or found == ANYTHING:
            return found
        if found not in self._whole:
            made = found
            for one in _bits(found):
                made |= self.groups.get(one, 0)
            self._whole[found] = made
        return self._whole[found]

    def add(self, operator: str, inputs: Iterable[tuple[int, int]]) -> int:
        """Nodes of an operator that read these sets; the bits of the nodes that there may be."""
        given = list(inputs)
        made = 0
        for fixed in (True, False):
            possible = all(m & CONSTANTS for _, m in given) if fixed else any(m & ~CONSTANTS for _, m in given)
            if not possible:
                continue
            made |= self.bit(operator, constant_=fixed)
            below = self.edges.setdefault((operator, fixed), {})
            for at, found in given:
                below[at] = below.get(at, 0) | (found & CONSTANTS if fixed else found)
        self.present |= made
        self.names.add(operator)
        return made

    def leaf(self, name: str, *, constant_: bool) -> int:
        """The bit of a leaf, which there is from now on."""
        made = self.bit(name, constant_=constant_)
        self.present |= made
        self.names.add(name)
        return made

    def relate(self, relation: str, found: Iterable[int]) -> None:
        """Rows of a relation over these sets."""
        added = tuple(found)
        before = self.related.get(relation, (0,) * len(added))
        self.related[relation] = tuple(a | b for a, b in zip(before, added, strict=True))

    def join(self, found: int) -> None:
        """All of a set may share classes from now on."""
        together = self.whole(found & self.present)
        for one in _bits(together):
            self.groups[one] = self.groups.get(one, 0) | together
        self._whole.clear()

    def settle(self) -> None:
        """Draw the consequences of what shares a class with a constant."""
        size = -1
        while size != (size := self._size()):
            if shapes := self.both("Shape"):
                self.join(shapes | self.leaf("literal", constant_=True))
            # A list of sizes may turn out to be numbers.
            if (joined := self.both("Concat")) and self._below("Concat", 0) & self.valued & ~CONSTANTS:
                self.told |= joined
                self.join(joined | self.leaf("literal", constant_=True))
            if any(g & CONSTANTS and g & ~CONSTANTS for g in self.groups.values()):
                self._fix()

    def _size(self) -> int:
        return self.present.bit_count() + sum(g.bit_count() for g in self.groups.values())

    def _fix(self) -> None:
        """Nodes all of whose inputs may be constant now may be so too."""
        for operator, fixed in list(self.edges):
            below = {at: self.whole(found) for at, found in self.edges[operator, fixed].items()}
            if not fixed and all(found & CONSTANTS for found in below.values()):
                self.add(operator, ((at, found & CONSTANTS) for at, found in below.items()))
                self.join(self.both(operator))

    @property
    def valued(self) -> int:
        """What may have a known value."""
        always = [self.both(name) for name in (*_VALUED, "Shape")]
        return self.whole(self.told | sum(always))

    def _below(self, operator: str, at: int) -> int:
        return self.whole(
            self.edges.get((operator, True), {}).get(at, 0) | self.edges.get((operator, False), {}).get(at, 0)
        )

    def _row(self, row: Row) -> Iterator[tuple[int, int]]:
        """What the classes of a relation's rows may hold; nothing where the relation is keyed by a variable."""
        relation, classes = row
        if relation == _VIEW:
            views = [name for name in _VIEWS if self.both(name)]
            stated = self.related.get(relation, (0, 0))
            upper = self.whole(sum(self.both(name) for name in views) | stated[0])
            lower = self.whole(stated[1])
            for name in views:
                lower |= self._below(name, 0)
            yield from zip(classes, (upper, lower), strict=True)
        elif ":_" not in relation:
            found = self.related.get(relation, (0,) * len(classes))
            yield from zip(classes, map(self.whole, found), strict=True)

    def match(self, query: Query) -> dict[int, int] | None:
        """What each class of a command may hold; None where the command cannot match."""
        found: dict[int, int] = {}
        if not self.names.issuperset(query.reads):
            return None
        for operator, _, inputs in query.terms:
            for at, c in inputs:
                found[c] = found.get(c, ANYTHING) & self._below(operator, at)
        for row in query.rows:
            for c, held in self._row(row):
                found[c] = found.get(c, ANYTHING) & held
        for c in query.constant:
            found[c] = found.get(c, self.present) & CONSTANTS
        for c in query.known:
            found[c] = found.get(c, self.present) & self.valued
        holding: dict[int, int] = {}
        for operator, c, _ in query.terms:
            if not (held := self.both(operator) & found.get(c, ANYTHING)):
                return None
            holding[c] = holding.get(c, 0) | held
        found |= holding
        return found if all(found.values()) else None

    def is_useful(self, query: Query) -> bool:
        """Whether a command can match, and more than to compute constants in another way: they are folded anyhow.

        What moves or chooses elements may show that two constants are one, or that one has no element out of range, and
        what tells values lets others match.
        """
        found = self.match(query)
        if found is None:
            return False
        if query.told or query.given or not query.writes or _MOVING.intersection(query.writes):
            return True
        return any(found.get(c, self.present) & ~CONSTANTS for c, _ in query.unions)

    def apply(self, query: Query) -> None:
        """Add what a command adds where it matches."""
        found = self.match(query)
        if found is None:
            return
        for operator, c, inputs in query.made:
            found[c] = self._made(operator, inputs, found)
        for a, b in query.unions:
            self.join(found.get(a, self.present) | found.get(b, self.present))
        for relation, classes in query.given:
            self.relate(relation, (found.get(c, self.present) for c in classes))
        for c in query.told:
            self.told |= found.get(c, self.present)
            self.join(found.get(c, self.present) | self.leaf("literal", constant_=True))

    def _made(self, operator: str, inputs: Iterable[tuple[int, int]], found: Mapping[int, int]) -> int:
        if operator in LEAVES:
            return self.leaf(operator, constant_=operator in _FIXED)
        return self.add(operator, [(at, found.get(c, self.present)) for at, c in inputs])


def reachable(queries: Iterable[Query], reach: Reach) -> set[Query]:
    """The commands that may match if all that may match are run, from what there is now."""
    grown = deepcopy(reach)
    waiting, found = list(queries), set[Query]()
    while fresh := [query for query in waiting if grown.match(query) is not None]:
        found.update(fresh)
        waiting = [query for query in waiting if query not in found]
        for query in fresh:
            grown.apply(query)
        grown.settle()
    return found


_MOVING = VIEWS | {"Concat", "Expand", "Gather", "Slice", "Split", "Transpose", "Where"}
_FIXED = frozenset({"literal", "absent"})
_VALUED = ("literal", "absent", "dimension", "dimension_scalar", "entry")


def _bits(found: int) -> Iterator[int]:
    while found:
        one = found & -found
        yield one
        found ^= one
