"""Extraction: the best program of an e-graph, by a mixed-integer program that a greedy choice warm-starts."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from tcc.diagnostics import Exit, fail
from tcc.ir import program
from tcc.ir.problem import LOSSY, Candidate, Price, Problem

Choice = Mapping[int, Candidate]


@dataclass(frozen=True)
class Extraction:
    """A chosen program and what is proven about it.

    ``objective`` is the chosen program's, ``bound`` what no program of the same e-graph at the same prices
    can go below, ``greedy`` the objective of the greedy choice (None where it fits no budget); all in the
    objective's unit. ``stopped`` says that the solver's time ended first: another machine may choose another one.
    """

    choice: Choice
    price: Price
    objective: float
    bound: float
    greedy: float | None
    method: str
    sites: tuple[str, ...] = ()
    stopped: bool = False

    @property
    def gap(self) -> float:
        """How far above the best the program may at most be, relative to it; 0 is proven optimal."""
        return max(0.0, self.objective - self.bound) / abs(self.objective) if self.objective else 0.0


def extract(problem: Problem, *, original: Choice | None = None, seconds: float = 10.0) -> Extraction:
    """The best program within the budgets.

    Args:
        problem: the candidates, prices, objective and budgets.
        original: a program known to be there, such as the imported one, to be at least as good as.
        seconds: limit on the solver's time; at the limit the best program found so far is taken.

    Raises:
        TccError: exit INFEASIBLE where no program fits the budgets, or none was found in time.
    """
    starts: list[tuple[str, Choice]] = [("greedy", choice) for choice in [greedy(problem)] if choice is not None]
    # A greedy choice that breaks a budget is no program to compare with.
    baseline = problem.objective(starts[0][1]) if starts and problem.fits(starts[0][1]) else None
    if original is not None:
        starts.append(("original", original))
    fitting = [(problem.objective(choice), method, choice) for method, choice in starts if problem.fits(choice)]
    best = min(fitting, key=lambda item: item[0], default=None)
    solved = program.solve(problem, best[2] if best else None, seconds)
    if solved.choice is not None and problem.fits(solved.choice):
        objective = problem.objective(solved.choice)
        # The solver works to a tolerance: a start that is better by less than that must not be lost.
        if best is None or objective <= best[0]:
            best = (objective, solved.method, solved.choice)
    if best is None:
        raise fail(
            Exit.INFEASIBLE, "E0501", "no program of the model fits the budgets",
            help="allow more bytes, nodes, latency or loss",
        )  # fmt: skip
    objective, method, choice = best
    bound = min(solved.bound, objective)
    return Extraction(
        choice, problem.total(choice), objective, bound, baseline, method, problem.sites(choice), solved.stopped
    )


def extract_greedily(problem: Problem) -> Extraction:
    """A program within the budgets without the integer program: what the latter is compared with; nothing is proven.

    Lossy sites are admitted in the order of growing loss, as many as the budgets allow: what accuracy-aware
    quantisers do with their sensitivity order.

    Raises:
        TccError: exit INFEASIBLE where no such program fits the budgets.
    """
    order = sorted(problem.loss, key=lambda site: (problem.loss[site], site))
    best: tuple[float, Choice] | None = None
    low, high = 0, len(order)
    while low <= high:
        middle = (low + high + 1) // 2
        choice = greedy(problem, frozenset(order[:middle]))
        fits = choice is not None and problem.fits(choice)
        if choice is not None and fits:
            objective = problem.objective(choice)
            best = (objective, choice) if best is None or objective < best[0] else best
        low, high = (middle + 1, high) if fits else (low, middle - 1)
    if best is None:
        raise fail(Exit.INFEASIBLE, "E0501", "no greedy program of the model fits the budgets",
                   help="leave the integer program on")  # fmt: skip
    objective, chosen = best
    return Extraction(chosen, problem.total(chosen), objective, 0.0, objective, "greedy", problem.sites(chosen))


def greedy(problem: Problem, admitted: frozenset[str] = frozenset()) -> dict[int, Candidate] | None:
    """Each class's cheapest candidate, needs shared evenly among their users; None if a root has no program.

    A class is settled only after all that its candidate needs, so the choice is acyclic. Of the lossy candidates
    those of ``admitted`` sites compete.
    """

    def competes(candidate: Candidate) -> bool:
        return candidate.node.operator != LOSSY or candidate.node.attributes in admitted

    users: dict[int, list[tuple[int, Candidate]]] = {}
    for c, candidates in problem.candidates.items():
        for candidate in candidates:
            if not competes(candidate):
                continue
            for need in candidate.needs:
                users.setdefault(need, []).append((c, candidate))
    shares = {c: len({user for user, _ in found}) for c, found in users.items()}
    cost: dict[int, float] = {}
    choice: dict[int, Candidate] = {}
    waiting: dict[int, int] = {}
    heap: list[tuple[float, int, int, Candidate]] = []
    order = 0

    def offer(c: int, candidate: Candidate) -> None:
        nonlocal order
        total = problem.weights.of(candidate.price) + sum(cost[n] / shares[n] for n in candidate.needs)
        heapq.heappush(heap, (total, order, c, candidate))
        order += 1

    for c, candidates in problem.candidates.items():
        for candidate in candidates:
            waiting[id(candidate)] = len(candidate.needs)
            if not candidate.needs:
                offer(c, candidate)
    while heap:
        total, _, c, candidate = heapq.heappop(heap)
        if c in cost:
            continue
        cost[c], choice[c] = total, candidate
        for user, waiter in users.get(c, ()):
            waiting[id(waiter)] -= 1
            if waiting[id(waiter)] == 0 and user not in cost:
                offer(user, waiter)
    return choice if all(root in choice for root in problem.roots) else None
