"""The mixed-integer program of extraction, solved by HiGHS."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any

import numpy as np

from tcc.ir import frontier, regions
from tcc.ir.problem import LOSSY, Candidate, Price, Problem
from tcc.ir.regions import Region

GAP = 1e-6
"""The relative gap at which HiGHS may stop."""
NODES = 2000
"""Nodes of the search tree at which HiGHS stops wherever it is: a limit that falls at the same program everywhere."""
SMALL_GAP = 1e-4
"""The relative gap at which the parts' answer is good enough not to solve the program as one."""


@dataclass(frozen=True)
class Solved:
    """The solver's answer: a choice (None if it found none), a proven lower bound, and how it was found.

    ``stopped`` says that the clock ended it: another machine may find another one.
    """

    choice: dict[int, Candidate] | None
    bound: float
    method: str
    stopped: bool = False


def solve(problem: Problem, start: Mapping[int, Candidate] | None, seconds: float) -> Solved:
    """Solve the program; where every class has one candidate there is nothing to solve and the bound is exact.

    Without a budget the undecided classes fall into parts that do not touch, each a small program. If their
    best choices together keep the budgets, they are the whole program's best. If they take too many bytes, a
    price on bytes (a Lagrange multiplier) is raised until they do: what the priced program costs, less the
    price of the budget, bounds the best from below. Only what is left after that is solved as one program.
    """
    region = regions.find(problem)
    if not region.contested:
        forced = {c: problem.candidates[c][0] for c in region.forced}
        return Solved(forced, problem.objective(forced) if problem.fits(forced) else -math.inf, "forced")
    best = Solved(None, -math.inf, "parts")
    if not problem.loss:
        best = _by_parts(problem, region, seconds)
        if best.choice is not None:
            objective = problem.objective(best.choice)
            if objective - best.bound <= SMALL_GAP * abs(objective):
                return best
            start = best.choice
    spent = problem.total_of(region.forced)
    whole = _Rows(problem, region, spent, limited=True).solve(start, seconds)
    bound, stopped = max(whole.bound, best.bound), whole.stopped or best.stopped
    if whole.choice is None or (
        best.choice is not None and problem.objective(best.choice) <= problem.objective(whole.choice)
    ):
        return Solved(best.choice, bound, best.method, stopped)
    return Solved(whole.choice, bound, whole.method, stopped)


def _by_parts(problem: Problem, region: Region, seconds: float) -> Solved:
    """The best choice that fits at some price of bytes, and the best bound of all prices tried."""
    lighter, region, trifles = regions.without_trifles(problem, region, GAP)
    parts = regions.parts(lighter, region)
    limit, best, bound = problem.budgets.nbytes, None, -math.inf
    low, high, step, stopped = 0.0, math.inf, 0.0, False
    for _ in range(_PRICES):
        priced = replace(lighter, weights=replace(problem.weights, nbytes=problem.weights.nbytes + step))
        solved = _solve_parts(priced, region, parts, seconds)
        if solved.choice is None:
            break
        bound, stopped = max(bound, solved.bound - step * (limit or 0.0)), stopped or solved.stopped
        choice = solved.choice | trifles
        if problem.fits(choice):
            if best is None or problem.objective(choice) < problem.objective(best):
                best = choice
            high = step
        else:
            low = step
        if (
            high == 0.0
            or limit is None
            or (best is not None and problem.objective(best) - bound <= SMALL_GAP * abs(bound))
        ):
            break
        if step == 0.0:
            step = problem.objective(choice) / limit
        else:
            step = step * _RAISE if high == math.inf else math.sqrt(max(low, high / _RAISE**4) * high)
    return Solved(best, bound, "milp", stopped)


_PRICES = 9
"""Prices of bytes that are tried."""
_RAISE = 8.0
"""What a price that is too low is multiplied by."""


def _solve_parts(problem: Problem, region: Region, parts: Sequence[Region], seconds: float) -> Solved:
    whole = {c: problem.candidates[c][0] for c in region.forced}
    spent = problem.total_of(region.forced)
    shared = problem.weights.of(spent)
    bound, stopped = shared, False
    for part in parts:
        found = frontier.cheapest(problem, part)
        if found is None:
            solved = _Rows(problem, part, spent, limited=False).solve(None, seconds)
            if solved.choice is None:
                return solved
            found, part_bound, stopped = solved.choice, solved.bound - shared, stopped or solved.stopped
        else:
            part_bound = sum(problem.weights.of(candidate.price) for candidate in found.values())
        whole.update(found)
        bound += part_bound
    return Solved(whole, bound, "milp", stopped)


@dataclass
class _Rows:
    """The program's columns (a boolean a candidate, then class order variables, then sites) and rows."""

    problem: Problem
    region: Region
    spent: Price
    """What the forced part costs."""
    limited: bool
    columns: list[tuple[int, Candidate]] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    integral: list[bool] = field(default_factory=list)
    rows: list[tuple[float, float, dict[int, float]]] = field(default_factory=list)
    of_class: dict[int, list[int]] = field(default_factory=dict)
    orders: dict[int, int] = field(default_factory=dict)
    sites: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem, region = self.problem, self.region
        # The unit makes the objective's numbers of order one, which the solver's tolerances are made for.
        costs = [problem.weights.of(x.price) for c in region.contested for x in problem.candidates[c]]
        self.unit = max([abs(x) for x in costs if x] or [1.0])
        for c in region.contested:
            for candidate in problem.candidates[c]:
                self.of_class.setdefault(c, []).append(len(self.columns))
                self.columns.append((c, candidate))
                self._column(problem.weights.of(candidate.price) / self.unit, 1.0, integral=True)
        self._choose()
        self._order()
        self._pay_sites()
        if self.sites:
            self._cut()
        if self.limited:
            self._limit()

    def _column(self, cost: float, upper: float, *, integral: bool) -> int:
        self.cost.append(cost)
        self.upper.append(upper)
        self.integral.append(integral)
        return len(self.cost) - 1

    def _choose(self) -> None:
        """An active class has one candidate; what a chosen candidate needs is active.

        A class needs another one at most once, whichever of its candidates is chosen: one row for all that need it
        says more to the relaxation than a row each.
        """
        for c in self.region.contested:
            row = dict.fromkeys(self.of_class[c], 1.0)
            self.rows.append((1.0, 1.0, row) if c in self.region.active else (0.0, 1.0, row))
            needing: dict[int, list[int]] = {}
            for column in self.of_class[c]:
                for need in self.columns[column][1].needs:
                    if need not in self.region.active:
                        needing.setdefault(need, []).append(column)
            for need, columns in needing.items():
                row = dict.fromkeys(self.of_class[need], 1.0)
                for column in columns:
                    row[column] = row.get(column, 0.0) - 1.0
                self.rows.append((0.0, math.inf, row))

    def _order(self) -> None:
        """Within a strongly connected component a class stands after what it needs."""
        for cycle in self.region.cycles:
            self._order_component(cycle)

    def _order_component(self, component: frozenset[int]) -> None:
        size = float(len(component))
        for c in sorted(component):
            self.orders[c] = self._column(0.0, size, integral=False)
        for c in sorted(component):
            if c in self.of_class:
                continue
            # A forced class of the component has one candidate: its order is unconditional.
            for need in self.problem.candidates[c][0].needs:
                if need in component and c in self.region.forced:
                    self.rows.append((1.0, math.inf, {self.orders[c]: 1.0, self.orders[need]: -1.0}))
        for column, (c, candidate) in enumerate(self.columns):
            for need in candidate.needs if c in component else ():
                if need in component:
                    row = {self.orders[c]: 1.0, self.orders[need]: -1.0, column: -(size + 1.0)}
                    self.rows.append((-size, math.inf, row))

    def _pay_sites(self) -> None:
        for column, (_, candidate) in enumerate(self.columns):
            if candidate.node.operator != LOSSY:
                continue
            site = candidate.node.attributes
            if site not in self.sites:
                # What breaks the budget alone, without bound perhaps, is out; as a number it would spoil the others.
                loss = self.problem.loss[site]
                affordable = not self.limited or loss <= self.problem.budgets.loss
                paid = self.problem.weights.loss * loss if affordable else 0.0
                self.sites[site] = self._column(paid / self.unit, float(affordable), integral=True)
            self.rows.append((0.0, math.inf, {self.sites[site]: 1.0, column: -1.0}))

    def _cut(self) -> None:
        """What every program computes in one form or another is computed in one of them.

        Integer solutions keep that anyway. The relaxation would rather split each operator between its forms and
        take half of what both need, level after level, until its bound says nothing.
        """
        column = {(c, id(candidate)): i for i, (c, candidate) in enumerate(self.columns)}
        for found in regions.forms(self.problem):
            places = [column.get((c, id(candidate))) for c, candidate in found]
            if None not in places:
                self.rows.append((1.0, math.inf, {place: 1.0 for place in places if place is not None}))

    def _limit(self) -> None:
        """The budgets, less what the forced part already spends."""
        problem, limits = self.problem, self.problem.budgets
        for name in ("seconds", "nbytes", "nodes"):
            limit = getattr(limits, name)
            if limit is None:
                continue
            spent = getattr(self.spent, name)
            row = {i: getattr(x.price, name) for i, (_, x) in enumerate(self.columns) if getattr(x.price, name)}
            if row:
                scale = max(abs(v) for v in row.values())
                self.rows.append((-math.inf, (limit - spent) / scale, {i: v / scale for i, v in row.items()}))
        if self.sites:
            row = {column: problem.loss[site] for site, column in self.sites.items() if self.upper[column]}
            self.rows.append((-math.inf, limits.loss, row))

    def solve(self, start: Mapping[int, Candidate] | None, seconds: float) -> Solved:
        """Hand the program to HiGHS and read its answer back."""
        import highspy

        solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        # One thread and a fixed seed: the same program has the same answer on every machine.
        for option, setting in {
            "output_flag": False, "threads": 1, "random_seed": 0, "time_limit": seconds, "mip_max_nodes": NODES,
            "mip_rel_gap": GAP, "mip_abs_gap": 1e-9,
        }.items():  # fmt: skip
            solver.setOptionValue(option, setting)
        if solver.passModel(self._model(highspy)) == highspy.HighsStatus.kError:
            message = "HiGHS refuses the program of extraction"
            raise RuntimeError(message)
        if start is not None and (values := self._start(start)) is not None:
            solution = highspy.HighsSolution()
            solution.col_value = values
            solver.setSolution(solution)
        solver.run()
        info = solver.getInfo()
        spent = self.problem.weights.of(self.spent)
        stopped = solver.getModelStatus() == highspy.HighsModelStatus.kTimeLimit
        bound = info.mip_dual_bound * self.unit + spent if math.isfinite(info.mip_dual_bound) else -math.inf
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return Solved(None, bound, "milp", stopped)
        return Solved(self._choice(list(solver.getSolution().col_value)), bound, "milp", stopped)

    def _model(self, highspy: Any) -> Any:
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self.cost), len(self.rows)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = (
            np.array(self.cost), np.zeros(len(self.cost)), np.array(self.upper),
        )  # fmt: skip
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[integral] for integral in self.integral]
        infinity = highspy.kHighsInf
        lp.row_lower_ = np.array([max(low, -infinity) for low, _, _ in self.rows])
        lp.row_upper_ = np.array([min(high, infinity) for _, high, _ in self.rows])
        matrix = lp.a_matrix_
        matrix.format_ = highspy.MatrixFormat.kRowwise
        matrix.num_col_, matrix.num_row_ = len(self.cost), len(self.rows)
        matrix.start_ = np.cumsum([0, *(len(row) for _, _, row in self.rows)])
        matrix.index_ = np.array([i for _, _, row in self.rows for i in row], dtype=np.int32)
        matrix.value_ = np.array([v for _, _, row in self.rows for v in row.values()])
        return lp

    def _start(self, start: Mapping[int, Candidate]) -> list[float] | None:
        """The start as column values; None where it uses a candidate that was dropped as dominated."""
        used = self.problem.used(start)
        # A class that this part orders but the start does not use needs no place.
        values = [0.0] * len(self.cost)
        columns = {id(candidate): i for i, (_, candidate) in enumerate(self.columns)}
        for c in used & self.of_class.keys():
            if id(start[c]) not in columns:
                return None
            values[columns[id(start[c])]] = 1.0
        depth: dict[int, int] = {}
        for c in TopologicalSorter({c: start[c].needs for c in sorted(used)}).static_order():
            inside = [n for n in start[c].needs if n in self.orders and c in self.orders]
            depth[c] = max((depth[n] + 1 for n in inside), default=0)
            if c in self.orders:
                values[self.orders[c]] = float(depth[c])
        for site in self.problem.sites(start):
            if site in self.sites:
                values[self.sites[site]] = 1.0
        return values

    def _choice(self, values: list[float]) -> dict[int, Candidate]:
        choice = {c: self.problem.candidates[c][0] for c in self.region.forced}
        for value, (c, candidate) in zip(values, self.columns, strict=False):
            if value > 0.5:  # a boolean, up to the solver's tolerance
                choice[c] = candidate
        return choice
