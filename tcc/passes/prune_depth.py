"""Removes residual blocks whose measured loss is small, and proves that what is left is the model without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tcc.cost_models.roofline import Roofline
from tcc.diagnostics import Exit, TccError, fail
from tcc.ir.channels import Groups
from tcc.ir.channels.network import Network
from tcc.ir.channels.observing import observe
from tcc.ir.channels.proof import equal
from tcc.ir.fixed_sizes import with_made_up
from tcc.ir.inference import annotate
from tcc.ir.loss import loss_of
from tcc.ir.model import Model
from tcc.passes._prune_blocks import Block, Gated, blocks, masked, saved, without
from tcc.passes._prune_consumers import consumers
from tcc.passes._prune_feeds import proving_feeds
from tcc.passes._prune_recovery import recover
from tcc.passes._prune_taps import Feed, few, joined
from tcc.passes.base import Context, Effect, Pass, PassResult
from tcc.passes.canonicalize import Canonicalize

_SAMPLES = 256
"""Samples on which blocks are measured."""
_TRIED = 4
"""Candidates that are measured anew, together with what is gone, before one of them goes."""


@dataclass(frozen=True)
class PruneDepth(Pass):
    """Depth pruning: residual blocks that nobody misses are removed, their skip connections stay.

    A block is what is added to the value it is computed from, in the same shape: a bottleneck, an attention, a
    feed-forward layer. What a set of blocks loses is measured on calibration data by one session in which each
    can be switched off. The result is compared with the original in which the blocks are multiplied by 0.

    Args:
        most: blocks that go at most; as many as the loss budget allows without.
        share: the part of the loss budget that may be spent.
        recover: whether what is left is fitted to the original's outputs.
    """

    most: int | None = None
    share: float = 1.0
    recover: bool = True

    effect: ClassVar[Effect] = Effect.LOSSY

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: where one is out of its range.
        """
        if self.most is not None and self.most < 0:
            message = f"most is {self.most}, should be at least 0"
            raise ValueError(message)
        if not 0 < self.share <= 1:
            message = f"share is {self.share:g}, should be above 0 and at most 1"
            raise ValueError(message)

    def run(self, model: Model, context: Context) -> PassResult:
        """Remove blocks of the top-level graph.

        Raises:
            TccError: E0235 without calibration data.
        """
        if not context.calibration:
            advice = "give it with --calib"
            raise fail(Exit.USAGE, "E0235", "removing blocks to a loss budget needs calibration data", help=advice)
        work = Canonicalize().run(model.clone(), context).model
        data = joined(work, context.calibration)
        proving = proving_feeds(work, tuple(context.feeds or context.calibration))
        try:
            sizes = observe(work, proving)
        except TccError as error:
            return PassResult(model, False, {"declined": {"all": error.diagnostics[0].message}})
        found = blocks(work, sizes.shapes)
        record: dict[str, Any] = {"blocks": len(found), "removed": []}
        gone = self._chosen(work, found, data, context, record)
        small = without(work, gone)
        proof = equal(masked(work, gone), small, proving)
        record["proof"] = {"difference": proof.difference, "tolerance": proof.tolerance}
        if not gone or not proof.holds:
            record["declined"] = {"all": proof.reason or "no block's loss is within the budget"}
            return PassResult(model, False, record)
        record["removed"] = [block.name for block in gone]
        if self.recover:
            groups = Groups(Network.of(work, sizes), (), {})
            record["recovery"] = recover(work, small, list(consumers(groups)), {}, data)
        record["parameters"] = [work.parameter_count, small.parameter_count]
        annotate(small)
        return PassResult(Model(small.ir, model.source, files=model.files, notes=model.notes), True, record)

    def _chosen(
        self, model: Model, found: list[Block], data: tuple[Feed, ...], context: Context, record: dict[str, Any]
    ) -> list[Block]:
        """Blocks, one after another, by the loss of all together for the time that one saves."""
        if not found:
            return []
        data = few(data, _SAMPLES)
        gated = Gated(model, found)
        expected = [gated.run(feed) for feed in data]

        def loss(gone: list[Block]) -> float:
            return loss_of(expected, (gated.run(feed, gone) for feed in data)).value

        roofline = Roofline(context.target, with_made_up(model, context.symbols))
        seconds = {block: max(saved(model, block, roofline), 1e-12) for block in found}
        alone = {block: loss([block]) for block in found}
        record["losses"] = {block.name: float(f"{value:.4g}") for block, value in alone.items()}
        budget, gone = self.share * context.max_loss, list[Block]()
        left = sorted(found, key=lambda b: (alone[b] / seconds[b], b.name))
        while left and (self.most is None or len(gone) < self.most):
            tried = {block: loss([*gone, block]) if gone else alone[block] for block in left[:_TRIED]}
            within = [block for block in tried if tried[block] <= budget or self.most is not None]
            if not within:
                break
            best = min(within, key=lambda b: (tried[b] / seconds[b], b.name))
            gone.append(best)
            left.remove(best)
            record["loss"] = float(f"{tried[best]:.4g}")
        return gone
