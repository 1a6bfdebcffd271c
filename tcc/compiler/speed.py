"""The gate of speed: nothing is shipped that is slower than the input, nor than the exact form it was made from.

What is measured decides, where the target can be measured here; elsewhere the prediction does. A measurement is noisy
and what it decides changes the bytes that are written: so a form is refused only where the whole interval of its time
lies beyond a margin, samples are taken until it does or does not, and the answer is recorded under the digest of what
was measured. The search and what is shipped ask the same gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tcc.compiler.budgets import Limit
from tcc.compiler.shipping import as_written
from tcc.compiler.timing import Files, Timing
from tcc.diagnostics import TccError
from tcc.ir import deadline
from tcc.passes.manager import Snapshot
from tcc.targets import Target

HOWEVER_SLOW = frozenset("z")
"""Levels whose result may be slower than the input."""
MARGIN = 0.03
"""The part by which a form has to be slower, at the near end of its interval, before it is refused: one thread."""
WALL_MARGIN = 0.15
"""The same for all threads at once, which other processes disturb: it finds what threads do not speed up."""
SLIGHT = 0.01
"""The part by which a form has to be faster, at the far end of its interval, to take the place of one of its size."""
SPARE = 0.03
"""The part of a budget of time that is left unused."""
PREDICTED_MARGIN = 0.02
"""The same of a prediction, whose unit is what one program is predicted to take against another."""

Predicted = Callable[[Snapshot], float]
Answer = TypeVar("Answer")


@dataclass
class Written:
    """Forms of one model as files, each written once; the input is its own file where it has one."""

    original: Snapshot
    folder: Path
    _known: dict[int, tuple[Snapshot, tuple[Path, ...]]] = field(default_factory=dict)

    def files(self, snapshot: Snapshot) -> tuple[Path, ...]:
        """The files of a form."""
        if snapshot is self.original and snapshot.files:
            return snapshot.files
        if id(snapshot) not in self._known:
            place = self.folder / f"form{len(self._known)}"
            place.mkdir()
            model = as_written(self.original, snapshot)
            # The snapshot is kept with its files, so that its id stays its own.
            self._known[id(snapshot)] = (snapshot, model.save(place / "model.onnx"))
        return self._known[id(snapshot)][1]


@dataclass
class SpeedGate:
    """Compares forms of one model with its input, and with the exact forms they were made from.

    Args:
        target: what is compiled for.
        written: the forms as files; ``written.original`` is the input.
        feeds: inputs that run through the model.
        unmeasured: why nothing is measured; empty where it is.
        refuses: whether a slower form is refused at all.
        end: when measuring has to end, in seconds since the epoch; what is not known then is predicted.
        timing: measures, and remembers.
    """

    target: Target
    written: Written
    feeds: Sequence[Mapping[str, Any]]
    unmeasured: str
    refuses: bool
    end: float = math.inf
    is_late: bool = field(init=False, default=False)
    timing: Timing = field(init=False)

    def __post_init__(self) -> None:
        self.timing = Timing(self.feeds)

    @property
    def threads(self) -> int:
        """How many threads a deployment on this machine has."""
        from tcc.targets.native import processors

        return min(self.target.threads, processors())

    def refusal(self, snapshot: Snapshot, exact: Snapshot | None, predicted: Predicted) -> str:
        """Why a form is refused, in a sentence; empty where it is not.

        Args:
            snapshot: the form.
            exact: the exact form that it was made from; None for one that is exact itself.
            predicted: the seconds of a form, which decide where nothing is measured.

        Raises:
            TccError: what loading and running raise.
        """
        if not self.refuses or not snapshot.label:
            return ""
        others = [(self.written.original, "the input")]
        others += [(exact, "the exact form")] if exact is not None and exact.label else []
        for other, name in others:
            reason = None if self.unmeasured else self._in_time(self._measured, snapshot, other, name)
            if reason is None:
                reason = self._predicted(snapshot, other, name, predicted)
            if reason:
                return reason
        return ""

    def _in_time(self, measure: Callable[..., Answer], *asked: Any) -> Answer | None:
        """What measuring says; None where its time has come before."""
        try:
            with deadline.until(self.end):
                return measure(*asked)
        except TccError as error:
            if not deadline.has_come(error):
                raise
            self.is_late = True
            return None

    def _predicted(self, snapshot: Snapshot, other: Snapshot, name: str, predicted: Predicted) -> str:
        after, before = predicted(snapshot), predicted(other)
        if after <= before * (1 + PREDICTED_MARGIN):
            return ""
        return f"it is predicted to take {1e6 * after:.4g} µs, {name} {1e6 * before:.4g} µs"

    def _measured(self, snapshot: Snapshot, other: Snapshot, name: str) -> str:
        before, after = self.written.files(other), self.written.files(snapshot)
        for threads, margin in ((1, MARGIN), (self.threads, WALL_MARGIN)):
            if threads == 1 and margin == WALL_MARGIN:
                continue  # asked already, and more strictly
            found = self.timing.ratio(before, after, 1 + margin, threads)
            if found.low > 1 + margin:
                return f"measured against {name} it is slower: {found.text()}, {threads} threads"
            if threads == 1 and self._is_fast_enough(found.high):
                break
        return ""

    def is_faster(self, one: Snapshot, other: Snapshot, part: float, margin: float = MARGIN) -> bool:
        """Whether a form measures clearly below ``part`` of another one's time on one thread, and on all is no slower.

        Raises:
            TccError: what loading and running raise.
        """
        return bool(self._in_time(self._is_faster, one, other, part - margin))

    def _is_faster(self, one: Snapshot, other: Snapshot, boundary: float) -> bool:
        before, after = self.written.files(other), self.written.files(one)
        if before == after or (found := self.timing.ratio(before, after, boundary, 1)).high >= boundary:
            return False
        return self._is_fast_enough(found.high) or self._keeps_up(before, after)

    def is_as_fast(self, one: Snapshot, other: Snapshot) -> bool:
        """Whether a form cannot be told to be slower than another one, on one thread and on all.

        Raises:
            TccError: what loading and running raise.
        """
        return bool(self._in_time(self._is_as_fast, one, other))

    def _is_as_fast(self, one: Snapshot, other: Snapshot) -> bool:
        before, after = self.written.files(other), self.written.files(one)
        limit = 1 + SLIGHT
        return self.timing.ratio(before, after, limit, 1).low <= limit and self._keeps_up(before, after)

    def _keeps_up(self, before: Files, after: Files) -> bool:
        """Whether files are no slower on all threads, where there are several."""
        limit = 1 + WALL_MARGIN
        return self.threads == 1 or self.timing.ratio(before, after, limit, self.threads).low <= limit

    def _is_fast_enough(self, ratio: float) -> bool:
        """Whether a form of that ratio on one thread is no slower on all, even where they only help the other."""
        return ratio * self.threads <= 1 + WALL_MARGIN

    def seconds(self, snapshot: Snapshot, limit: Limit | None) -> float | None:
        """At most how many seconds a run of a form takes, as far as a limit asks; None where nothing is measured.

        The far end of the interval with ``SPARE`` on top: what is called within the limit still is when it is
        measured again, on a machine that is busy in another way. For a relative limit the unit is the input's own time.

        Raises:
            TccError: what loading and running raise.
        """
        return None if self.unmeasured or limit is None else self._in_time(self._seconds, snapshot, limit)

    def _seconds(self, snapshot: Snapshot, limit: Limit) -> float:
        files, original = self.written.files(snapshot), self.written.files(self.written.original)
        if not limit.relative:
            return (1 + SPARE) * self.timing.seconds(files, limit.value / (1 + SPARE), self.threads).high
        unit = self.timing.seconds(original, 0.0, self.threads).value
        if snapshot is self.written.original:
            return unit
        return (1 + SPARE) * unit * self.timing.ratio(original, files, limit.value / (1 + SPARE), self.threads).high
