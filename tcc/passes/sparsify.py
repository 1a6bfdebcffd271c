"""Zeros two of each four weights where the target's processor multiplies such weights faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tcc.diagnostics import Exit, TccError, fail
from tcc.ir.channels import Groups
from tcc.ir.channels.network import Network
from tcc.ir.channels.observing import observe
from tcc.ir.channels.slicing import replace_constant
from tcc.ir.execution import Runner
from tcc.ir.loss import loss_of
from tcc.ir.model import Model
from tcc.passes._prune_data import Statistics, collect
from tcc.passes._prune_taps import Feed, few, joined
from tcc.passes.base import Context, Effect, Pass, PassResult
from tcc.passes.canonicalize import Canonicalize
from tcc.targets import Target

_KEPT, _OF = 2, 4
_FIRST = 80
"""The compute capability from which on tensor cores skip the zeros (NVIDIA Ampere white paper)."""
_SAMPLES = 256


@dataclass(frozen=True)
class Sparsify(Pass):
    """2:4 sparsity: of each four weights that one sum runs over, the two that say least become 0.

    For processors that have kernels for it, sparse tensor cores from compute capability 8.0 on (A100, Jetson Orin, L4,
    H100), in FP16 and INT8; elsewhere nothing is done, since zeros are multiplied like other numbers. No target has
    kernels for zeros in any places, so none are offered. The file does not shrink: the weights are still written out.

    As many layers are masked as the loss budget allows, those first in which what goes says least: the size of a
    weight times that of what it is multiplied with (Wanda: Sun et al., 2023).

    Args:
        share: the part of the loss budget that may be spent.
    """

    share: float = 1.0

    effect: ClassVar[Effect] = Effect.LOSSY

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: where one is out of its range.
        """
        if not 0 < self.share <= 1:
            message = f"share is {self.share:g}, should be above 0 and at most 1"
            raise ValueError(message)

    def run(self, model: Model, context: Context) -> PassResult:
        """Mask weights of the top-level graph.

        Raises:
            TccError: E0235 without calibration data.
        """
        if not has_kernels(context.target):
            reason = f"{context.target.name} has no kernels for sparse weights: zeros would bring nothing"
            return PassResult(model, False, {"declined": {"all": reason}})
        if not context.calibration:
            advice = "give it with --calib"
            raise fail(Exit.USAGE, "E0235", "zeroing weights to a loss budget needs calibration data", help=advice)
        work = Canonicalize().run(model.clone(), context).model
        data = joined(work, context.calibration)
        try:
            groups = Groups(Network.of(work, observe(work, data[:2])), (), {})
        except TccError as error:
            return PassResult(model, False, {"declined": {"all": error.diagnostics[0].message}})
        layers = sorted(filter(None, map(_masked, collect(groups, work, data))), key=lambda m: (m.lost, m.name))
        some = few(data, _SAMPLES)
        expected = _outputs(work, some)

        def made(count: int) -> tuple[Model, float]:
            sparse = work.clone()
            for layer in layers[:count]:
                replace_constant(sparse.graph.initializers[layer.name], layer.weight)
            return sparse, loss_of(expected, _outputs(sparse, some)).value

        low, high = 0, len(layers) + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if made(middle)[1] <= self.share * context.max_loss else (low, middle)
        result, loss = made(low)
        record: dict[str, Any] = {
            "layers": len(layers), "sparse": [layer.name for layer in layers[:low]], "loss": float(f"{loss:.4g}"),
        }  # fmt: skip
        if not low:
            return PassResult(model, False, record | {"declined": {"all": "no layer's loss is within the budget"}})
        return PassResult(Model(result.ir, model.source, files=model.files, notes=model.notes), True, record)


def has_kernels(target: Target) -> bool:
    """Whether the target's processor has kernels for 2:4 sparse weights."""
    family, _, number = target.processor.partition("_")
    return family == "sm" and number.isdecimal() and int(number) >= _FIRST


@dataclass(frozen=True)
class _Layer:
    """A weight with its mask applied, and the part of its output's energy that goes with what is zeroed."""

    name: str
    weight: np.ndarray
    lost: float


def _masked(statistics: Statistics) -> _Layer | None:
    """None where the sum does not run over a multiple of four."""
    weight = statistics.consumer.weight
    tensor = weight.value.const_value
    assert tensor is not None
    array = tensor.numpy()
    count = array.shape[weight.axis]
    if count % _OF:
        return None
    moved = np.moveaxis(array, weight.axis, -1)
    norms = np.sqrt(np.diag(statistics.gram) / statistics.rows)
    scores = (np.abs(moved.astype(np.float64)) * norms).reshape(*moved.shape[:-1], -1, _OF)
    # Of equal scores the first stays.
    order = np.argsort(np.argsort(-scores, axis=-1, kind="stable"), axis=-1)
    kept = (order < _KEPT).reshape(moved.shape)
    total = float(np.square(scores).sum())
    lost = float(np.square(scores.reshape(moved.shape))[~kept].sum()) / total if total else 0.0
    sparse = np.moveaxis(np.where(kept, moved, moved.dtype.type(0)), -1, weight.axis)
    return _Layer(statistics.consumer.name, np.ascontiguousarray(sparse), lost)


def _outputs(model: Model, feeds: Sequence[Feed]) -> list[list[Any]]:
    proto, weights = model.stripped_proto()
    runner = Runner(proto, weights=weights)
    return [runner.run(feed) for feed in feeds]
