"""One lossy program: alternatives offered, priced, chosen at a predicted loss, and written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import ModuleType
from typing import Any

from tcc.cost_models import energy
from tcc.cost_models.memory import Memory
from tcc.cost_models.roofline import Roofline, Summed, unaware
from tcc.diagnostics import Exit, TccError
from tcc.ir import deadline, emission, importing, problem, translated
from tcc.ir.calibration import Observation
from tcc.ir.fixed_sizes import with_made_up
from tcc.ir.frozen import Frozen, freeze
from tcc.ir.inference import Annotation
from tcc.ir.model import Model
from tcc.ir.naming import names_of_model
from tcc.ir.problem import Budgets, Edge, Problem, Weights
from tcc.ir.saturation import Limits, saturate
from tcc.passes._choosing import Choice, Choosing
from tcc.passes._kernel_tiles import write_tiles
from tcc.passes.base import Context
from tcc.rewrites import stored
from tcc.rewrites.lossy import Evidence, Offer, offered_for, techniques, unpacked
from tcc.rewrites.rule import made_by, relevant

PRICES, PROGRAM = "hardware-prices", "program"
PARTS = (PRICES, PROGRAM)
"""What can be left out besides techniques: the target's own prices (bit operations then), the integer program."""

_JOINING = frozenset({"cast_there_and_back", "cast_to_own_type"})
_MARGIN = 0.99
"""The part of a budget of bytes that the predicted file may take."""
_NODES = 3.0
"""How many times more nodes than its input a program of integers may have."""
_LOSS_PRICE = 0.1
"""What the whole loss budget is worth, as a part of the objective: accuracy is not given away for nothing."""
_OBJECTIVES = {
    "latency": Weights(1.0, 0.0, 0.0),
    "size": Weights(1e-9, 1.0, 0.0),
    "energy": Weights(1.0, ties=1e-18),
}
_WORTH = {"latency": problem.BYTES_PRICE, "energy": 1e-3}
"""What all bytes of a file are worth beside all its time, or all its energy: there, enough to tell equals apart."""


@dataclass
class Attempt:
    """The alternatives of one model, offered anew for each program: writing one uses the graph up.

    Args:
        model: is changed when the program is written.
        context: of the pass.
        found: what inference knows of the model.
        observed: what was seen of its values.
        evidence: for the techniques.
        wanted: techniques by name with their options; empty for all.
        objective: ``latency``, ``size`` or ``energy``.
        slower: whether the program may be predicted slower than without alternatives.
        without: what is left out, to see what it contributes: techniques, repairs, and ``PARTS``.
    """

    model: Model
    context: Context
    found: Annotation
    observed: Mapping[str, Observation]
    evidence: Evidence
    wanted: Mapping[str, Sequence[str]]
    objective: str
    slower: bool
    without: frozenset[str] = frozenset()
    offer: Offer = field(init=False)
    frozen: Frozen = field(init=False)
    loss_price: float = field(init=False, default=0.0)
    """What a loss of all counts for in the objective."""

    def __post_init__(self) -> None:
        graph, opset = self.model.graph, self.model.opset
        self.imported = importing.import_graph(graph, self.found)
        self.offer = Offer(
            self.imported, self.imported.tables.further(), self.context.target, opset, self.observed, [], {}, {}, {},
            self.evidence,
        )  # fmt: skip
        self.offer.offering, self.offer.without = self.offering, self.without
        for name in self.offering:
            self.offer.options = tuple(self.wanted.get(name, ()))
            self._take(name, techniques()[name])
        self.offer.tables.load(self.imported.egraph)
        # The graph was simplified before: of the exact rules only those are needed that join neighbours of one type.
        exact = tuple(r for r in stored() if r.name in _JOINING)
        chosen, operators = relevant(exact, frozenset(self.imported.operators), opset)
        saturate(
            self.imported.egraph, [r.text for r in chosen], translated.analysis_for(operators, made_by(chosen), opset),
            Limits(iterations=4),
        )  # fmt: skip
        self.frozen = freeze(self.imported.egraph)

    def _take(self, name: str, technique: ModuleType) -> None:
        """A technique's offer; what it could not find out in time it does not offer."""
        try:
            technique.offer(self.offer)
        except TccError as error:
            if not deadline.has_come(error):
                raise
            self.offer.declined[name] = error.diagnostics[0].message

    @cached_property
    def offering(self) -> tuple[str, ...]:
        """The techniques that are offered: those that were asked for, or all that fit the objective."""
        bounded = math.isfinite(self.context.max_bytes)
        fits = {name: offered_for(module, self.objective, bounded=bounded) for name, module in techniques().items()}
        return tuple(
            name for name in fits
            if name not in self.without and (name in self.wanted if self.wanted else fits[name])
        )  # fmt: skip

    @cached_property
    def _choosing(self) -> Choosing:
        target = self.context.target
        # Of the model as it came: what the choice makes of it must not move the prices of what it may choose.
        nbytes = self.evidence.model.parameter_bytes
        symbols = with_made_up(self.model, self.context.symbols)
        if self.objective == "energy" and PRICES not in self.without:
            # Joules stand in the place of seconds, in the budget of time too: what ships is held to time by measuring.
            return Choosing(self.imported, self.frozen, Summed(energy.in_joules(target), symbols, nbytes))
        priced = unaware(target) if PRICES in self.without else target
        prices = Roofline(priced, symbols, weights=nbytes)
        return Choosing(self.imported, self.frozen, prices)

    @cached_property
    def _in_memory(self) -> tuple[float, tuple[str, ...]]:
        """What weights may take for the budget of memory to be kept, and what does not make them smaller there.

        Inputs and outputs are held whatever the program: the rest is what weights may take at most. Where those of the
        input take more, what lies in the file is to be what is held.
        """
        if math.isinf(self.context.max_memory):
            return math.inf, ()
        memory = Memory(self.context.symbols)
        left = max(self.context.max_memory - memory.least(self.model), 0.0)
        if memory.peak(self.model).weights <= left:
            return math.inf, ()
        # The program's bytes are those of its nodes, too, which no kernel reads.
        return left + _NODES * self._choosing.node_bytes * len(self.imported.graph), unpacked()

    def _extract(self, built: Problem) -> Choice:
        return self._choosing.extract(built, self.context.seconds, program=PROGRAM not in self.without)

    def choose(self, loss: Mapping[str, float]) -> Choice:
        """The best program within the loss budget, no worse than the input in bytes, and in time unless ``slower``.

        Args:
            loss: of each site that may be used, in the unit of the budget.

        Raises:
            TccError: exit INFEASIBLE where not even the program without alternatives fits.
        """
        choosing, of = self._choosing, self.frozen.of
        # What may not be used, or breaks the budget alone, is no alternative.
        held, kept_out = self._in_memory
        usable = {
            site for site, lost in loss.items()
            if lost <= self.context.max_loss and site.partition(":")[0] not in kept_out
        }  # fmt: skip
        edges = [Edge(a.site, of[a.source], of[a.target]) for a in self.offer.alternatives if a.site in usable]
        weights, spent = _OBJECTIVES[self.objective], choosing.spent()
        plain = choosing.problem(weights, Budgets(nbytes=None))
        without = self._extract(plain).extraction
        if (worth := _WORTH.get(self.objective)) and spent.nbytes:
            weights = replace(weights, nbytes=worth * without.price.seconds / spent.nbytes)
        # The file's bytes are known to about a percent before it is written.
        most = min(spent.nbytes or math.inf, _MARGIN * self.context.max_bytes, held)
        budgets = replace(
            spent, nodes=None, nbytes=most, loss=self.context.max_loss,
            seconds=None if self.slower else without.price.seconds * (1 + 1e-9),
        )  # fmt: skip
        if self.context.max_loss:
            self.loss_price = _LOSS_PRICE * without.objective / self.context.max_loss
            weights = replace(weights, loss=self.loss_price)
        try:
            return self._extract(choosing.problem(weights, budgets, edges=edges, loss=loss))
        except TccError as error:
            if error.exit_code is not Exit.INFEASIBLE or most == spent.nbytes:
                raise
        # Nothing fits into so few bytes: the nearest that there is, for the user to see how near that comes.
        smallest = choosing.problem(_OBJECTIVES["size"], replace(budgets, nbytes=spent.nbytes), edges=edges, loss=loss)
        return self._extract(smallest)

    def emit(self, choice: Choice) -> None:
        """Write the chosen program into this attempt's own model."""
        names = names_of_model(self.model)
        values = emission.emit(self.imported, choice.frozen, choice.program, self.model.opset_imports, names)
        write_tiles(choice.tiles, values)

    def record(self, choice: Choice) -> dict[str, Any]:
        """Facts for the report."""
        found = choice.extraction
        return {
            "offered": len(self.offer.error),
            "declined": dict(sorted(self.offer.declined.items())),
            "sites": list(found.sites),
            "objective_value": found.objective,
            "bound": found.bound,
            "gap": found.gap,
            "method": found.method,
            "stopped": found.stopped,
        }
