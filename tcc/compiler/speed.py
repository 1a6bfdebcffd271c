"""The gate of speed: nothing is shipped that is slower than the input, nor than the exact form it was made from.

What is measured decides, where the target can be measured here; elsewhere the prediction does. A measurement is noisy
and what it decides changes the bytes that are written, so only an overwhelming one refuses: slower beyond the
confidence interval and the noise in each of several runs of growing length, and by a margin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcc import backends
from tcc.backends import PairedLatency
from tcc.compiler import measuring
from tcc.passes.manager import Snapshot
from tcc.targets import Target

Feeds = Sequence[Mapping[str, Any]]

HOWEVER_SLOW = frozenset("z")
"""Levels whose result may be slower than the input."""
RUNS = 3
"""Measurements that all have to agree before a form is refused; each is twice as long as the one before."""
MARGIN = 0.03
"""The part by which a form has to be slower, in the middle of its interval, before it is refused."""
PREDICTED_MARGIN = 0.02
"""The same of a prediction, whose unit is what one program is predicted to take against another."""


@dataclass
class SpeedGate:
    """Compares forms of one model with its input.

    Args:
        target: what is compiled for.
        original: the input.
        folder: where further files may be written.
        feeds: inputs that run through the model.
        unmeasured: why nothing is measured; empty where it is.
        predicted: seconds that a form is predicted to take.
        exact: the exact form that a lossy one was made from; None for a form that is exact itself.
        refuses: whether a slower form is refused; else it is only measured.
    """

    target: Target
    original: Snapshot
    folder: Path
    feeds: Feeds
    unmeasured: str
    predicted: Callable[[Snapshot], float]
    exact: Callable[[Snapshot], Snapshot | None]
    refuses: bool
    latency: PairedLatency | str = "not asked for"
    _files: dict[int, Path] = field(default_factory=dict)

    def __call__(self, snapshot: Snapshot, files: Sequence[Path]) -> str:
        """Why a form that was written to these files is refused; empty where it is not.

        Raises:
            TccError: what loading and running raise.
        """
        if self.unmeasured:
            self.latency = self.unmeasured
            return self._predicted_slower(snapshot) if self.refuses and snapshot.label else ""
        reason, self.latency = self._slower(self.original, files[0], "the input")
        if not reason and self.refuses and (exact := self.exact(snapshot)) is not None and exact is not self.original:
            reason, _ = self._slower(exact, files[0], "the exact form")
        return reason if self.refuses and snapshot.label else ""

    def _predicted_slower(self, snapshot: Snapshot) -> str:
        after = self.predicted(snapshot)
        for other, name in ((self.original, "the input"), (self.exact(snapshot), "the exact form")):
            if other is None:
                continue
            before = self.predicted(other)
            if after > before * (1 + PREDICTED_MARGIN):
                return f"it is predicted to take {1e6 * after:.4g} µs, {name} {1e6 * before:.4g} µs"
        return ""

    def _slower(self, other: Snapshot, file: Path, name: str) -> tuple[str, PairedLatency]:
        """Whether a file is slower than another form, as a sentence, and the last measurement."""
        backend = backends.backend("onnxruntime")
        before = self._file(other)
        for turn in range(RUNS):
            found = measuring.measure(before, file, self.feeds, self.target, backend, seconds=2**turn)
            if found.verdict != "slower" or found.ratio < 1 + MARGIN:
                return "", found
            if not self.refuses:
                break
        return f"measured against {name} it is {found.text()}", found

    def _file(self, snapshot: Snapshot) -> Path:
        """A form as a file: the input's own where it has one."""
        if snapshot is self.original and snapshot.files:
            return snapshot.files[0]
        key = id(snapshot)
        if key not in self._files:
            place = self.folder / f"form{len(self._files)}"
            place.mkdir()
            self._files[key] = snapshot.model().save(place / "model.onnx")[0]
        return self._files[key]
