"""The e-graph read back as plain values: classes, their nodes, their facts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tcc.ir import facts, translated
from tcc.ir.engine import EGraph
from tcc.ir.facts import Known
from tcc.ir.translated import Operator
from tcc.ir.types import TensorType


@dataclass(frozen=True)
class ENode:
    """One way to compute a class: an operator, its attribute key, and the classes it reads.

    ``operator`` is an ONNX name, or ``value``, ``literal``, ``absent`` (leaves), ``opaque`` (a node carried
    through, whose key stands in ``attributes``) or ``project`` (output ``output`` of the class it reads).
    ``variant`` tells apart ways to run one node, none of which the engine knows.
    """

    operator: str
    attributes: str
    inputs: tuple[int, ...]
    output: int = 0
    variant: str = ""

    @property
    def order(self) -> tuple[str, str, tuple[int, ...], int]:
        """What nodes are sorted by."""
        return self.operator, self.attributes, self.inputs, self.output


@dataclass
class EClass:
    """Equal programs, and what is known of their value; ``numbers`` are the imported values in the class."""

    nodes: list[ENode] = field(default_factory=list)
    kind: TensorType | None = None
    known: Known | None = None
    constant: bool = False
    original_constant: bool = False
    several: bool = False
    numbers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    """A read-out of an e-graph; ``of[n]`` is the class of imported value ``n``."""

    classes: list[EClass]
    of: dict[int, int]

    @property
    def node_count(self) -> int:
        """Programs' nodes in all classes."""
        return sum(len(c.nodes) for c in self.classes)


class _Reader:
    """Turns rows of opaque egglog values into numbered classes."""

    def __init__(self, egraph: EGraph) -> None:
        self.bindings: Any = egraph.core
        self.functions: dict[str, Any] = self.bindings.freeze().functions
        self.classes: list[EClass] = []
        self.numbers: dict[Any, int] = {}
        self.lists: dict[Any, tuple[Any, Any] | None] = {}
        self.unrolled: dict[Any, tuple[int, ...]] = {}

    def rows(self, name: str) -> list[Any]:
        function = self.functions.get(name)
        return [] if function is None else [row for row in function.rows if not row.subsumed]

    def text(self, v: Any) -> str:
        return str(self.bindings.value_to_string(v))

    def class_of(self, v: Any) -> int:
        """The class's number: in the order of egglog's own."""
        return self.numbers[v]

    def number_classes(self, names: list[str]) -> None:
        found = {row.output for name in names for row in self.rows(name)}
        for v in sorted(found):
            self.numbers[v] = len(self.classes)
            self.classes.append(EClass())

    def list_of(self, v: Any) -> tuple[int, ...]:
        """A list of inputs as classes; long ones without recursion."""
        cells, at = [], v
        while at not in self.unrolled and (cell := self.lists[at]) is not None:
            cells.append((at, cell[0]))
            at = cell[1]
        tail = self.unrolled.get(at, ())
        for key, head in reversed(cells):
            tail = (self.class_of(head), *tail)
            self.unrolled[key] = tail
        return tail


@dataclass(frozen=True)
class ReadOut:
    """A frozen e-graph, and what else its engine holds in terms of it."""

    frozen: Frozen
    _reader: _Reader
    _place: Mapping[int, int]

    def rows(self, relation: str, kinds: Sequence[str]) -> list[tuple[Any, ...]]:
        """The rows of a relation, each cell as its kind says: ``class``, ``list`` of classes, ``text``, ``integer``."""
        return [
            tuple(self._cell(kind, cell) for kind, cell in zip(kinds, row.inputs, strict=True))
            for row in self._reader.rows(relation)
        ]

    def _cell(self, kind: str, cell: Any) -> Any:
        if kind == "text":
            return self._reader.text(cell)
        if kind == "integer":
            return self._reader.bindings.value_to_i64(cell)
        if kind == "list":
            return tuple(self._place[c] for c in self._reader.list_of(cell))
        return self._place[self._reader.class_of(cell)]

    def numbered(self, function: str) -> dict[int, int]:
        """The class that a constructor of one number gives for each."""
        number = self._reader.bindings.value_to_i64
        return {
            number(row.inputs[0]): self._place[self._reader.class_of(row.output)] for row in self._reader.rows(function)
        }

    def named(self, function: str) -> dict[str, int]:
        """The class that a constructor of one text gives for each."""
        return {
            self._reader.text(row.inputs[0]): self._place[self._reader.class_of(row.output)]
            for row in self._reader.rows(function)
        }

    def again(self, egraph: EGraph) -> ReadOut:
        """The same classes, with rows that were added since; no two classes may have become one."""
        self._reader.functions = egraph.core.freeze().functions
        return self


def freeze(egraph: EGraph) -> Frozen:
    """The classes of an e-graph that was made by ``import_graph``."""
    return read_out(egraph).frozen


def read_out(egraph: EGraph) -> ReadOut:
    """The classes of an e-graph, and a way to read what else it holds."""
    reader = _Reader(egraph)
    operators = translated.language().operators
    sizes = ["dimension", "dimension_scalar", "entry"]
    tensors = ["value", "literal", "absent", "project", *sizes, *(n for n, o in operators.items() if not o.several)]
    several = ["results_value", "opaque", *(n for n, o in operators.items() if o.several)]
    reader.number_classes([*tensors, *several])
    for row in reader.rows("cons"):
        reader.lists[row.output] = (row.inputs[0], row.inputs[1])
    for row in reader.rows("nil"):
        reader.lists[row.output] = None
    of = _read_leaves(reader)
    _read_operators(reader, operators)
    _read_facts(reader)
    place = _places(reader.classes)
    return ReadOut(_renumbered(reader.classes, of, place), reader, place)


def _places(classes: list[EClass]) -> dict[int, int]:
    """An order of the classes that depends on the model alone, not on the order in which egglog made them."""
    keys = _keys(classes)
    order = sorted(range(len(classes)), key=lambda c: (c not in keys, keys.get(c, "")))
    return {c: i for i, c in enumerate(order)}


def _renumbered(classes: list[EClass], of: dict[int, int], place: Mapping[int, int]) -> Frozen:
    """The same classes under the numbers of their places."""
    for eclass in classes:
        eclass.nodes = sorted(
            (ENode(n.operator, n.attributes, tuple(place[i] for i in n.inputs), n.output) for n in eclass.nodes),
            key=lambda node: node.order,
        )
    order = sorted(place, key=place.__getitem__)
    return Frozen([classes[c] for c in order], {number: place[c] for number, c in of.items()})


def _keys(classes: list[EClass]) -> dict[int, str]:
    """A name for each class: the first imported value in it, or a digest of the simplest way to compute it.

    Names are given in rounds, each class's from those given in earlier rounds, so that they follow from the
    graph alone. Two classes never get the same name: one node stands in one class.
    """
    keys = {c: f"0:{eclass.numbers[0]:09}" for c, eclass in enumerate(classes) if eclass.numbers}
    users: dict[int, set[int]] = {}
    for c, eclass in enumerate(classes):
        for node in eclass.nodes:
            for i in node.inputs:
                users.setdefault(i, set()).add(c)
    open_classes = {c for c in range(len(classes)) if c not in keys}
    while open_classes:
        named: dict[int, str] = {}
        for c in open_classes:
            ready = [node for node in classes[c].nodes if all(i in keys for i in node.inputs)]
            if ready:
                texts = (f"{n.operator}|{n.attributes}|{n.output}|{[keys[i] for i in n.inputs]}" for n in ready)
                named[c] = "1:" + hashlib.sha256(min(texts).encode()).hexdigest()
        if not named:
            break
        keys |= named
        open_classes = {u for c in named for u in users.get(c, ()) if u not in keys}
    return keys


def _read_leaves(reader: _Reader) -> dict[int, int]:
    of: dict[int, int] = {}
    for row in reader.rows("value"):
        number, c = reader.bindings.value_to_i64(row.inputs[0]), reader.class_of(row.output)
        of[number] = c
        reader.classes[c].numbers.append(number)
    for row in reader.rows("literal"):
        text = reader.text(row.inputs[0])
        reader.classes[reader.class_of(row.output)].nodes.append(ENode("literal", text, ()))
    for row in reader.rows("absent"):
        reader.classes[reader.class_of(row.output)].nodes.append(ENode("absent", "", ()))
    for eclass in reader.classes:
        eclass.numbers.sort()
    return of


def _read_operators(reader: _Reader, operators: Mapping[str, Operator]) -> None:
    for row in reader.rows("project"):
        node = ENode("project", "", (reader.class_of(row.inputs[0]),), reader.bindings.value_to_i64(row.inputs[1]))
        reader.classes[reader.class_of(row.output)].nodes.append(node)
    for row in reader.rows("opaque"):
        c = reader.classes[reader.class_of(row.output)]
        c.several = True
        c.nodes.append(ENode("opaque", reader.text(row.inputs[0]), reader.list_of(row.inputs[1])))
    for name, operator in operators.items():
        for row in reader.rows(name):
            c = reader.classes[reader.class_of(row.output)]
            c.several = operator.several
            *inputs, key = row.inputs
            read = reader.list_of(inputs[0]) if operator.variadic else tuple(map(reader.class_of, inputs))
            c.nodes.append(ENode(name, reader.text(key), read))


def _read_facts(reader: _Reader) -> None:
    for row in reader.rows("kind"):
        reader.classes[reader.class_of(row.inputs[0])].kind = facts.parse_kind(reader.text(row.output))
    for row in reader.rows("known"):
        reader.classes[reader.class_of(row.inputs[0])].known = facts.parse_known(reader.text(row.output))
    for row in reader.rows("constant"):
        reader.classes[reader.class_of(row.inputs[0])].constant = True
    for row in reader.rows("original_constant"):
        reader.classes[reader.class_of(row.inputs[0])].original_constant = True
