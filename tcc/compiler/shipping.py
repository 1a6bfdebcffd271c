"""Writes the result and holds it to the gates: no larger or slower than the input, within the loss budget."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
from onnx import inliner

from tcc.backends import Backend
from tcc.diagnostics import Diagnostic
from tcc.ir import structure
from tcc.ir.loss import Loss
from tcc.ir.model import Model
from tcc.passes.manager import Snapshot, Verifier


@dataclass(frozen=True)
class Shipped:
    """What goes out. ``files`` lie in the workspace; ``what`` says which form of the model it is."""

    model: Model
    snapshot: Snapshot
    files: tuple[Path, ...]
    what: str
    loss: Loss | None
    notes: tuple[Diagnostic, ...]
    verbatim: Path | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.files)


@dataclass
class Shipping:
    """Writes one form after another, the last first, until one passes the gates.

    Args:
        original: the input.
        nbytes: of the input's files.
        path: where the model is written, in the workspace.
        backend: writes the model as ONNX; None for plain ONNX that no back end here runs as it is.
        verifier: compares what was written with what was verified.
        loss: of a form on the user's data; None where it is exact or there is no data.
        max_loss: the loss budget.
        lossy: whether a form is allowed to lose; conversions to smaller types are nodes of their own there, so
            only exact forms are held to the input's node count.
        speed: why a form is too slow, in a sentence; empty where it is not.
        exact: the exact form that a lossy one was made from; a lossy form is no larger than it.
        provenance: what a form says of itself in its metadata.
        grown: whether a form has more nodes than it needs, to hold less in memory at once: its size is not held
            against it.
    """

    original: Snapshot
    nbytes: int
    path: Path
    backend: Backend | None
    verifier: Verifier | None
    loss: Callable[[Snapshot], Loss | None]
    max_loss: float
    lossy: Callable[[Snapshot], bool] = lambda _snapshot: False
    speed: Callable[[Snapshot], str] = lambda _snapshot: ""
    exact: Callable[[Snapshot], Snapshot | None] = lambda _snapshot: None
    provenance: Callable[[Snapshot], Mapping[str, str]] = lambda _snapshot: {}
    grown: Callable[[Snapshot], bool] = lambda _snapshot: False
    notes: list[Diagnostic] = field(default_factory=list)

    def ship(self, snapshots: Sequence[Snapshot]) -> Shipped:
        """The latest of the forms that passes; the input's own bytes where none does."""
        nodes = _input_nodes(self.original)
        for snapshot in reversed(snapshots):
            model = as_written(self.original, snapshot)
            what = f"the model after {snapshot.label}" if snapshot.label else "the canonical copy of the input"
            if model.node_count > nodes and not self.lossy(snapshot) and not self.grown(snapshot):
                self._refuse(what, f"it has {model.node_count} nodes, the input {nodes}")
                continue
            loss = self.loss(snapshot)
            if loss is not None and loss.value > self.max_loss:
                self._refuse(what, f"its loss is {loss.value:.3g} ({loss.metric}), the budget {self.max_loss:.3g}")
                continue
            done = self._written(Shipped(model, snapshot, (), what, loss, ()))
            if (larger := self._larger(done)) and (snapshot.label or self._source is not None):
                self._refuse(what, larger)
                continue
            if slow := self.speed(snapshot):
                self._refuse(what, slow, "N0702", "no-speedup")
                continue
            if larger:
                message = f"the canonical copy takes {done.nbytes} bytes, the input {self.nbytes}"
                self.notes.append(Diagnostic("W0704", message, self.original.source))
            self._verify(snapshot)
            return replace(done, notes=tuple(self.notes))
        return self._verbatim()

    @property
    def _source(self) -> Path | None:
        """The input's file, where its bytes can be shipped as they are: external data could not follow it."""
        return self.original.files[0] if len(self.original.files) == 1 else None

    def _written(self, made: Shipped) -> Shipped:
        """The form as files; with its provenance, unless that alone makes it larger than what it came from."""
        marks, metadata = self.provenance(made.snapshot), made.model.ir.metadata_props
        metadata.update(marks)
        done = replace(made, files=self._write(made.model))
        if not marks or not self._larger(done):
            return done
        for key in marks:
            del metadata[key]
        return replace(made, files=self._write(made.model))

    def _larger(self, made: Shipped) -> str:
        """What a form is larger than, in a sentence; empty where it is not, or is so for a purpose."""
        if self.grown(made.snapshot):
            return ""
        if made.nbytes - _padding(made.model, made.files) > self.nbytes:
            return f"it takes {made.nbytes} bytes, the input {self.nbytes}"
        return self._larger_than_exact(made)

    def _larger_than_exact(self, made: Shipped) -> str:
        exact = self.exact(made.snapshot)
        if exact is None or exact.label == "":
            return ""  # the input's own bytes are held against every form already
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            model = as_written(self.original, exact)
            files = model.save(Path(folder) / self.path.name)
            nbytes = sum(file.stat().st_size for file in files) - _padding(model, files)
        if made.nbytes - _padding(made.model, made.files) <= nbytes:
            return ""
        return f"it takes {made.nbytes} bytes, the exact form {nbytes}"

    def _write(self, model: Model) -> tuple[Path, ...]:
        return model.save(self.path) if self.backend is None else self.backend.lower(model, self.path).files

    def _verify(self, snapshot: Snapshot) -> None:
        if self.verifier is None:
            return
        self.verifier.back_to(snapshot)
        self.verifier.verify_file(self.path)

    def _refuse(self, what: str, reason: str, code: str = "N0701", name: str = "no-gain") -> None:
        self.notes.append(Diagnostic(code, f"{name}: {what} is not shipped: {reason}", self.original.source))

    def _verbatim(self) -> Shipped:
        assert self._source is not None
        if self.verifier is not None:
            self.verifier.back_to(self.original)
        shutil.copyfile(self._source, self.path)
        what = "the input's own bytes"
        notes = tuple(self.notes)
        return Shipped(self.original.model(), self.original, (self.path,), what, None, notes, self._source)


def as_written(original: Snapshot, snapshot: Snapshot) -> Model:
    """The form as it is written: with the types of those inner values for which the input states one."""
    stated = {value.name for graph in structure.all_graphs(original.proto) for value in graph.value_info}
    for graph in structure.all_graphs(snapshot.proto):
        kept = [value for value in graph.value_info if value.name in stated]
        if len(kept) < len(graph.value_info):
            copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
            del graph.value_info[:]
            graph.value_info.extend(copies)
    return snapshot.model()


def _padding(model: Model, files: Sequence[Path]) -> int:
    """Bytes of a weight file that only align its tensors: holes, which take no room on the disk."""
    if len(files) < 2:
        return 0
    tensors = [v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None]
    return max(0, files[1].stat().st_size - sum(tensors))


def _input_nodes(original: Snapshot) -> int:
    """Nodes of the input, its functions expanded at each call, as a compiled model has them."""
    proto = inliner.inline_local_functions(original.proto) if original.proto.functions else original.proto
    return sum(not _is_constant(node) for node in structure.all_nodes(proto))


def _is_constant(node: onnx.NodeProto) -> bool:
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx")
