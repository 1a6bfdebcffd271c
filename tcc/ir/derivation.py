"""By which rules each node of a saturated e-graph follows from the imported ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tcc.ir import translated
from tcc.ir.engine import EGraph
from tcc.ir.frozen import ENode, ReadOut
from tcc.ir.imported_rows import Stated, imported_nodes, imported_rows
from tcc.ir.importing import Imported
from tcc.ir.matches import Binding, Command, Recording, command, literal_text
from tcc.ir.queries import Query

Item = tuple[Any, ...] | ENode
"""What a rule finds or adds: a node, or a row of a relation (its name, then what stands in it)."""
_RECORD = "derivation"


@dataclass(frozen=True)
class Origin:
    """Where a node comes from: rules in the order in which they apply, and the imported values they start from.

    ``given`` are the rules that opened the way: they proved values equal, or sizes known, that these matches rely on.
    """

    rules: tuple[str, ...]
    numbers: tuple[int, ...]
    given: tuple[str, ...] = ()


class Recorder:
    """Notes what each command matches while they run; what is in the e-graph, and when it is saturated, stays as it is.

    A match of an iteration may be none at the end: types become more precise, and some rules hide what they match.
    """

    def __init__(self, egraph: EGraph) -> None:
        self._recording = Recording(egraph, _RECORD)
        self._commands: dict[int, Command] = {}
        egraph.extend(_RECORD, ())

    def add(self, queries: Iterable[Query]) -> None:
        """Take commands that the engine is given."""
        for query in queries:
            made, number = command(query), len(self._commands)
            self._commands[number] = made
            self._recording.add(number, (*made.structure, *made.conditions), tuple(made.sorts), made.sorts)

    def note(self) -> None:
        """Note what matches now, and has not been noted."""
        self._recording.run()

    def matches(self, read: ReadOut) -> Iterator[tuple[Command, Binding]]:
        """Every match, in a fixed order."""
        for number, made in self._commands.items():
            for binding in self._recording.matches(number, tuple(made.sorts), made.sorts, read):
                yield made, binding


@dataclass
class _Firing:
    """A match: what it needs that some other one adds, what it adds, and the facts that its conditions read.

    ``joins`` is the class whose values it says are one, where it adds no node.
    """

    rule: str
    premises: tuple[Item, ...]
    added: tuple[Item, ...]
    facts: tuple[Item, ...]
    joins: int | None
    waiting: int = 0


@dataclass
class Derivation:
    """The shortest derivation, in rounds of rules, of each node that is not an imported one.

    Each step is a match of a rule in the saturated e-graph, where equal values are one class: what it says is that
    the rule makes this node out of those, not in which order the engine happened to find it.
    """

    imported: Imported
    read: ReadOut
    recorder: Recorder
    _by: dict[Item, _Firing] = field(default_factory=dict)
    _original: dict[Item, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    _joining: dict[int, list[_Firing]] = field(default_factory=dict)
    _stating: dict[Item, _Firing] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._index = {node: c for c, eclass in enumerate(self.read.frozen.classes) for node in eclass.nodes}
        for name in _SIZES:
            self._index |= {ENode(name, text, ()): c for text, c in self.read.named(name).items()}
        self._rows = list(imported_rows(self.imported, self.read))
        self._original = dict(imported_nodes(self.imported, self._rows))
        self._stated = Stated.of(self.imported, self.read, self._rows)
        self._derive()

    def origin(self, node: ENode) -> Origin | None:
        """Where a node comes from; None for an imported one, and for one that no rule made."""
        if (found := self._original.get(node)) is not None:
            return Origin((found[0],), found[1]) if found[0] else None
        if node not in self._by:
            return None
        rules: dict[str, None] = {}
        numbers: set[int] = set()
        used: dict[int, _Firing] = {}
        self._follow(node, rules, numbers, set(), used)
        given = self._given(used.values()) - rules.keys()
        return Origin(tuple(rules), tuple(sorted(numbers)), tuple(sorted(given)))

    def number(self, node: ENode) -> int | None:
        """The first imported value that a node computes; None for one that a rule made."""
        found = self._original.get(node)
        return None if found is None or found[0] else found[1][0]

    def _follow(
        self, item: Item, rules: dict[str, None], numbers: set[int], done: set[Item], used: dict[int, _Firing]
    ) -> None:
        if item in done:
            return
        done.add(item)
        if (found := self._original.get(item)) is not None:
            if found[0]:
                rules.setdefault(found[0])
            numbers.update(found[1])
        elif (firing := self._by.get(item)) is not None:
            used[id(firing)] = firing
            for premise in firing.premises:
                self._follow(premise, rules, numbers, done, used)
            rules.setdefault(firing.rule)

    def _given(self, firings: Iterable[_Firing]) -> set[str]:
        """The rules without which these matches would not be there, besides those that they are of."""
        found: set[str] = set()
        done: set[Any] = set()
        waiting: list[Item | _Firing] = list(firings)
        while waiting:
            at = waiting.pop()
            if isinstance(at, _Firing):
                if id(at) not in done:
                    done.add(id(at))
                    waiting += [*at.facts, *at.premises, *self._joined(at)]
                continue
            if at in done or at in self._original:
                continue
            done.add(at)
            if isinstance(at, tuple) and at[0] in _FACTS and self._stated.holds(at):
                continue
            if (firing := self._by.get(at) or self._stating.get(at)) is not None:
                found.add(firing.rule)
                waiting.append(firing)
            elif isinstance(at, tuple) and at[0] in _FACTS:
                # The analysis carries it there from what the class is computed of.
                nodes = self.read.frozen.classes[at[1]].nodes
                waiting += [
                    (fact, c) for node in nodes if node in self._original for c in node.inputs for fact in _FACTS
                ]
            elif isinstance(at, tuple) and at[0] == _JOINED:
                for joining in self._joining.get(at[1], ()):
                    found.add(joining.rule)
                    waiting.append(joining)
        return found

    def _joined(self, firing: _Firing) -> Iterator[Item]:
        """The classes in which a match takes one imported value for another."""
        read: dict[int, set[int]] = {}
        for node in firing.premises:
            if isinstance(node, ENode):
                for c, number in zip(node.inputs, self._stated.inputs.get(node, ()), strict=False):
                    read.setdefault(c, set()).add(number)
        for node in firing.premises:
            made = self._index.get(node) if isinstance(node, ENode) else None
            if isinstance(node, ENode) and made is not None and made in read:
                read[made] |= self._stated.outputs.get(node, set()) if node in self._original else {-1}
        yield from ((_JOINED, c) for c, numbers in read.items() if len(numbers) > 1)

    def _derive(self) -> None:
        """Forward chaining: rounds of matches all of whose premises are there."""
        firings = list(self._firings())
        made = {item for firing in firings for item in firing.added}
        users: dict[Item, list[_Firing]] = {}
        ready: list[_Firing] = []
        for firing in firings:
            if firing.joins is not None:
                self._joining.setdefault(firing.joins, []).append(firing)
            # What no rule makes is there from the beginning: leaves, and what the analysis finds.
            missing = {p for p in firing.premises if p in made and p not in self._original}
            firing.waiting = len(missing)
            for premise in missing:
                users.setdefault(premise, []).append(firing)
            if not missing:
                ready.append(firing)
        while ready:
            fresh: list[Item] = []
            for firing in ready:
                for item in firing.added:
                    if item not in self._by and item not in self._original:
                        self._by[item] = firing
                        fresh.append(item)
            ready = []
            for item in fresh:
                for firing in users.get(item, ()):
                    firing.waiting -= 1
                    if not firing.waiting:
                        ready.append(firing)

    def _firings(self) -> Iterator[_Firing]:
        for made, binding in self.recorder.matches(self.read):
            terms = _Terms(self._index, binding)
            for fact in made.structure:
                terms.read(fact)
            premises = tuple(terms.items)
            terms.items.clear()
            facts = tuple(dict.fromkeys(item for c in made.conditions for item in terms.facts(c)))
            terms.items.clear()
            roots = [terms.read(action[1]) for action in made.actions if action[0] == "union"]
            for action in made.actions:
                terms.read(action)
            added = tuple(item for item in terms.items if item not in premises)
            joins = roots[0] if roots and roots[0] is not None and not added else None
            firing = _Firing(made.rule, premises, added, facts, joins)
            for action in made.actions:
                for item in terms.facts(action[1]) if action[0] == "set" else ():
                    self._stating.setdefault(item, firing)
            if joins is not None and ("known", joins) not in facts:
                # A class that is joined with a number or a symbol is known from then on.
                self._stating.setdefault(("known", joins), firing)
            yield firing


_FACTS = ("known", "kind")
_JOINED = "joined"


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

    def facts(self, part: Any) -> Iterator[Item]:
        """The facts of classes that an expression reads: what is known of them, and their types."""
        if isinstance(part, list):
            if part[0] in _FACTS:
                if (c := self.read(part[1])) is not None:
                    yield part[0], c
                return
            for inner in part[1:]:
                yield from self.facts(inner)

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
