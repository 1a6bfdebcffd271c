"""Solves a part of an extraction exactly, class by class: what counts is which classes are still asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from tcc.ir.problem import Candidate, Problem
from tcc.ir.regions import Region

_STATES = 4096
"""Sets of classes asked for at once beyond which a part is the solver's."""
_WAYS = 1024
"""The same of the choices of the classes on one cycle: all are tried, for each set of them that is asked for."""
_GRAIN = 2.0**60
"""The parts of the largest cost that are told apart: as whole numbers they add up to the same in any order."""

_TRIALS = 2_000_000
"""All choices tried of all classes: classes of thousands of candidates are work even where few sets are open."""

Picks = tuple[tuple[int, Candidate], ...]
Option = tuple[int, int, Picks]
"""What it costs to compute some classes in one way, the classes that are asked for then, and the way."""
Back = tuple["Back", Picks] | None
"""The ways taken so far, the last one first."""


def cheapest(problem: Problem, part: Region) -> dict[int, Candidate] | None:
    """The cheapest choice of a part; of equally cheap ones always the same. None where the part is too wide.

    Classes are settled after all that may ask for them, those of a cycle together. Choices that leave the same classes
    asked for have the same future, so that only the cheapest of them is kept: a dynamic program over the frontier
    of the graph, whose width, not its size, decides how much there is to keep. The width of a layer is small.
    """
    return _Frontier(problem, part).solve()


@dataclass
class _Frontier:
    problem: Problem
    part: Region
    known: dict[tuple[int, int], list[Option]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        contested = self.part.contested
        self.bit = {c: 1 << i for i, c in enumerate(contested)}
        of = self.problem.weights.of
        costs = {id(k): of(k.price) for c in contested for k in self.problem.candidates[c]}
        unit = max(map(abs, costs.values()), default=0.0) or 1.0
        self.cost = {key: round(cost / unit * _GRAIN) for key, cost in costs.items()}

    def solve(self) -> dict[int, Candidate] | None:
        """The cheapest choice."""
        if any(prod(len(self.problem.candidates[c]) for c in unit) > _WAYS for unit in self.units if len(unit) > 1):
            return None
        asked = self._bits(c for c in self.part.contested if c in self.part.active)
        states: dict[int, tuple[int, Back]] = {asked: (0, None)}
        tried = 0
        for number in self._order():
            unit = self._bits(self.units[number])
            following: dict[int, tuple[int, Back]] = {}
            for state, (cost, back) in states.items():
                options = self._options(number, state & unit)
                tried += len(options)
                if tried > _TRIALS:
                    return None
                for more, needs, picks in options:
                    key, total = state & ~unit | needs, cost + more
                    if key not in following or total < following[key][0]:
                        following[key] = total, (back, picks) if picks else back
            if len(following) > _STATES:
                return None
            states = following
        choice: dict[int, Candidate] = {}
        back = states[0][1] if 0 in states else None
        while back is not None:
            choice.update(back[1])
            back = back[0]
        return choice if 0 in states else None

    @cached_property
    def units(self) -> list[tuple[int, ...]]:
        """The classes that are settled together: those of a cycle."""
        inside = set(self.part.contested)
        together = [tuple(sorted(cycle & inside)) for cycle in self.part.cycles]
        alone = inside.difference(*together)
        return sorted([*together, *((c,) for c in alone)])

    def _bits(self, classes: Iterator[int] | Sequence[int]) -> int:
        return sum(self.bit[c] for c in classes)

    def _order(self) -> list[int]:
        """The units, each after all that may ask for it: of some such orders the one that keeps the fewest open."""
        place = {c: i for i, unit in enumerate(self.units) for c in unit}
        needs = [
            {place[n] for c in unit for k in self.problem.candidates[c] for n in k.needs if n in place} - {i}
            for i, unit in enumerate(self.units)
        ]
        return min((_ordered(needs, staying=staying) for staying in (False, True)), key=lambda found: found[0])[1]

    def _options(self, number: int, asked: int) -> list[Option]:
        """The ways to compute those classes of a unit that are asked for."""
        if not asked:
            return [(0, 0, ())]
        if (number, asked) not in self.known:
            unit = self.units[number]
            made = self._alone(unit[0]) if len(unit) == 1 else self._together(number, asked)
            self.known[number, asked] = made
        return self.known[number, asked]

    def _alone(self, c: int) -> list[Option]:
        cycle = self._cycles.get(c, {})
        return [
            (self.cost[id(k)], self._needs(k), ((c, k),))
            for k in self.problem.candidates[c]
            if not cycle or _is_acyclic({**cycle, c: k.needs})
        ]

    def _together(self, number: int, asked: int) -> list[Option]:
        """All choices of a cycle's classes in which none is computed of itself."""
        unit = self.units[number]
        cycle, within = self._cycles[unit[0]], self._bits(unit)
        made: list[Option] = []
        waiting: list[tuple[int, int, Picks]] = [(0, asked, ())]
        while waiting:
            cost, wanted, picks = waiting.pop()
            settled = dict(picks)
            c = next((c for c in unit if self.bit[c] & wanted and c not in settled), None)
            if c is None:
                made.append((cost, wanted & ~within, picks))
                continue
            needs = cycle | {d: k.needs for d, k in picks}
            waiting.extend(
                (cost + self.cost[id(k)], wanted | self._needs(k), (*picks, (c, k)))
                for k in reversed(self.problem.candidates[c])
                if _is_acyclic({**needs, c: k.needs})
            )
        return made

    @cached_property
    def _cycles(self) -> dict[int, dict[int, tuple[int, ...]]]:
        """For each class on a cycle what the decided ones of it need: all programs compute these."""
        fixed = self.part.forced
        return {
            c: {d: self.problem.candidates[d][0].needs for d in sorted(cycle & fixed)}
            for cycle in self.part.cycles
            for c in cycle
        }

    def _needs(self, candidate: Candidate) -> int:
        return self._bits([n for n in candidate.needs if n in self.bit])


def _ordered(needs: Sequence[set[int]], *, staying: bool) -> tuple[int, list[int]]:
    """Units after all that need them, those first that open the fewest; how many are open at most, and the order.

    Args:
        needs: of each unit, the units that it may need.
        staying: what has been opened is followed before anything else is begun. Layers that always compute their
            outputs can all be begun at once, which is as wide as there are layers.
    """
    users = [0] * len(needs)
    for found in needs:
        for n in found:
            users[n] += 1
    ready, opened, order = [i for i, count in enumerate(users) if not count], set[int](), list[int]()
    widest = 0
    while ready:
        chosen = min(ready, key=lambda i: (staying and i not in opened, len(needs[i] - opened) - (i in opened), i))
        ready.remove(chosen)
        order.append(chosen)
        opened |= needs[chosen]
        opened.discard(chosen)
        widest = max(widest, len(opened))
        for n in sorted(needs[chosen]):
            users[n] -= 1
            if not users[n]:
                ready.append(n)
    return widest, order


def _is_acyclic(needs: Mapping[int, Sequence[int]]) -> bool:
    """Whether none of these classes is computed of itself."""
    left = dict(needs)
    while free := [c for c, found in left.items() if not any(n in left for n in found)]:
        for c in free:
            del left[c]
    return not left
