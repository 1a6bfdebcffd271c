"""One first factor for several products of one input, as query, key and value are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcc.ir.covariance import Moments
from tcc.rewrites.lossy import Offer
from tcc.rewrites.lossy import _low_rank_factors as factors
from tcc.rewrites.lossy._low_rank_forms import Stage, Typed, Writer
from tcc.rewrites.lossy._low_rank_layers import Layer


@dataclass(frozen=True)
class Shared:
    """The directions of products x [W1 W2 ...], each scaled to outputs of unit mean square.

    ``first`` [K, r] are the shared factors' columns, ``seconds`` each product's [r, N]; the leading k of both
    are the best of that rank. ``left`` [products, r] is the mean square of each product's outputs that each
    direction carries, ``energies`` that of the outputs as they are, ``mean`` [K] the inputs' mean.
    """

    first: np.ndarray
    seconds: tuple[np.ndarray, ...]
    carried: np.ndarray
    energies: np.ndarray
    mean: np.ndarray | None

    @classmethod
    def of(cls, group: list[Layer], half: np.ndarray, moments: Moments, *, centred: bool) -> Shared:
        """The shared directions of a group.

        Args:
            group: layers of one input.
            half: root of the inputs' second moment.
            moments: of the inputs.
            centred: whether biases take what the inputs' mean loses.
        """
        weights = [layer.matrix()[0] for layer in group]
        sizes = [float(np.sqrt(np.square(half @ weight).sum())) or 1.0 for weight in weights]
        scaled = np.hstack([weight / size for weight, size in zip(weights, sizes, strict=True)])
        _, vectors = factors.of_inputs(half, scaled)
        first = scaled @ vectors
        cuts = np.cumsum([weight.shape[1] for weight in weights])[:-1]
        seconds = [part.T * size for part, size in zip(np.split(vectors, cuts), sizes, strict=True)]
        energies = [_energy(layer, weight, moments) for layer, weight in zip(group, weights, strict=True)]
        # Directions of the joint outputs are uncorrelated, so that what each product gets of them adds up.
        carriers = np.square(half @ first).sum(axis=0)
        carried = np.stack([carriers * np.square(second).sum(axis=1) for second in seconds])
        single = [second.astype(np.float32) for second in seconds]
        mean = moments.mean if centred else None
        return cls(first.astype(np.float32), tuple(single), carried, np.array(energies), mean)

    def error(self, rank: int) -> float:
        """The products' relative L2 errors at a rank, together."""
        return float(np.sqrt(np.square(self.errors(rank)).sum()))

    def errors(self, rank: int) -> np.ndarray:
        """Each product's relative L2 error at a rank."""
        found: np.ndarray = np.sqrt(self.carried[:, rank:].sum(axis=1) / self.energies)
        return found

    def spectrum(self) -> factors.Spectrum:
        """As if it were one product: what ranks are chosen by."""
        values = (self.carried / self.energies[:, None]).sum(axis=0)
        return factors.Spectrum(values, np.empty((1, 0, len(values))), 1.0)


def _energy(layer: Layer, weight: np.ndarray, moments: Moments) -> float:
    bias = layer.uses[0].bias
    mean = moments.mean @ weight
    shift = 0.0 if bias is None else float(2.0 * bias @ mean + bias @ bias)
    return max(float(np.sum(weight * (moments.second @ weight))) + shift, np.finfo(float).tiny)


def share(made: Offer, group: list[Layer], shared: Shared) -> None:
    """Offer a group's shared first factor at a few ranks; one site stands for all of its products."""
    inner = group[0].size[0]
    columns = [layer.size[1] for layer in group]
    below = inner * sum(columns) / (inner + sum(columns))
    for rank in factors.ranks(shared.spectrum(), below, made.target.alignment):
        site = f"low-rank:{'+'.join(layer.name for layer in group)}@{rank}"
        first = np.ascontiguousarray(shared.first[:, :rank])
        stage = Stage("MatMul", lambda first=first: first, (inner, rank))  # type: ignore[misc]
        writer = Writer(made, group[0])
        number = writer.constant(stage, f"{group[0].name}_shared{rank}")
        at = writer.apply(stage, number, writer.source(group[0].uses[0]))
        for layer, second in zip(group, shared.seconds, strict=True):
            part = np.ascontiguousarray(second[:rank])
            _offer_part(Writer(made, layer), site, at, part, _bias(layer, shared, first, part))
        made.error[site] = shared.error(rank)
        results = [layer.uses[0].result.name or "" for layer in group]
        made.spread[site] = tuple(zip(results, map(float, shared.errors(rank)), strict=True))


def _offer_part(writer: Writer, site: str, at: Typed, part: np.ndarray, bias: np.ndarray | None) -> None:
    stage = Stage("MatMul", lambda: part, part.shape)
    number = writer.constant(stage, f"{writer.layer.name}_part{len(part)}")
    use = writer.layer.uses[0]
    writer.offer(site, use, writer.finish(use, stage, number, at, bias))


def _bias(layer: Layer, shared: Shared, first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    bias = layer.uses[0].bias
    if bias is None or shared.mean is None:
        return bias
    moved: np.ndarray = bias + shared.mean @ layer.matrix()[0] - (shared.mean @ first) @ second
    return moved
