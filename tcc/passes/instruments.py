"""What can be watched between passes: the model as text, a line of statistics."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx.printer

from tcc.passes.base import DECLINES
from tcc.passes.manager import Instrument, Record

if TYPE_CHECKING:
    from tcc.ir.model import Model

Write = Callable[[str], None]
"""Takes a text of one or more lines."""

_ELEMENTS = re.compile(r"\{([^{}]{60}[^{},]*),[^{}]{40,}\}")
_ELIDED = 64
"""Bytes from which an initialiser's elements are not printed."""


def model_text(model: Model) -> str:
    """The model in ONNX's own text form, the elements of large tensors left out."""
    proto, _ = model.stripped_proto(_ELIDED)
    return _ELEMENTS.sub(r"{\1, ...}", onnx.printer.to_text(proto))


@dataclass
class PrintIR(Instrument):
    """Writes the model after each pass, or after one of them.

    Args:
        write: where to.
        name: the pass; empty for all.
    """

    write: Write
    name: str = ""

    def after(self, record: Record, model: Model) -> None:
        """Write the model under a comment that names the pass."""
        if self.name in ("", record.name, record.text):
            done = "" if record.changed else " (nothing changed)"
            self.write(f"// after {record.text}{done}\n{model_text(model)}")


@dataclass
class Statistics(Instrument):
    """Writes a line for each pass: what it changed, how long it took, and what was verified.

    Where the pass was asked for them, then a line for each rule that declined where its pattern stands.

    Args:
        write: where to.
        everything: whether rules whose pattern is one operator count too: they decline wherever it stands.
    """

    write: Write
    everything: bool = False

    def after(self, record: Record, model: Model) -> None:
        """Write the line."""
        del model
        before, after = record.before, record.after
        nodes = f"{before.nodes} → {after.nodes} nodes" if before.nodes != after.nodes else f"{after.nodes} nodes"
        size = f"{before.nbytes} → {after.nbytes} bytes" if before.nbytes != after.nbytes else f"{after.nbytes} bytes"
        checked = record.verification
        verdict = "not verified" if checked is None else checked.outcome
        self.write(f"{record.text}: {nodes}, {size}, {record.seconds * 1e3:.1f} ms, {verdict}")
        for graph in record.facts.get("graphs", ()):
            for entry in graph.get(DECLINES, ()):
                if entry["operators"] > 1 or self.everything:
                    self.write(_declined(entry))


def _declined(entry: Mapping[str, Any]) -> str:
    places = f"at {entry['count']} places, as {entry['example']}" if entry["count"] > 1 else f"at {entry['example']}"
    return f"  {entry['rule']} declined {places}: {entry['reason']}"
