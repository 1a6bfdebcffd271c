"""Factorings of convolutions with windows: spatial, Tucker-2 and CP, each refitted to what the windows see.

A window's values x [D = C kh kw] give the outputs x W. A chain computes x P B instead, where P holds what its first
stages compute of the window and B its last: given P, the best B solves P^T G P B = P^T G W with the windows' second
moment G. So every chain here ends in a regression, and its error is the regression's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from tcc.ir.attributes import Plain
from tcc.ir.covariance import Moments, Patches, Tap
from tcc.ir.model import tensor_type
from tcc.rewrites.lossy import _low_rank_factors as factors
from tcc.rewrites.lossy._low_rank_factors import Spectrum
from tcc.rewrites.lossy._low_rank_forms import Form, Stage
from tcc.rewrites.lossy._low_rank_layers import Layer

WIDEST = 2304
"""Values of the largest window that is measured: 256 channels of 3 x 3."""
ROWS = 64
"""Windows that are looked at for each value of a window."""
_SWEEPS = 12
"""Sweeps of alternating least squares; CP moves little after them."""
_PLANE = 2


def geometry(layer: Layer) -> Patches | None:
    """How a layer's windows lie; None where it has none, or where their padding depends on the input's size."""
    use = layer.uses[0]
    kernel = layer.shape[2:]
    if layer.kind != "conv" or layer.groups != 1 or int(np.prod(kernel)) == 1 or len(layer.uses) != 1:
        return None
    if layer.plain.get("auto_pad", "NOTSET") not in {"NOTSET", "VALID"} or use.bias is None:
        return None
    rank = len(kernel)

    def integers(name: str, default: list[int]) -> tuple[int, ...]:
        return tuple(int(i) for i in layer.plain.get(name, default))  # type: ignore[union-attr]

    return Patches(
        tuple(kernel), integers("strides", [1] * rank), integers("pads", [0] * 2 * rank),
        integers("dilations", [1] * rank),
    )  # fmt: skip


def window_tap(layer: Layer) -> Tap | None:
    """Where a layer's windows are measured; None where it has none or they are too large."""
    patches, kind = geometry(layer), tensor_type(layer.uses[0].source)
    if patches is None or kind is None or kind.rank is None or layer.size[0] > WIDEST:
        return None
    return Tap(layer.uses[0].source.name or "", 1, kind.rank, layer.size[0], kind.dtype, patches)


@dataclass(frozen=True)
class Seen:
    """What first stages P [D, p] leave of the windows: P^T G P [p, p], P^T G W [p, M], P^T m [p]."""

    gram: np.ndarray
    cross: np.ndarray
    mean: np.ndarray


@dataclass(frozen=True)
class Windows:
    """A convolution and the moments of what its windows see; ``outputs`` is the spectrum of its outputs."""

    layer: Layer
    patches: Patches
    moments: Moments
    outputs: Spectrum
    alignment: int

    @cached_property
    def weight(self) -> np.ndarray:
        """[D, M]."""
        matrix: np.ndarray = self.layer.matrix()[0]
        return matrix

    @cached_property
    def gram(self) -> np.ndarray:
        """The windows' covariance [D, D], as far as their number lets it be known."""
        count = float(np.sqrt(self.moments.rows * self.moments.samples))
        return factors.shrunk(self.moments.covariance, np.eye(len(self.weight)), count)

    @cached_property
    def cross(self) -> np.ndarray:
        """G W, [D, M]."""
        product: np.ndarray = self.gram @ self.weight
        return product

    @property
    def channels(self) -> int:
        """C."""
        return self.layer.shape[1]

    @property
    def positions(self) -> int:
        """Values of a window in one channel."""
        return int(np.prod(self.patches.kernel))

    def forms(self) -> list[Form]:
        """All chains, at a few ranks each."""
        found = list(self._narrowed())
        if len(self.patches.kernel) == _PLANE and min(self.patches.kernel) > 1:
            found += self._spatial()
            found += self._cp(found)
        return found

    @cached_property
    def _whole(self) -> float:
        """What the outputs hold: the trace of W^T G W."""
        return float(np.sum(self.weight * self.cross))

    def _seen(self, first: np.ndarray, count: int) -> Seen:
        """What a first stage ``first`` [D / count, p] sees, the same at each of ``count`` positions: P = first x I.

        The positions' identity is never multiplied out: that would cost ``count`` times as much.
        """
        groups, rank = first.shape
        half = (first.T @ self.gram.reshape(groups, -1)).reshape(rank * count, groups, count)
        gram = np.tensordot(half, first, (1, 0)).transpose(0, 2, 1)
        cross = (first.T @ self.cross.reshape(groups, -1)).reshape(rank * count, -1)
        mean = (first.T @ self.moments.mean.reshape(groups, -1)).reshape(-1)
        return Seen(gram.reshape(rank * count, rank * count), cross, mean)

    def _form(self, name: str, lost: float, mean: np.ndarray, stages: tuple[Stage, ...], full: int) -> Form:
        """A chain by the mean square that it loses and its mean outputs [M], the bias left out.

        ``full`` of its multiply-accumulates are at the input's resolution.
        """
        bias = self.layer.uses[0].bias
        assert bias is not None
        work = sum(stage.size for stage in stages) + full * (int(np.prod(self.patches.strides)) - 1)
        gap = self.moments.mean @ self.weight - mean
        return Form(name, stages, (bias + gap,), self._relative(lost), float(work))

    def _relative(self, lost: float) -> float:
        """The relative L2 error of outputs that lose this of their mean square."""
        energy = self.outputs.energy
        return float(np.sqrt(max(0.0, lost) / energy)) if energy > 0 else 0.0

    def _lost(self, seen: Seen, last: np.ndarray) -> float:
        """What is lost of the outputs' mean square by what P sees and B [p, M]."""
        return self._whole - 2 * float(np.sum(seen.cross * last)) + float(np.sum(last * (seen.gram @ last)))

    def _narrowed(self) -> Iterator[Form]:
        """Tucker-2: 1x1 into fewer channels, the window there, and 1x1 back; or without the last."""
        total = self.outputs.vectors.shape[1]
        for outer in [total, *factors.ranks(self.outputs, total, self.alignment)]:
            basis = np.eye(total) if outer == total else self.outputs.vectors[0][:, :outer]
            spectrum, mixed = self._channels(basis)
            count = self.positions
            tail = 0 if outer == total else outer * total
            below = (self.weight.size - tail) / (self.channels + count * outer)
            inners = factors.ranks(spectrum, min(below, self.channels), self.alignment)
            if inners:
                yield from self._nested(mixed @ spectrum.vectors[0][:, : max(inners)], inners, basis)

    def _nested(self, widest: np.ndarray, inners: list[int], basis: np.ndarray) -> Iterator[Form]:
        """The chains into the leading ``inners`` of the channels [C, p] that ``widest`` makes, and back by a basis."""
        count, kernel, (total, outer) = self.positions, self.patches.kernel, basis.shape
        seen = self._seen(widest, count)
        solved = factors.Nested.of(seen.gram, seen.cross @ basis)
        ones = (1,) * len(kernel)
        for inner in inners if solved is not None else ():
            assert solved is not None
            size, first = inner * count, widest[:, :inner]
            if self._relative(self._whole - solved.explained(size)) > factors.ERRORS[-1]:
                continue
            core = solved.solution(size)
            stages = [
                _held("Conv", first.T.reshape(inner, self.channels, *ones)),
                _held("Conv", core.T.reshape(outer, inner, *kernel), dict(self.layer.plain)),
            ]
            if outer != total:
                stages.append(_held("Conv", basis.reshape(total, outer, *ones)))
            lost, mean = self._whole - solved.explained(size), seen.mean[:size] @ core @ basis.T
            yield self._form(f"tucker{inner}x{outer}", lost, mean, tuple(stages), first.size)

    def _channels(self, basis: np.ndarray) -> tuple[Spectrum, np.ndarray]:
        """Directions of the input's channels that matter to the outputs in a basis, and the weight they stand for."""
        count = self.positions
        split = self.gram.reshape(self.channels, count, self.channels, count)
        mixed = (self.weight @ basis).reshape(self.channels, -1)
        values, vectors = factors.of_inputs(factors.root(np.einsum("aibi->ab", split) / count), mixed)
        return Spectrum(values, vectors[None], float(values.sum())), mixed

    def _spatial(self) -> Iterator[Form]:
        """Rows by columns: a window kh x 1 and then 1 x kw (Jaderberg et al., BMVC 2014)."""
        (high, wide), channels, total = self.patches.kernel, self.channels, self.weight.shape[1]
        split = self.gram.reshape(channels, high, wide, channels, high, wide)
        columns = np.einsum("aijbkj->aibk", split).reshape(channels * high, channels * high) / wide
        mixed = self.weight.reshape(channels * high, wide * total)
        values, vectors = factors.of_inputs(factors.root(columns), mixed)
        spectrum = Spectrum(values, vectors[None], float(values.sum()))
        below = self.weight.size / (channels * high + wide * total)
        down, across = self._halves()
        for rank in factors.ranks(spectrum, below, self.alignment):
            first = mixed @ vectors[:, :rank]
            seen = self._seen(first, wide)
            last = factors.regress(seen.gram, seen.cross)
            stages = (
                _held("Conv", first.T.reshape(rank, channels, high, 1), down),
                _held("Conv", last.reshape(rank, wide, total).transpose(2, 0, 1)[:, :, None, :], across),
            )
            full = first.size // max(1, self.patches.strides[0])
            yield self._form(f"spatial{rank}", self._lost(seen, last), seen.mean @ last, stages, full)

    def _halves(self) -> tuple[dict[str, Plain], dict[str, Plain]]:
        """The attributes of the vertical and of the horizontal half of a window."""
        (top, left, bottom, right), strides, dilations = self.patches.pads, self.patches.strides, self.patches.dilations
        down: dict[str, Plain] = {
            "pads": [top, 0, bottom, 0], "strides": [strides[0], 1], "dilations": [dilations[0], 1],
        }  # fmt: skip
        across: dict[str, Plain] = {
            "pads": [0, left, 0, right], "strides": [1, strides[1]], "dilations": [1, dilations[1]],
        }  # fmt: skip
        return down, across

    def _cp(self, others: list[Form]) -> Iterator[Form]:
        """Canonical polyadic, where it wins: 1x1, depthwise kh x 1 and 1 x kw, 1x1 (Lebedev et al., ICLR 2015)."""
        sizes = (self.channels, *self.patches.kernel, self.weight.shape[1])
        below = self.weight.size / sum(sizes)
        tried = list(dict.fromkeys(int(below * part) // self.alignment * self.alignment for part in _PARTS))
        for rank in (rank for rank in tried if rank):
            form = self._polyadic(canonical(self.weight.reshape(sizes), rank))
            if any(g.size <= form.size and g.error <= form.error for g in others):
                # Its fit costs more than all the others' together: one that loses is enough.
                return
            yield form

    def _polyadic(self, parts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Form:
        a, b, c = parts
        rank = a.shape[1]
        down, across = self._halves()
        seen = self._seen(np.einsum("cr,hr,wr->chwr", a, b, c).reshape(len(self.weight), rank), 1)
        last = factors.regress(seen.gram, seen.cross)
        stages = (
            _held("Conv", a.T.reshape(rank, -1, 1, 1)),
            _held("Conv", b.T.reshape(rank, 1, -1, 1), {**down, "group": rank}),
            _held("Conv", c.T.reshape(rank, 1, 1, -1), {**across, "group": rank}),
            _held("Conv", last.T.reshape(-1, rank, 1, 1)),
        )
        return self._form(f"cp{rank}", self._lost(seen, last), seen.mean @ last, stages, a.size)


_PARTS = (0.4, 0.7, 0.2)
"""Parts of the largest useful CP rank that are tried: its fit has no spectrum to read them off."""


def _held(operator: str, weight: np.ndarray, plain: dict[str, Plain] | None = None) -> Stage:
    single = np.ascontiguousarray(weight, dtype=np.float32)
    return Stage(operator, partial(_same, single), single.shape, {} if plain is None else plain)


def _same(array: np.ndarray) -> np.ndarray:
    return array


def canonical(tensor: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first three factors [size, rank] of a four-way tensor's CP decomposition, by alternating least squares.

    The columns have unit norm: the fourth factor, which holds their sizes, is left to the caller.
    """
    random = np.random.default_rng(0)
    # Single precision halves the time; what it rounds away, the regression that follows does not see.
    made = [random.standard_normal((size, rank)).astype(np.float32) for size in tensor.shape]
    tensor = tensor.astype(np.float32)
    unfolded = [
        np.ascontiguousarray(np.moveaxis(tensor, i, 0)).reshape(size, -1) for i, size in enumerate(tensor.shape)
    ]
    for _ in range(_SWEEPS):
        for i in range(len(made)):
            first, second, third = (made[k] for k in range(len(made)) if k != i)
            # The Khatri-Rao product of the other factors, in the order in which the unfolding runs.
            pairs = (first[:, None, :] * second[None, :, :]).reshape(-1, 1, rank)
            mixed = unfolded[i] @ (pairs * third[None, :, :]).reshape(-1, rank)
            normal = (first.T @ first) * (second.T @ second) * (third.T @ third)
            made[i] = factors.regress(normal, mixed.T).T.astype(np.float32)
            if i < len(made) - 1:
                made[i] /= np.maximum(np.linalg.norm(made[i], axis=0), np.finfo(np.float32).tiny)
    return made[0], made[1], made[2]


def undominated(forms: list[Form]) -> list[Form]:
    """The forms that no other beats in error, size, work and number of stages alike, by size."""
    kept: list[Form] = []
    for form in sorted(forms, key=lambda f: (f.size, f.error, f.work, len(f.stages))):
        if not any(g.error <= form.error and g.work <= form.work and len(g.stages) <= len(form.stages) for g in kept):
            kept.append(form)
    return kept
