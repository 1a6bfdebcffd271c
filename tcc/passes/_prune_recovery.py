"""Recovery without training: every consumer's weight is fitted anew to what its original computed.

Least squares from calibration activations, in the order of the graph, so that each layer also corrects what the
layers before it left over: W' = argmin |X W - X' W'|² + λ |W' - S|², X the original's data, X' the pruned model's, S
the plain slice (the OBS family: Frantar and Alistarh, 2022; OBSPA: Wang et al., 2023). Statistics are streamed: a Gram
matrix a consumer, whatever the number of samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir

from tcc.ir import holding
from tcc.ir.channels.links import Axis
from tcc.ir.channels.slicing import replace_constant
from tcc.ir.model import Model
from tcc.passes._prune_consumers import Consumer, added_to, bias_of
from tcc.passes._prune_taps import Feed, Tapped, distance, outputs

ROUNDS = 24
"""Passes over the data at most: consumers beyond share one with their neighbours."""
_ROWS = 20
"""Rows of data for each column of a Gram matrix, beyond which more say nothing new."""
_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the Gram matrix's mean diagonal."""
_HELD_OUT = 5
"""One feed (and one row of the others) in so many is not fitted to: it decides how near the plain slice is kept."""


@dataclass
class _Moments:
    """X'ᵀX', X'ᵀY and the number of rows."""

    gram: np.ndarray
    target: np.ndarray
    rows: int

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(self.gram + other.gram, self.target + other.target, self.rows + other.rows)


@dataclass
class _Fit:
    """The normal equations of one consumer, a column of ones in X' where there is a bias.

    One row in so many is kept apart, and decides how far the fit may go from the plain slice.
    ``shift`` is what the bias differs from the original's already; None where there is no bias.
    """

    consumer: Consumer
    matrix: np.ndarray
    shift: np.ndarray | None
    fitted: _Moments | None = None
    held: _Moments | None = None

    @property
    def rows(self) -> int:
        """Rows taken in so far."""
        return sum(m.rows for m in (self.fitted, self.held) if m is not None)

    def add(self, original: np.ndarray, pruned: np.ndarray, aside: np.ndarray | None, limit: int, seed: int) -> None:
        """Take in the rows of one run; ``aside`` is what the result is to make up for, in what it is added to."""
        x, y = self.consumer.rows(pruned, limit, seed), self.consumer.rows(original, limit, seed)
        # Without patches, what is fitted are the original's channels: the same for every output and tap.
        wanted = y @ self.matrix if self._direct else y
        if aside is not None and self._direct:
            wanted = wanted + self.consumer.results(aside, limit, seed)
        if not (np.isfinite(x).all() and np.isfinite(wanted).all()):
            return
        if self.shift is not None:
            x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        apart = np.arange(seed, seed + len(x)) % _HELD_OUT == 0
        for name, mask in (("fitted", ~apart), ("held", apart)):
            part = x[mask]
            new = _Moments(part.T @ part, part.T @ wanted[mask], len(part))
            old = getattr(self, name)
            setattr(self, name, new if old is None else old + new)

    @property
    def _direct(self) -> bool:
        return self.consumer.patches or self.consumer.site.node.op_type != "Conv"

    def solve(self, current: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The fitted matrix, near the current one, and what the bias then differs from the original's."""
        assert self.fitted is not None
        assert self.held is not None
        columns = len(current)
        start = current if self.shift is None else np.concatenate([current, self.shift[None]])
        best = min(_RIDGES, key=lambda ridge: self._error(self._solved(self.fitted, start, columns, ridge)))
        found = self._solved(self.fitted + self.held, start, columns, best)
        if self._error(self._solved(self.fitted, start, columns, best)) >= self._error(start):
            found = start
        return found[:columns], None if self.shift is None else found[columns]

    def _solved(self, moments: _Moments | None, start: np.ndarray, columns: int, ridge: float) -> np.ndarray:
        assert moments is not None
        scale = float(np.trace(moments.gram[:columns, :columns])) / columns + np.finfo(float).tiny
        weights = np.append(np.full(columns, ridge * scale), [1e-9 * moments.rows] * (self.shift is not None))
        wanted = moments.target if self._direct else moments.target @ self.matrix
        return np.asarray(start + np.linalg.solve(moments.gram + np.diag(weights), wanted - moments.gram @ start))

    def _error(self, matrix: np.ndarray) -> float:
        """The squared error on the rows that were kept apart, but for a constant."""
        assert self.held is not None
        wanted = self.held.target if self._direct else self.held.target @ self.matrix
        return float(((self.held.gram @ matrix - 2 * wanted) * matrix).sum())


def recover(
    original: Model, small: Model, consumers: Sequence[Consumer], kept: Mapping[Axis, np.ndarray], feeds: Sequence[Feed]
) -> dict[str, Any]:
    """Fit the consumers of a pruned model in place, if that brings its outputs nearer to the original's.

    Args:
        original: the model before.
        small: its slice.
        consumers: of the original, in order.
        kept: which indices the original's axes keep.
        feeds: calibration data.

    Returns:
        Facts: the relative L2 distance of the outputs before and after, and how many layers were fitted.
    """
    apart = holding.held(len(feeds), _HELD_OUT)
    few = len(feeds) < _HELD_OUT
    fitted = [feed for feed, out in zip(feeds, apart, strict=True) if few or not out]
    held = [feed for feed, out in zip(feeds, apart, strict=True) if few or out]
    expected = outputs(original, held)

    def loss() -> float:
        found = distance(expected, outputs(small, held))
        return found if np.isfinite(found) else math.inf

    touched = [c for c in consumers if c.name in small.graph.initializers and c.data.value.producer() is not None]
    plain, before = _constants(small), loss()
    # On the way the outputs may get worse: what a layer leaves over, the layers behind it make up for.
    for batch in _batches(touched):
        _fit(original, small, batch, kept, fitted)
    whole = _constants(small)
    half = {name: _between(plain[name], tensor) for name, tensor in whole.items() if tensor is not plain[name]}
    tried = [(before, 0, plain)]
    for number, form in enumerate((whole, whole | half), 1):
        _restore(small, form)
        tried.append((loss(), number, form))
    now, chosen, best = min(tried, key=lambda found: found[:2])
    _restore(small, best)
    return {"layers": len(touched), "before": before, "after": now, "step": (0.0, 1.0, 0.5)[chosen]}


Tensors = dict[str, onnx_ir.TensorProtocol]


def _constants(model: Model) -> Tensors:
    return {name: v.const_value for name, v in model.graph.initializers.items() if v.const_value is not None}


def _restore(model: Model, tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        model.graph.initializers[name].const_value = tensor


def _between(a: onnx_ir.TensorProtocol, b: onnx_ir.TensorProtocol) -> onnx_ir.TensorProtocol:
    array = (a.numpy().astype(np.float64) + b.numpy().astype(np.float64)) / 2
    return onnx_ir.tensor(array.astype(a.numpy().dtype), name=a.name)


def _batches(found: Sequence[Consumer]) -> Iterator[Sequence[Consumer]]:
    size = max(1, -(-len(found) // ROUNDS))
    for at in range(0, len(found), size):
        yield found[at : at + size]


def _fit(
    original: Model, small: Model, batch: Sequence[Consumer], kept: Mapping[Axis, np.ndarray], feeds: Sequence[Feed]
) -> None:
    nodes = {node.inputs[c.weight.port].name: node for c in batch for node in _readers(small, c)}
    found = [c for c in batch if c.name in nodes]
    if not found:
        return
    fits, sides = [], list[tuple[onnx_ir.Value, onnx_ir.Value] | None]()
    for c in found:
        matrix, shift = c.matrix(_sliced(c.weight.value, kept, c.weight.axis)), _shift(c, nodes[c.name], kept)
        # A bias has its part in every tap, where those are fitted apart.
        taps = 1 if shift is None else matrix.shape[1] // shift.size
        fits.append(_Fit(c, matrix, None if shift is None else np.repeat(shift / taps, taps)))
        pair = added_to(c, c.site.node), added_to(c, nodes[c.name])
        if pair[0] is not None and pair[1] is not None:
            # Of those that are fitted at once only the last makes up for what the sum lacks.
            sides = [None] * len(sides)
        sides.append(None if pair[0] is None or pair[1] is None else (pair[0], pair[1]))
    large = Tapped(original, [c.data.value.name or "" for c in found] + [side[0].name or "" for side in sides if side])
    pruned = Tapped(
        small,
        [nodes[c.name].inputs[c.data.port].name or "" for c in found] + [side[1].name or "" for side in sides if side],
    )
    for turn, feed in enumerate(feeds):
        first, second = large.run(feed), pruned.run(feed)
        beside = iter(zip(first[len(found) :], second[len(found) :], strict=True))
        for fit, side, a, b in zip(fits, sides, first, second, strict=False):
            aside = None if side is None else _difference(*next(beside), side[0], kept)
            columns = fit.matrix.shape[0]
            limit = max(16, -(-_ROWS * columns // len(feeds)))
            if fit.rows < 2 * _ROWS * columns:
                fit.add(a, b, aside, limit, turn)
    for fit in fits:
        if fit.rows:
            _write(small, fit, nodes[fit.consumer.name])


def _difference(
    large: np.ndarray, small: np.ndarray, value: onnx_ir.Value, kept: Mapping[Axis, np.ndarray]
) -> np.ndarray | None:
    for axis in range(large.ndim):
        if (value, axis) in kept:
            large = np.compress(kept[value, axis], large, axis=axis)
    return large - small if large.shape == small.shape else None


def _sliced(value: onnx_ir.Value, kept: Mapping[Axis, np.ndarray], but: int = -1) -> np.ndarray:
    """A constant of the original, for what is kept of all axes but one."""
    assert value.const_value is not None
    array = value.const_value.numpy()
    for axis in range(array.ndim):
        if axis != but and (value, axis) in kept:
            array = np.compress(kept[value, axis], array, axis=axis)
    return array


def _bias(consumer: Consumer, node: onnx_ir.Node) -> onnx_ir.Value | None:
    place = bias_of(consumer, node)
    return None if place is None else place[0].inputs[place[1]]


def _shift(consumer: Consumer, node: onnx_ir.Node, kept: Mapping[Axis, np.ndarray]) -> np.ndarray | None:
    """What the bias differs from the original's."""
    first, second = _bias(consumer, consumer.site.node), _bias(consumer, node)
    if first is None or second is None or second.const_value is None:
        return None
    return np.asarray(second.const_value.numpy().astype(np.float64) - _sliced(first, kept)).reshape(-1)


def _readers(small: Model, consumer: Consumer) -> list[Any]:
    return [use.node for use in small.graph.initializers[consumer.name].uses()]


def _write(small: Model, fit: _Fit, node: onnx_ir.Node) -> None:
    value = small.graph.initializers[fit.consumer.name]
    assert value.const_value is not None
    like = value.const_value.numpy()
    matrix, shift = fit.solve(fit.consumer.matrix(like))
    if not np.isfinite(matrix).all():
        return
    replace_constant(value, fit.consumer.weights(matrix, like))
    bias = _bias(fit.consumer, node)
    if shift is not None and fit.shift is not None and bias is not None and bias.const_value is not None:
        old = bias.const_value.numpy()
        gain = (shift - fit.shift).reshape(old.size, -1).sum(axis=1)
        replace_constant(bias, (old + gain.reshape(old.shape)).astype(old.dtype))
