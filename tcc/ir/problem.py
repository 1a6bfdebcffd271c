"""The choice that extraction makes: for each class its candidates, each with its price."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields

from tcc.ir.frozen import ENode, Frozen

STORED = "stored"
"""The operator of a candidate that keeps a constant's value in the file instead of computing it."""
LOSSY = "lossy"
"""The operator of a candidate that takes another class's program, at the loss of the site its key names."""
LEAF = ENode("value", "", ())
"""The candidate of an input of the graph, or of a value of an enclosing one: it is simply there."""
_FREE = frozenset({"absent"})


TIE = 1e-9
"""What a node that takes no time counts for beside seconds: one fewer is better, and no budget knows of it."""


@dataclass(frozen=True)
class Price:
    """What choosing a candidate adds: seconds of a run, bytes in the file, nodes in the graph, nodes without a time."""

    seconds: float = 0.0
    nbytes: float = 0.0
    nodes: float = 0.0
    ties: float = 0.0

    def no_more_than(self, other: Price) -> bool:
        """Whether this costs at most as much in every respect."""
        within = self.seconds <= other.seconds and self.nbytes <= other.nbytes
        return within and self.nodes <= other.nodes and self.ties <= other.ties


FREE = Price()
Pricer = Callable[[int, ENode], Price | None]
"""The price of a node in a class; None where the node may not be used (an operator illegal on the target)."""


BYTES_PRICE = 0.25
"""What all bytes of a file are worth beside all its latency: halving the file counts as an eighth of the time."""


@dataclass(frozen=True)
class Weights:
    """The objective: what a second, a byte, a node, the loss of a site and, in seconds, a tie count for."""

    seconds: float = 1.0
    nbytes: float = 0.0
    nodes: float = 0.0
    loss: float = 0.0
    ties: float = TIE

    def of(self, price: Price) -> float:
        """The price as one number."""
        timed = price.seconds + self.ties * price.ties
        return self.seconds * timed + self.nbytes * price.nbytes + self.nodes * price.nodes


@dataclass(frozen=True)
class Budgets:
    """Upper limits on the whole program; None is no limit. ``loss`` limits the sum over the sites used."""

    seconds: float | None = None
    nbytes: float | None = None
    nodes: float | None = None
    loss: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """One way to obtain a class: its node, what it costs, and the classes it needs."""

    node: ENode
    price: Price
    needs: tuple[int, ...]


@dataclass(frozen=True)
class Edge:
    """Class ``source`` may be computed as class ``target``, at the loss of ``site``."""

    site: str
    source: int
    target: int


@dataclass
class Problem:
    """What extraction solves; ``candidates`` holds the reachable classes, each with at least one candidate."""

    roots: tuple[int, ...]
    candidates: dict[int, list[Candidate]]
    weights: Weights
    budgets: Budgets = field(default_factory=Budgets)
    loss: Mapping[str, float] = field(default_factory=dict)

    def total(self, choice: Mapping[int, Candidate]) -> Price:
        """What a choice costs, shared classes paid once."""
        return _sum(choice[c].price for c in sorted(self.used(choice)))

    def total_of(self, forced: Collection[int]) -> Price:
        """What classes with one candidate each cost."""
        return _sum(self.candidates[c][0].price for c in sorted(forced))

    def is_free(self, c: int) -> bool:
        """Whether a class has one candidate that costs and needs nothing."""
        candidates = self.candidates[c]
        return len(candidates) == 1 and candidates[0].price == FREE and not candidates[0].needs

    def sites(self, choice: Mapping[int, Candidate]) -> tuple[str, ...]:
        """The sites whose loss a choice pays, each once."""
        nodes = [choice[c].node for c in sorted(self.used(choice))]
        return tuple(sorted({node.attributes for node in nodes if node.operator == LOSSY}))

    def used(self, choice: Mapping[int, Candidate]) -> set[int]:
        """The classes that a choice computes."""
        seen, stack = set(self.roots), list(self.roots)
        while stack:
            fresh = [c for c in choice[stack.pop()].needs if c not in seen]
            seen.update(fresh)
            stack.extend(fresh)
        return seen

    def objective(self, choice: Mapping[int, Candidate]) -> float:
        """The number that extraction minimises."""
        return self.weights.of(self.total(choice)) + self.weights.loss * sum(self.loss[s] for s in self.sites(choice))

    def fits(self, choice: Mapping[int, Candidate]) -> bool:
        """Whether a choice keeps all budgets."""
        total, limits = self.total(choice), self.budgets
        spent = [(total.seconds, limits.seconds), (total.nbytes, limits.nbytes), (total.nodes, limits.nodes)]
        spent.append((sum(self.loss[s] for s in self.sites(choice)), limits.loss))
        return all(limit is None or value <= limit * (1 + 1e-9) for value, limit in spent)


def _sum(prices: Iterable[Price]) -> Price:
    found = list(prices)
    return Price(*(sum(getattr(p, part.name) for p in found) for part in fields(Price)))


def build(
    frozen: Frozen,
    roots: Collection[int],
    price: Pricer,
    *,
    leaves: Collection[int],
    weights: Weights,
    budgets: Budgets | None = None,
    stored: Callable[[int], float | None],
    edges: Collection[Edge] = (),
    loss: Mapping[str, float] | None = None,
) -> Problem:
    """The choice among a frozen e-graph's programs for ``roots``.

    Args:
        frozen: the e-graph.
        roots: classes to be computed.
        price: of a node in its class.
        leaves: classes that are given: inputs of the graph, values of enclosing graphs.
        weights: the objective.
        budgets: limits on the whole program.
        stored: bytes of keeping a class as a constant; None where it cannot be.
        edges: lossy alternatives.
        loss: what each site loses.
    """
    options: dict[int, list[Candidate]] = {}
    outgoing: dict[int, list[Edge]] = {}
    for edge in edges:
        outgoing.setdefault(edge.source, []).append(edge)
    stack = list(roots)
    while stack:
        c = stack.pop()
        if c in options:
            continue
        options[c] = [LEAF_CANDIDATE] if c in leaves else _candidates(frozen, c, price, stored, outgoing.get(c, ()))
        stack.extend(n for candidate in options[c] for n in candidate.needs)
    problem = Problem(tuple(sorted(set(roots))), options, weights, budgets or Budgets(), loss or {})
    _drop_impossible(problem)
    _drop_dominated(problem)
    return problem


LEAF_CANDIDATE = Candidate(LEAF, FREE, ())


def _candidates(
    frozen: Frozen, c: int, price: Pricer, stored: Callable[[int], float | None], edges: Collection[Edge]
) -> list[Candidate]:
    eclass = frozen.classes[c]
    found: list[Candidate] = []
    lossy = [Candidate(ENode(LOSSY, e.site, (e.target,)), FREE, (e.target,)) for e in edges]
    if any(node.operator in _FREE for node in eclass.nodes):
        return [Candidate(ENode("absent", "", ()), FREE, ())]
    if (eclass.constant or eclass.original_constant) and (nbytes := stored(c)) is not None:
        # A few bytes are not worth deciding about, and would tie all their users into one decision.
        found.append(Candidate(ENode(STORED, "", ()), Price(nbytes=nbytes if nbytes > _NEGLIGIBLE else 0.0), ()))
        if eclass.original_constant or nbytes <= SMALL:
            return found + lossy
    for node in eclass.nodes:
        if node.operator == "literal" or c in node.inputs or (cost := price(c, node)) is None:
            continue
        found.append(Candidate(node, cost, tuple(dict.fromkeys(node.inputs))))
    return found + lossy


_NEGLIGIBLE = 64
"""Bytes up to which a stored constant is priced as nothing; a node takes more."""
SMALL = 512
"""Bytes up to which a constant is always stored: no node to compute it is smaller by much."""


def _drop_impossible(problem: Problem) -> None:
    """Drop candidates that need a class without any finite program, until none is left."""
    # Derivable from below: a class is possible once one candidate has only possible needs.
    possible: set[int] = set()
    users: dict[int, list[tuple[int, int]]] = {}
    missing: dict[tuple[int, int], int] = {}
    ready: list[int] = []
    for c, candidates in problem.candidates.items():
        for i, candidate in enumerate(candidates):
            missing[c, i] = len(candidate.needs)
            for need in candidate.needs:
                users.setdefault(need, []).append((c, i))
            if not candidate.needs:
                ready.append(c)
    while ready:
        c = ready.pop()
        if c in possible:
            continue
        possible.add(c)
        for user, i in users.get(c, ()):
            missing[user, i] -= 1
            if missing[user, i] == 0:
                ready.append(user)
    problem.candidates = {
        c: [candidate for candidate in candidates if all(n in possible for n in candidate.needs)]
        for c, candidates in problem.candidates.items()
        if c in possible
    }


def _drop_dominated(problem: Problem) -> None:
    """Drop candidates that cost no less and need no less than another one of their class."""
    free = {c for c, found in problem.candidates.items() if found and found[0].price == FREE and not found[0].needs}
    for c, candidates in problem.candidates.items():
        if len(candidates) < 2:
            continue
        needs = [frozenset(x.needs) - free for x in candidates]
        order = sorted(range(len(candidates)), key=lambda i: (len(needs[i]), problem.weights.of(candidates[i].price)))
        chosen: list[int] = []
        for i in order:
            candidate = candidates[i]
            if candidate.node.operator != LOSSY and any(
                needs[j] <= needs[i] and candidates[j].price.no_more_than(candidate.price)
                and candidates[j].node.operator != LOSSY for j in chosen
            ):  # fmt: skip
                continue
            chosen.append(i)
        problem.candidates[c] = [candidates[i] for i in sorted(chosen)]
