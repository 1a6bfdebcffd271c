"""Low rank: matrix products, convolutions and embeddings as chains of thinner ones, in the directions that data use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from tcc.diagnostics import TccError
from tcc.ir import covariance, turns
from tcc.ir.covariance import Moments, Tap
from tcc.rewrites.lossy import Evidence, Offer
from tcc.rewrites.lossy import _low_rank_factors as factors
from tcc.rewrites.lossy import _low_rank_windows as windows
from tcc.rewrites.lossy._low_rank_forms import Form, Writer, projected, projection
from tcc.rewrites.lossy._low_rank_layers import Layer, find, siblings
from tcc.rewrites.lossy._low_rank_shared import Shared, share

_OPERATIONS, _FEWEST = 1e12, 32
"""Arithmetic that the runs of a fit may take, some ten seconds of a core, and feeds that are taken in any case."""
DATA_FREE = "data-free"
"""The option that allows truncation by the weights alone: ``low-rank:data-free``."""
_Known = Mapping[Tap, Moments]


def offer(made: Offer) -> None:
    """Offer each large constant matrix at a few ranks, by what the calibration data say its outputs carry."""
    blind = DATA_FREE in made.options
    if not made.evidence.calibrated and not blind:
        made.declined["low-rank"] = f"no calibration data; low-rank:{DATA_FREE} truncates by the weights alone"
        return
    layers = find(made)
    kept = made.evidence.kept
    if ("low-rank", blind) not in kept:
        measuring = _Measuring(made, layers)
        kept["low-rank", blind] = measuring.measured
        try:
            # The decompositions' last bits depend on the number of threads.
            with threadpool_limits(1, user_api="blas"):
                measuring.blind() if blind else measuring.run()
        except TccError as error:
            # The layers that were measured by then are offered.
            made.declined["low-rank"] = error.diagnostics[0].message
    found: Measured = kept["low-rank", blind]
    for layer in layers:
        _offer_layer(made, layer, found)
    for group in siblings(layers):
        if shared := found.shared.get(tuple(layer.name for layer in group)):
            share(made, group, shared)


@dataclass
class Measured:
    """What the data say, by layers' names: kept from one program of a pass to the next."""

    spectra: dict[str, tuple[factors.Spectrum, list[np.ndarray | None]]] = field(default_factory=dict)
    shared: dict[tuple[str, ...], Shared] = field(default_factory=dict)
    forms: dict[str, list[Form]] = field(default_factory=dict)


def _key(layer: Layer) -> str:
    return f"{layer.kind}:{layer.name}:{[use.node.name for use in layer.uses]}"


def _offer_layer(made: Offer, layer: Layer, found: Measured) -> None:
    if _key(layer) not in found.spectra:
        made.declined[f"low-rank:{layer.name}"] = "no finite moments of its data were measured"
        return
    spectrum, means = found.spectra[_key(layer)]
    inner, columns = layer.size
    ranks = factors.ranks(spectrum, inner * columns / (inner + columns), made.target.alignment)
    if not ranks and not found.forms.get(_key(layer)):
        made.declined[f"low-rank:{layer.name}"] = "no rank that makes it smaller keeps its outputs"
    writer = Writer(made, layer)
    pairs = [projected(layer, spectrum, rank, means) for rank in ranks]
    kept = {form.name: projection(layer, spectrum, rank, means) for form, rank in zip(pairs, ranks, strict=True)}
    for form in windows.undominated(pairs + found.forms.get(_key(layer), [])):
        site = f"low-rank:{layer.name}@{form.name}"
        writer.write(site, form)
        if (truncation := kept.get(form.name)) is not None:
            made.projections[site] = truncation


@dataclass
class _Job:
    """Something to be computed as soon as its taps are measured."""

    taps: tuple[Tap, ...]
    run: Callable[[_Known], None]


@dataclass
class _Measuring:
    """Measures the layers' second moments and decomposes them, holding no moment longer than it is needed."""

    made: Offer
    layers: list[Layer]
    measured: Measured = field(default_factory=Measured)

    def blind(self) -> None:
        """The spectra of the weights alone."""
        for layer in self.layers:
            spectrum = factors.plain(layer.matrix())
            self.measured.spectra[_key(layer)] = spectrum, [None] * len(layer.uses)

    def run(self) -> None:
        """The spectra of the layers on the data; raises at the deadline, with what there is by then in ``measured``."""
        if self.made.opset < covariance.FIRST_OPSET:
            return
        jobs = [self._job(layer) for layer in self.layers]
        jobs += [_Job((group[0].input_tap(group[0].uses[0]),), self._sharing(group)) for group in siblings(self.layers)]
        self._stream(jobs)
        self._stream([job for layer in self.layers if (job := self._window(layer)) is not None], windows.ROWS)

    def _window(self, layer: Layer) -> _Job | None:
        tap, patches = windows.window_tap(layer), windows.geometry(layer)
        if tap is None or patches is None or _key(layer) not in self.measured.spectra:
            return None
        spectrum, _ = self.measured.spectra[_key(layer)]

        def run(held: _Known) -> None:
            seen = windows.Windows(layer, patches, held[tap], spectrum, self.made.target.alignment)
            self.measured.forms[_key(layer)] = windows.undominated(
                [form for form in seen.forms() if form.error <= factors.ERRORS[-1]]
            )

        return _Job((tap,), run)

    def _stream(self, jobs: list[_Job], rows: int | None = None) -> None:
        for _ in turns.mapped(lambda run: run(), self._ready(jobs, rows), self.made.evidence.threads):
            pass

    def _ready(self, jobs: list[_Job], rows: int | None) -> Iterator[Callable[[], None]]:
        """What can be computed, as soon as it can."""
        evidence, held = self.made.evidence, dict[Tap, Moments]()
        waiting = list(jobs)
        taps, feeds = dict.fromkeys(tap for job in jobs for tap in job.taps), _afforded(evidence)
        for tap, moments in covariance.stream(evidence.model, taps, feeds, rows=rows, threads=evidence.threads):
            held[tap] = moments
            for job in [job for job in waiting if all(tap in held for tap in job.taps)]:
                yield partial(job.run, {tap: held[tap] for tap in job.taps})
                waiting.remove(job)
            needed = {tap for job in waiting for tap in job.taps}
            held = {tap: found for tap, found in held.items() if tap in needed}

    def _job(self, layer: Layer) -> _Job:
        """By the smaller side: of x with K columns, or of y with N."""
        inner, columns = layer.size
        has_siblings = any(layer in group for group in siblings(self.layers))
        kept = any(use.kept is not None for use in layer.uses)
        if layer.pointwise and (inner < columns or has_siblings or kept):
            taps = tuple(layer.input_tap(use) for use in layer.uses)
            return _Job(taps, lambda held: self._by_inputs(layer, [held[tap] for tap in taps]))
        taps = tuple(layer.output_tap(use) for use in layer.uses)
        return _Job(taps, lambda held: self._by_outputs(layer, [held[tap] for tap in taps]))

    def _by_inputs(self, layer: Layer, moments: list[Moments]) -> None:
        weight = layer.matrix()[0]
        half = factors.root(pooled_inputs(layer, moments))
        means = [m.mean @ weight for m in moments]
        energy = sum(
            float(np.sum(weight * (m.second @ weight))) + _shifted(mean, use.bias)
            for m, mean, use in zip(moments, means, layer.uses, strict=True)
        ) / len(moments)
        spectrum = factors.joined([factors.of_inputs(half, weight)], energy)
        self.measured.spectra[_key(layer)] = spectrum, list(means)

    def _by_outputs(self, layer: Layer, moments: list[Moments]) -> None:
        weights = layer.matrix()
        rows = sum(m.rows for m in moments)
        pooled = sum(m.rows / rows * (m.covariance if _centred(layer) else m.second) for m in moments)
        count = _effective(moments)
        columns = layer.size[1]
        parts = []
        for i, weight in enumerate(weights):
            block = slice(i * columns, (i + 1) * columns)
            parts.append(factors.of_outputs(factors.shrunk(np.asarray(pooled)[block, block], weight.T @ weight, count)))
        # A MatMul is measured before its bias is added, the others after it.
        after = layer.kind not in {"matmul", "left", "gather"}
        energy = sum(
            float(np.trace(m.second)) + (0.0 if after else _shifted(m.mean, use.bias))
            for m, use in zip(moments, layer.uses, strict=True)
        ) / len(moments)
        means = [m.mean - use.bias if after and use.bias is not None else m.mean
                 for m, use in zip(moments, layer.uses, strict=True)]  # fmt: skip
        self.measured.spectra[_key(layer)] = factors.joined(parts, energy), list(means)

    def _sharing(self, group: list[Layer]) -> Callable[[_Known], None]:
        names = tuple(layer.name for layer in group)
        tap = group[0].input_tap(group[0].uses[0])

        def run(held: _Known) -> None:
            moments = held[tap]
            centred = all(_centred(layer) for layer in group)
            second = moments.covariance if centred else moments.second
            half = factors.root(factors.shrunk(second, np.eye(len(second)), _effective([moments])))
            self.measured.shared[names] = Shared.of(group, half, moments, centred=centred)

        return run


def _afforded(evidence: Evidence) -> Sequence[Mapping[str, Any]]:
    """The feeds that layers are fitted to: of a large model no more than there is time for, from all over."""
    feeds = covariance.fitted(evidence.feeds)
    count = max(_FEWEST, int(_OPERATIONS / evidence.operations)) if evidence.operations else len(feeds)
    return covariance.spread(feeds)[:count] if count < len(feeds) else feeds


def pooled_inputs(layer: Layer, moments: list[Moments]) -> np.ndarray:
    """The second moment of a layer's inputs over all its uses, about the mean where biases take the mean's part."""
    rows = sum(m.rows for m in moments)
    pooled = sum(m.rows / rows * (m.covariance if _centred(layer) else m.second) for m in moments)
    second = np.asarray(pooled)
    return factors.shrunk(second, np.eye(len(second)), _effective(moments))


def _centred(layer: Layer) -> bool:
    return all(use.bias is not None for use in layer.uses)


def _effective(moments: list[Moments]) -> float:
    """How many independent rows there are: between the samples and the rows, which a sample's neighbours repeat."""
    return float(np.sqrt(sum(m.rows for m in moments) * float(sum(m.samples for m in moments))))


def _shifted(mean: np.ndarray, bias: np.ndarray | None) -> float:
    """What adding a bias adds to the mean square of outputs with this mean."""
    return 0.0 if bias is None else float(2.0 * bias @ mean + bias @ bias)
