"""By which rules each node of a saturated e-graph follows from the imported ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tcc.ir import translated
from tcc.ir.engine import EGraph
from tcc.ir.frozen import ENode, ReadOut
from tcc.ir.importing import Imported
from tcc.ir.matches import Binding, Command, Recording, command, literal_text
from tcc.ir.queries import Query

Item = tuple[Any, ...] | ENode
"""What a rule finds or adds: a node, or a row of a relation (its name, then what stands in it)."""
_RECORD = "derivation"


@dataclass(frozen=True)
class Origin:
    """Where a node comes from: rules in the order in which they apply, and the imported values they start from."""

    rules: tuple[str, ...]
    numbers: tuple[int, ...]


class Recorder:
    """Notes what each command matches in an e-graph, once it is saturated; what is in the e-graph stays as it is."""

    def __init__(self, egraph: EGraph) -> None:
        self._recording = Recording(egraph, _RECORD)
        self._egraph = egraph
        self._commands: dict[int, Command] = {}
        egraph.extend(_RECORD, ())
        egraph.extend(_SUBSUMING, ())
        self._early = Recording(egraph, _SUBSUMING)

    def add(self, queries: Iterable[Query]) -> None:
        """Take commands that the engine is given; those that hide what they match are noted from now on."""
        for query in queries:
            made, number = command(query), len(self._commands)
            self._commands[number] = made
            asked = (*made.structure, *made.conditions)
            target = self._early if ":subsume" in query.text else self._recording
            target.add(number, asked, tuple(made.sorts), made.sorts)

    @property
    def schedule(self) -> str:
        """What has to run before each iteration."""
        return f"(run {_SUBSUMING})"

    def finish(self) -> None:
        """Note the matches of all commands."""
        self._recording.run()

    def matches(self, read: ReadOut) -> Iterator[tuple[Command, Binding]]:
        """Every match, in a fixed order."""
        for number, made in self._commands.items():
            for recording in (self._recording, self._early):
                for binding in recording.matches(number, tuple(made.sorts), made.sorts, read):
                    yield made, binding


_SUBSUMING = "early"


@dataclass
class _Firing:
    """A match: what it needs that some other one adds, and what it adds."""

    rule: str
    premises: tuple[Item, ...]
    waiting: int = 0


@dataclass
class Derivation:
    """The shortest derivation, in rounds of rules, of each node that is not an imported one.

    Each step is a match of a rule in the saturated e-graph, where equal values are one class: what it says is that
    the rule makes this node out of those, not in which order the engine happened to find it. Taken for granted is
    what other rules proved on the way: that two values are one, or what a size is.
    """

    imported: Imported
    read: ReadOut
    recorder: Recorder
    _by: dict[Item, _Firing] = field(default_factory=dict)
    _original: dict[Item, tuple[str, tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._index = {node: c for c, eclass in enumerate(self.read.frozen.classes) for node in eclass.nodes}
        for name in _SIZES:
            self._index |= {ENode(name, text, ()): c for text, c in self.read.named(name).items()}
        self._original = dict(_imported_nodes(self.imported, self.read))
        self._derive()

    def origin(self, node: ENode) -> Origin | None:
        """Where a node comes from; None for an imported one, and for one that no rule made."""
        if (found := self._original.get(node)) is not None:
            return Origin((found[0],), found[1]) if found[0] else None
        if node not in self._by:
            return None
        rules: dict[str, None] = {}
        numbers: set[int] = set()
        done: set[Item] = set()
        self._follow(node, rules, numbers, done)
        return Origin(tuple(rules), tuple(sorted(numbers)))

    def number(self, node: ENode) -> int | None:
        """The first imported value that a node computes; None for one that a rule made."""
        found = self._original.get(node)
        return None if found is None or found[0] else found[1][0]

    def _follow(self, item: Item, rules: dict[str, None], numbers: set[int], done: set[Item]) -> None:
        if item in done:
            return
        done.add(item)
        if (found := self._original.get(item)) is not None:
            if found[0]:
                rules.setdefault(found[0])
            numbers.update(found[1])
        elif (firing := self._by.get(item)) is not None:
            for premise in firing.premises:
                self._follow(premise, rules, numbers, done)
            rules.setdefault(firing.rule)

    def _derive(self) -> None:
        """Forward chaining: rounds of matches all of whose premises are there."""
        firings = list(self._firings())
        made = {item for _, added in firings for item in added}
        users: dict[Item, list[tuple[_Firing, tuple[Item, ...]]]] = {}
        ready: list[tuple[_Firing, tuple[Item, ...]]] = []
        for firing, added in firings:
            # What no rule makes is there from the beginning: leaves, and what the analysis finds.
            missing = {p for p in firing.premises if p in made and p not in self._original}
            firing.waiting = len(missing)
            for premise in missing:
                users.setdefault(premise, []).append((firing, added))
            if not missing:
                ready.append((firing, added))
        while ready:
            fresh: list[Item] = []
            for firing, added in ready:
                for item in added:
                    if item not in self._by and item not in self._original:
                        self._by[item] = firing
                        fresh.append(item)
            ready = []
            for item in fresh:
                for firing, added in users.get(item, ()):
                    firing.waiting -= 1
                    if not firing.waiting:
                        ready.append((firing, added))

    def _firings(self) -> Iterator[tuple[_Firing, tuple[Item, ...]]]:
        for made, binding in self.recorder.matches(self.read):
            terms = _Terms(self._index, binding)
            for fact in made.structure:
                terms.read(fact)
            premises = tuple(terms.items)
            terms.items.clear()
            for action in made.actions:
                terms.read(action)
            if added := tuple(item for item in terms.items if item not in premises):
                yield _Firing(made.rule, premises), added


@dataclass
class _Terms:
    """Reads expressions under a binding; the nodes and rows that stand in them are gathered in ``items``."""

    index: Mapping[ENode, int]
    binding: Binding
    items: dict[Item, None] = field(default_factory=dict)

    def read(self, part: Any) -> Any:
        """The class, list, text or number that an expression is; None where it is not known."""
        if isinstance(part, str):
            return self._word(part)
        name, arguments = part[0], [self.read(inner) for inner in part[1:]]
        if name in ("=", "union", "set", "subsume"):
            return None
        if name == "nil":
            return ()
        if name == "cons":
            return None if None in arguments else (arguments[0], *arguments[1])
        if name in _LEAVES:
            return self.index.get(ENode(name, arguments[0] if arguments else "", ()))
        if None in arguments:
            return None
        if (node := _node(name, arguments)) is None:
            self.items.setdefault((name, *arguments))
            return None
        self.items.setdefault(node)
        return self.index.get(node)

    def _word(self, word: str) -> Any:
        if word[0] == "_":
            return self.binding.get(word)
        return literal_text(word) if word[0] == '"' else int(word) if word.lstrip("-").isdigit() else word


_SIZES = ("dimension", "dimension_scalar", "entry")
_LEAVES = frozenset({"literal", "absent", *_SIZES})


def _node(name: str, arguments: Sequence[Any]) -> ENode | None:
    if name == "project":
        return ENode("project", "", (arguments[0],), arguments[1])
    if name == "opaque":
        return ENode("opaque", arguments[0], arguments[1])
    if (operator := translated.language().operators.get(name)) is None:
        return None
    *inputs, key = arguments
    return ENode(name, key, inputs[0] if operator.variadic else tuple(inputs))


SIBLINGS = "siblings"
"""What stands for a rule's name where several imported nodes were joined before any rule ran."""


def _imported_nodes(imported: Imported, read: ReadOut) -> Iterator[tuple[ENode, tuple[str, tuple[int, ...]]]]:
    """The nodes that were read from tables, in the read-out's classes, with the imported values that they compute.

    Those that stand for several imported nodes at once come with the name of what joined them.
    """
    lists = {number: members for members, number in imported.tables.lists.items()}
    operators = translated.language().operators
    seen: dict[ENode, tuple[str, tuple[int, ...]]] = {}
    results = read.numbered("results_value")
    whole = _Whole(imported, lists)
    for turn, tables in enumerate(imported.tables.loaded):
        for name, rows in tables.items():
            if name not in operators and name not in ("project", "opaque"):
                continue
            for row in rows:
                number, *cells = row.split("\t")
                node = _read_row(name, cells, lists, (read.frozen.of, results))
                if node in seen:
                    continue
                seen[node] = ("", (int(number),)) if not turn else (SIBLINGS, whole.parts(int(number)))
    yield from seen.items()


def _read_row(
    name: str, cells: list[str], lists: Mapping[int, tuple[int, ...]], places: tuple[Mapping[int, int], ...]
) -> ENode:
    of, results = places
    if name == "project":
        return ENode("project", "", (results[int(cells[0])],), int(cells[1]))
    if name == "opaque":
        return ENode("opaque", cells[0], tuple(of[n] for n in lists[int(cells[1])]))
    *inputs, key = cells
    numbers = lists[int(inputs[0])] if translated.language().operators[name].variadic else map(int, inputs)
    return ENode(name, key, tuple(of[n] for n in numbers))


@dataclass
class _Whole:
    """Which imported values are made of a value that the graph did not hold."""

    imported: Imported
    lists: Mapping[int, tuple[int, ...]]
    _readers: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        operators = translated.language().operators
        for tables in self.imported.tables.loaded[1:]:
            for name, rows in tables.items():
                for row in rows if name in operators or name == "project" else ():
                    number, *cells = row.split("\t")
                    inputs = cells[:1] if name == "project" else cells[:-1]
                    variadic = name in operators and operators[name].variadic
                    read = self.lists[int(inputs[0])] if variadic else tuple(map(int, inputs))
                    for n in read:
                        self._readers.setdefault(n, []).append(int(number))

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
