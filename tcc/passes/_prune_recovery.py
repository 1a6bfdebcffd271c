"""Recovery without training: every consumer's weight is fitted anew to what its original computed.

Least squares from calibration activations, in the order of the graph, so that each layer also corrects what the
layers before it left over: W' = argmin |X W - X' W'|² + λ |W' - S|², X the original's data, X' the pruned model's, S
the plain slice (the OBS family: Frantar and Alistarh, 2022; OBSPA: Wang et al., 2023). Statistics are streamed: a Gram
matrix a consumer, whatever the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir

from tcc.ir.channels.links import Axis
from tcc.ir.channels.slicing import replace_constant
from tcc.ir.model import Model
from tcc.passes._prune_consumers import Consumer, bias_of
from tcc.passes._prune_taps import Feed, Tapped, distance, outputs

ROUNDS = 24
"""Passes over the data at most: consumers beyond share one with their neighbours."""
_ROWS = 20
"""Rows of data for each column of a Gram matrix, beyond which more say nothing new."""
_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the Gram matrix's mean diagonal."""
_HELD_OUT = 5
"""One row in so many is not fitted to, and decides how strongly the plain slice is kept to."""


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
    """

    consumer: Consumer
    matrix: np.ndarray
    intercept: bool
    fitted: _Moments | None = None
    held: _Moments | None = None

    @property
    def rows(self) -> int:
        """Rows taken in so far."""
        return sum(m.rows for m in (self.fitted, self.held) if m is not None)

    def add(self, original: np.ndarray, pruned: np.ndarray, limit: int, seed: int) -> None:
        """Take in the rows of one run."""
        x, y = self.consumer.rows(pruned, limit, seed), self.consumer.rows(original, limit, seed)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return
        if self.intercept:
            x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        # Without patches, what is fitted are the original's channels: the same for every output and tap.
        wanted = y @ self.matrix if self._direct else y
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
        """The fitted matrix, near the current one, and what the bias gains per output (None without one)."""
        assert self.fitted is not None
        assert self.held is not None
        columns = len(current)
        start = np.concatenate([current, np.zeros((1, current.shape[1]))]) if self.intercept else current
        best = min(_RIDGES, key=lambda ridge: self._error(self._solved(self.fitted, start, columns, ridge)))
        found = self._solved(self.fitted + self.held, start, columns, best)
        if self._error(self._solved(self.fitted, start, columns, best)) >= self._error(start):
            found = start
        return found[:columns], found[columns] if self.intercept else None

    def _solved(self, moments: _Moments | None, start: np.ndarray, columns: int, ridge: float) -> np.ndarray:
        assert moments is not None
        scale = float(np.trace(moments.gram[:columns, :columns])) / columns + np.finfo(float).tiny
        weights = np.append(np.full(columns, ridge * scale), [1e-9 * moments.rows] * self.intercept)
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
    fitted = [feed for i, feed in enumerate(feeds) if i % _HELD_OUT or len(feeds) < _HELD_OUT]
    held = [feed for i, feed in enumerate(feeds) if i % _HELD_OUT == 0] or list(feeds)
    expected = outputs(original, held)

    def loss() -> float:
        return distance(expected, outputs(small, held))

    before = now = loss()
    touched = [c for c in consumers if c.name in small.graph.initializers and c.data.value.producer() is not None]
    taken = 0
    for batch in _batches(touched):
        plain = _constants(small)
        _fit(original, small, batch, kept, fitted)
        whole = _constants(small)
        half = {name: _between(plain[name], tensor) for name, tensor in whole.items() if tensor is not plain[name]}
        # A layer is fitted to its sums, before its activation function: what helps there may not help the outputs.
        tried = [(now, plain)]
        for form in (whole, whole | half):
            _restore(small, form)
            tried.append((loss(), form))
        now, best = min(tried, key=lambda pair: pair[0])
        taken += best is not plain
        _restore(small, best)
    return {"layers": len(touched), "before": before, "after": now, "rounds taken": taken}


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
    fits = [
        _Fit(c, c.matrix(_wanted(c, kept)), c.name in nodes and bias_of(c, nodes[c.name]) is not None) for c in batch
    ]
    large = Tapped(original, [c.data.value.name or "" for c in batch])
    pruned = Tapped(small, [(nodes[c.name].inputs[c.data.port].name or "") if c.name in nodes else "" for c in batch])
    for turn, feed in enumerate(feeds):
        first, second = large.run(feed), pruned.run(feed)
        for fit, a, b in zip(fits, first, second, strict=True):
            columns = fit.matrix.shape[0]
            limit = max(16, -(-_ROWS * columns // len(feeds)))
            if fit.rows < 2 * _ROWS * columns:
                fit.add(a, b, limit, turn)
    for fit in fits:
        if fit.rows and fit.consumer.name in nodes:
            _write(small, fit, nodes[fit.consumer.name])


def _wanted(consumer: Consumer, kept: Mapping[Axis, np.ndarray]) -> np.ndarray:
    """The original's weight, for the outputs that are kept."""
    value = consumer.weight.value
    assert value.const_value is not None
    array = value.const_value.numpy()
    for axis in range(array.ndim):
        if axis != consumer.weight.axis and (value, axis) in kept:
            array = np.compress(kept[value, axis], array, axis=axis)
    return array


def _readers(small: Model, consumer: Consumer) -> list[Any]:
    return [use.node for use in small.graph.initializers[consumer.name].uses()]


def _write(small: Model, fit: _Fit, node: Any) -> None:
    value = small.graph.initializers[fit.consumer.name]
    assert value.const_value is not None
    like = value.const_value.numpy()
    current = fit.consumer.matrix(like)
    matrix, gain = fit.solve(current)
    if not np.isfinite(matrix).all():
        return
    replace_constant(value, fit.consumer.weights(matrix, like))
    place = bias_of(fit.consumer, node)
    if gain is not None and place is not None:
        bias = place[0].inputs[place[1]]
        assert bias is not None
        assert bias.const_value is not None
        old = bias.const_value.numpy()
        total = gain.reshape(old.size, -1).sum(axis=1)
        replace_constant(bias, (old + total.reshape(old.shape)).astype(old.dtype))
