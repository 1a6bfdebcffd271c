"""How much a model's outputs answer to an error at each site, measured on some of the calibration data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from tcc.cost_models.roofline import Roofline
from tcc.diagnostics import TccError
from tcc.ir import covariance, probing, projecting, weight_probing, weighted
from tcc.ir.calibration import Observation
from tcc.ir.model import Model, tensor_type
from tcc.ir.probing import Rounding
from tcc.ir.projecting import Curve
from tcc.ir.weight_probing import Reweighted
from tcc.passes.base import Context
from tcc.rewrites.lossy import Offer
from tcc.rewrites.lossy._ranges import Candidate, Chosen, candidates
from tcc.rewrites.lossy._units import units

_OPERATIONS = 5e12
"""Arithmetic that a measurement may take; a core does it in about a minute."""
_LEAST_RUN = 2e7
"""Operations that a run counts as at least: a session costs time whatever it computes."""
_FEWEST, _MOST = 2, 16
"""Samples that several points of a curve want, and feeds that are looked at at most."""
_SURE = 8
"""Samples that there has to be time for, for every rounded weight to be measured by itself."""
Key = TypeVar("Key")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Answers:
    """What was measured: ``slopes`` of rounding errors by value, ``curves`` of truncation by the values at once.

    ``weights`` are the losses by rounded weights, where there was time for them. ``untold`` says that there are
    truncations, of which nothing was measured: slopes of rounding errors say nothing of them.
    """

    slopes: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[tuple[str, ...], Curve] = field(default_factory=dict)
    weights: Mapping[Reweighted, float] = field(default_factory=dict)
    untold: bool = False

    def losses(self, offer: Offer) -> dict[str, float]:
        """Each site's loss, in unexplained variance; the square of its error where nothing was measured of it."""
        measured = offer.measured
        return {site: self._loss(offer, site, error) + measured.get(site, 0.0) for site, error in offer.error.items()}

    def _loss(self, offer: Offer, site: str, error: float) -> float:
        if self.untold and _truncates(offer, site):
            return math.inf
        if (projection := offer.projections.get(site)) is not None and projection.values in self.curves:
            return self.curves[projection.values].loss(error)
        weight = offer.weights.get(site)
        if weight is not None and weight in self.weights:
            rest = max(0.0, error**2 - weight.square)
            return self._slope(offer.where.get(site, "")) * rest + self.weights[weight]
        parts = offer.spread.get(site) or ((offer.where.get(site, ""), error),)
        if _truncates(offer, site) and all((value,) in self.curves for value, _ in parts):
            return sum(self.curves[value,].loss(size) for value, size in parts)
        return sum(self._slope(value) * size**2 for value, size in parts)

    def _slope(self, value: str) -> float:
        """The slope at a value; where none was measured, as at most others, and no less than errors keep their size."""
        return self.slopes.get(value, self._usual)

    @cached_property
    def _usual(self) -> float:
        found = [slope for slope in self.slopes.values() if math.isfinite(slope)]
        return max(1.0, statistics.median(found)) if found else 1.0


def _truncates(offer: Offer, site: str) -> bool:
    """Whether a site's technique drops directions: where only some of its sites can be projected, those say most."""
    return site.partition(":")[0] in {each.partition(":")[0] for each in offer.projections}


@dataclass(frozen=True)
class Measuring:
    """Measures on part of the data; how much of it follows from the model's arithmetic, so that it is always the same.

    Args:
        model: the original.
        observed: what was seen of its values on all data.
        feeds: all data.
        varied: ``Judge.varied`` on all data.
        samples: how many samples there are in all feeds.
        context: of the pass.
        operations: of a run on one of the feeds.
        known: slopes that were measured before.
    """

    model: Model
    observed: Mapping[str, Observation]
    feeds: Sequence[Mapping[str, Any]]
    varied: Sequence[float]
    samples: int
    context: Context
    operations: float
    known: Mapping[str, float] = field(default_factory=dict)

    def answers(self, offer: Offer) -> Answers:
        """What the sites' losses follow from; nothing of what the probe models do not run."""
        # Slopes come first: where time ends, they are what most sites are told by.
        known = {value for each in offer.projections.values() for value in each.values}
        wanted = [
            value for site, value in offer.where.items() if value and not (value in known and _truncates(offer, site))
        ]
        wanted = [value for value in wanted if value not in self.known]
        slopes, weights = self._tried(lambda: self._slopes(wanted)), self._tried(lambda: self._weights(offer))
        curves = self._tried(lambda: self._curves(offer))
        return Answers({**self.known, **slopes}, curves, weights, untold=bool(offer.projections) and not curves)

    def _weights(self, offer: Offer) -> dict[Reweighted, float]:
        tried = list(dict.fromkeys(offer.weights.values()))
        if not tried or self._afforded(len(tried)) < self._with(_SURE):
            return {}
        feeds = self._part(len(tried), self.feeds)
        found = weight_probing.losses(self.model, tried, feeds, self.varied, self.context.threads)
        return dict(zip(tried, found, strict=False))

    def ranges(self) -> tuple[dict[str, Chosen], dict[str, float]]:
        """The best range of each value whose candidates are far apart, and the slopes of what kernels give.

        One probe model serves both; nothing of what it does not run. Slopes are what most sites are told by: they are
        measured before anything that takes longer.
        """
        recipe = self.context.target.quantization
        tried = candidates(self.model.graph, self.observed, recipe)
        every = [each for several in tried for candidate in several for each in candidate.roundings]
        given = [unit.output.name or "" for unit in units(self.model.graph, recipe)]
        given += [each.node.outputs[0].name or "" for each in weighted.find(self.model.graph)]
        given += [node.outputs[0].name or "" for node in self.model.graph if node.op_type == "Gather"]
        tapped = probing.taps(dict.fromkeys(given), self.observed)
        probes = every + [Rounding(tap.value, tap.step) for tap in tapped]
        if not probes:
            return {}, {}
        feeds = self._part(len(probes), self.feeds)
        lost = self._tried(
            lambda: dict(enumerate(probing.losses(self.model, probes, feeds, self.varied, self.context.threads)))
        )
        slopes = {tap.value: lost[i] / tap.error**2 for i, tap in enumerate(tapped, len(every)) if i in lost}
        return _chosen(tried, iter([lost.get(i, math.nan) for i in range(len(every))])), slopes

    def _tried(self, measure: Callable[[], dict[Key, Found]]) -> dict[Key, Found]:
        try:
            return measure()
        except TccError as error:
            self.context.log(f"sensitivities are not measured: {error.diagnostics[0].message}", 1)
            return {}

    def _slopes(self, values: Sequence[str]) -> dict[str, float]:
        tapped = probing.taps(dict.fromkeys(values), self.observed)
        return probing.slopes(
            self.model, tapped, self._part(len(tapped), self.feeds), self.varied, self.context.threads
        )

    def _curves(self, offer: Offer) -> dict[tuple[str, ...], Curve]:
        every = list(offer.projections.values())
        chosen = projecting.chosen(every, pairs=True)
        if round(self._afforded(len(chosen))) < self._with(_FEWEST):
            chosen = projecting.chosen(every, pairs=False)
        # Directions that were fitted to a sample lose less of it than of others.
        feeds = self._part(len(chosen), covariance.held_out(self.feeds) or self.feeds)
        return projecting.curves(
            chosen,
            projecting.losses(self.model, chosen, feeds, self.varied, self.context.threads),
        )

    def _part(self, probes: int, feeds: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        # Of a model so large that a sample takes long, one has to do: its rows are many samples of an error.
        return spread(feeds, max(1, min(round(self._afforded(probes)), _MOST)))

    def _with(self, samples: int) -> int:
        """Feeds with so many samples."""
        return max(1, math.ceil(samples * len(self.feeds) / max(1, self.samples)))

    def _afforded(self, probes: int) -> float:
        """Feeds that there is time for."""
        return _OPERATIONS / (max(self.operations, _LEAST_RUN) * (probes + 1))


def operations(model: Model, observed: Mapping[str, Observation], feeds: int, context: Context) -> float:
    """Of a run on one of the ``feeds`` that were seen, whatever the model's dimensions are called."""
    prices = Roofline(context.target, context.symbols)
    total = 0.0
    for node in model.graph:
        kind, seen = tensor_type(node.outputs[0]), observed.get(node.outputs[0].name or "")
        known = max(1, kind.elements(context.symbols)) if kind is not None else 1
        factor = seen.elements / feeds / known if seen is not None else 1.0
        total += prices.price_of(node).operations * factor
    return total


def _chosen(tried: Sequence[Sequence[Candidate]], lost: Iterator[float]) -> dict[str, Chosen]:
    """Of each group's candidates the one whose roundings lose least; their losses come in order."""
    found: dict[str, Chosen] = {}
    for several in tried:
        losses = [[next(lost) for _ in candidate.roundings] for candidate in several]
        sums = [sum(each) for each in losses]
        best = min(range(len(several)), key=lambda i: sums[i])
        if math.isfinite(sums[best]):
            for each, loss in zip(several[best].roundings, losses[best], strict=True):
                found[each.value] = Chosen(several[best].method, loss)
    return found


def spread(feeds: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """At most that many samples, evenly spread."""
    step = max(1, len(feeds) // count)
    return [feeds[i] for i in range(0, len(feeds), step)][:count]
