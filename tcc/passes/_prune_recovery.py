"""Recovery without training: every consumer's weight is fitted anew to what its original computed.

Least squares from calibration activations, in the order of the graph, so that each layer also corrects what the
layers before it left over: W' = argmin |X W - X' W'|² + λ |W' - S|², X the original's data, X' the pruned model's, S
the plain slice (the OBS family: Frantar and Alistarh, 2022; OBSPA: Wang et al., 2023). Statistics are streamed: a Gram
matrix a consumer, whatever the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcc.ir.channels.links import Axis
from tcc.ir.channels.slicing import replace_constant
from tcc.ir.execution import Runner
from tcc.ir.loss import loss_of
from tcc.ir.model import Model
from tcc.passes._prune_consumers import Consumer, bias_of
from tcc.passes._prune_taps import Feed, Tapped

_ROUNDS = 24
"""Passes over the data at most: consumers beyond share one with their neighbours."""
_ROWS = 20
"""Rows of data for each column of a Gram matrix, beyond which more say nothing new."""
_RIDGE = 1e-3
"""Of the mean diagonal, with as many rows as wanted; more with fewer."""
_HELD_OUT = 5
"""One in so many samples is not fitted to, and decides whether the fit is taken."""


@dataclass
class _Fit:
    """The normal equations of one consumer: X'ᵀX' and X'ᵀ(X W), a column of ones in X' where there is a bias."""

    consumer: Consumer
    matrix: np.ndarray
    intercept: bool
    rows: int = 0
    gram: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    target: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, original: np.ndarray, pruned: np.ndarray, limit: int, seed: int) -> None:
        """Take in the rows of one run."""
        x, y = self.consumer.rows(pruned, limit, seed), self.consumer.rows(original, limit, seed)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return
        if self.intercept:
            x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        # Without patches, what is fitted are the original's channels: the same for every output and tap.
        wanted = y @ self.matrix if self._direct else y
        if not self.rows:
            self.gram, self.target = np.zeros((x.shape[1],) * 2), np.zeros((x.shape[1], wanted.shape[1]))
        self.gram += x.T @ x
        self.target += x.T @ wanted
        self.rows += len(x)

    @property
    def _direct(self) -> bool:
        return self.consumer.patches or self.consumer.site.node.op_type != "Conv"

    def solve(self, current: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The fitted matrix, near the current one, and what the bias gains per output (None without one)."""
        columns = len(current)
        target = self.target if self._direct else self.target @ self.matrix
        start = np.concatenate([current, np.zeros((1, current.shape[1]))]) if self.intercept else current
        scale = float(np.trace(self.gram[:columns, :columns])) / columns
        ridge = _RIDGE * max(1.0, _ROWS * columns / max(self.rows, 1)) * scale + np.finfo(float).tiny
        damped = self.gram + np.diag(np.append(np.full(columns, ridge), [1e-9 * self.rows] * self.intercept))
        found = start + np.linalg.solve(damped, target - self.gram @ start)
        return found[:columns], found[columns] if self.intercept else None


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
    expected = _outputs(original, held)
    before = loss_of(expected, _outputs(small, held), scores=False).value
    saved = {name: value.const_value for name, value in small.graph.initializers.items()}
    touched = [c for c in consumers if c.name in small.graph.initializers and c.data.value.producer() is not None]
    for batch in _batches(touched):
        _fit(original, small, batch, kept, fitted)
    after = loss_of(expected, _outputs(small, held), scores=False).value
    if not after < before:
        for name, value in small.graph.initializers.items():
            value.const_value = saved.get(name, value.const_value)
    return {"layers": len(touched), "before": before, "after": after, "taken": after < before}


def _batches(found: Sequence[Consumer]) -> Iterator[Sequence[Consumer]]:
    size = max(1, -(-len(found) // _ROUNDS))
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
        gain = gain if len(gain) == old.size else gain.reshape(old.size, -1).sum(axis=1)
        replace_constant(bias, (old + gain).astype(old.dtype))


def _outputs(model: Model, feeds: Sequence[Feed]) -> list[list[Any]]:
    proto, weights = model.stripped_proto()
    runner = Runner(proto, weights=weights)
    return [runner.run(feed) for feed in feeds]
