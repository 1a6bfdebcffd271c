"""What is known of a model and its data before a lossy program is chosen: the same for all programs of one model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tcc.ir import deadline, digests, weighted
from tcc.ir.calibration import Observation, observe
from tcc.ir.execution import Runner
from tcc.ir.inference import Annotation, annotate
from tcc.ir.loss import Judge
from tcc.ir.model import Model
from tcc.passes._sensitivity import Answers, operations
from tcc.passes.base import Context
from tcc.rewrites.lossy import Evidence

_FEWEST = 8
"""Feeds that the original is run on however late it is."""
_HELD = 256_000_000
"""Bytes of outputs that are kept; more are computed again for each program."""


@dataclass
class Expected:
    """The original's outputs, kept where they are small and computed again where they are not."""

    model: Model
    feeds: Sequence[Mapping[str, Any]]
    threads: int = 1
    judge: Judge = field(default_factory=Judge)
    """What would be said of a program without any loss."""
    _kept: list[Sequence[Any]] = field(default_factory=list)
    _held: int = 0

    def keep(self, outputs: Sequence[Any]) -> None:
        """Take the outputs of the next run."""
        self.judge.add(outputs, outputs)
        self._held += sum(getattr(output, "nbytes", 0) for output in outputs)
        if self._held <= _HELD:
            self._kept.append(outputs)
        else:
            self._kept.clear()

    def __iter__(self) -> Iterator[Sequence[Any]]:
        if len(self._kept) == len(self.feeds):
            yield from self._kept
            return
        proto, weights = self.model.stripped_proto()
        yield from Runner(proto, weights=weights).run_each(self.feeds, self.threads)


@dataclass
class Prepared:
    """A model with what was seen of it; nothing of it is changed but for what ``evidence`` and ``answers`` keep.

    Args:
        model: at the opset that its programs will have.
        found: what inference knows of it.
        feeds: what it was run on.
        expected: its outputs.
        observed: what was seen of its values.
        evidence: for the techniques, which keep there what they measure.
        answers: how its outputs answer to errors, by the techniques that were asked about.
        slopes: what the outputs lose by an error of each value, as far as it was measured.
        hurried: whether something of it was not found out, or on fewer feeds, for want of time.
    """

    model: Model
    found: Annotation
    feeds: Sequence[Mapping[str, Any]]
    expected: Expected
    observed: Mapping[str, Observation]
    evidence: Evidence
    answers: dict[Any, Answers] = field(default_factory=dict)
    slopes: dict[str, float] = field(default_factory=dict)
    hurried: bool = False


def prepare(model: Model, context: Context, end: float = math.inf) -> Prepared:
    """Run the original, unless another pass of this process has run the same one on the same data.

    Args:
        model: the original.
        context: of the pass.
        end: when to be content with what was run on, in seconds since the epoch.

    Raises:
        TccError: where it does not run.
    """
    feeds = context.calibration or context.feeds
    # Data are told apart by where they lie: what is kept holds them, so that nothing else comes to lie there.
    key = (_digest(model), id(feeds), context.calibration is not None, repr(context.target))
    found: Prepared = context.memo.kept(key, lambda: _prepare(model, context, feeds, end))
    return found


def _prepare(model: Model, context: Context, feeds: Sequence[Mapping[str, Any]], end: float) -> Prepared:
    taken: list[Mapping[str, Any]] = []
    found, expected = annotate(model), Expected(model, taken, context.threads)
    observed = observe(
        model, _timely(feeds, taken, end), weighted.axes(model.graph), outputs=expected.keep, threads=context.threads
    )
    evidence = Evidence(
        model, tuple(taken), context.calibration is not None, threads=context.threads,
        operations=operations(model, observed, max(1, len(taken)), context),
    )  # fmt: skip
    return Prepared(model, found, taken, expected, observed, evidence, hurried=len(taken) < len(feeds))


def _timely(
    feeds: Sequence[Mapping[str, Any]], taken: list[Mapping[str, Any]], end: float
) -> Iterator[Mapping[str, Any]]:
    """The feeds for which there is time, each ``taken`` down."""
    for feed in feeds:
        if len(taken) >= _FEWEST and deadline.is_over(end):
            return
        taken.append(feed)
        yield feed


def _digest(model: Model) -> str:
    proto, weights = model.stripped_proto()
    digest = hashlib.sha256(proto.SerializeToString(deterministic=True))
    digests.add_arrays(digest, [weights])
    return digest.hexdigest()
