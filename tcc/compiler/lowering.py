"""Chooses the back end that a model is written for, and says what the target does not take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from tcc import backends, report
from tcc.backends import Backend, Placement, Settings
from tcc.compiler import legality
from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.ir.fixed_sizes import fixed_types
from tcc.ir.inference import annotate
from tcc.ir.model import Model, tensor_type
from tcc.ir.types import TensorType
from tcc.passes.base import Effect
from tcc.passes.manager import Outcome, Snapshot
from tcc.targets import Target


class TypedForms:
    """The forms of a model with the types of all their values, inferred once for each form that is asked for."""

    def __init__(self, outcome: Outcome, target: Target, symbols: Mapping[str, int]) -> None:
        self._target, self._symbols = target, symbols
        self._seconds: dict[int, float] = {}
        self._snapshots = outcome.snapshots
        self._same_bits = [s for s in outcome.snapshots if outcome.promise(s) is Effect.BITS]
        self.first = outcome.snapshots[0].model()
        annotate(self.first, outcome.snapshots[0].proto)
        self.last = self.first
        if len(outcome.snapshots) > 1:
            self.last = outcome.model
            annotate(self.last, outcome.snapshots[-1].proto)

    def of(self, snapshot: Snapshot) -> Model:
        """The model of a snapshot."""
        known = {len(self._snapshots) - 1: self.last, 0: self.first}
        if (index := self._snapshots.index(snapshot)) in known:
            return known[index]
        model = snapshot.model()
        annotate(model, snapshot.proto)
        return model

    def predicted_seconds(self, snapshot: Snapshot) -> float:
        """What a run of a form is predicted to take on the target."""
        key = id(snapshot)
        if key not in self._seconds:
            model = self.of(snapshot)
            known = {} if _is_typed(model) else self._known
            self._seconds[key] = report.predicted_seconds(model, self._target, self._symbols, known)
        return self._seconds[key]

    @cached_property
    def _known(self) -> dict[str, TensorType]:
        """Types by name, from the last form with the same bits: once shapes are folded, sizes that hang on them show.

        Without them a form whose sizes are not known would seem to take no time, and no other could compete.
        """
        model = self.of(self._same_bits[-1])
        kinds = {v.name or "": tensor_type(v) for node in model.graph for v in node.outputs}
        kinds |= fixed_types(model, self._symbols)
        return {name: kind for name, kind in kinds.items() if kind is not None and kind.is_static}


def _is_typed(model: Model) -> bool:
    """Whether every size is a number or a symbol of the inputs; inference makes up symbols where it knows none."""
    given = {size for v in model.graph.inputs if (kind := tensor_type(v)) for size in kind.shape or ()}
    kinds = (tensor_type(v) for node in model.graph for v in node.outputs if v.name)
    return all(
        kind is not None and kind.shape is not None and all(isinstance(d, int) or d in given for d in kind.shape)
        for kind in kinds
    )


def choose(forms: TypedForms, target: Target, *, tolerant: bool) -> tuple[Backend | None, list[Diagnostic]]:
    """The first back end of the target's chain that takes the model, and what is to be said.

    Args:
        forms: the model before and after the passes.
        target: what is compiled for.
        tolerant: whether what was illegal in the input already is only warned of.

    Returns:
        No back end where none declares to take the model, which is tolerated.

    Raises:
        TccError: exit UNSUPPORTED, with everything that the target does not take.
    """
    known = dict(legality.problems(forms.first, target))
    problems = dict(legality.problems(forms.last, target))
    chain, said = _chain(target, forms.first.source)
    for backend in chain:
        if not (reasons := backend.unsupported(forms.last)):
            break
        known |= {d.message: d for d in backend.unsupported(forms.first)}
        codes = {d.code for d in problems.values()}
        # Where the target has a reason of the same kind, that is enough.
        problems |= {d.message: d for d in reasons if d.code not in codes}
    else:
        backend = None
    if errors := [d for key, d in problems.items() if not (tolerant and key in known)]:
        raise TccError(Exit.UNSUPPORTED, errors)
    return backend, [*said, *map(legality.as_warning, problems.values())]


def _chain(target: Target, source: str) -> tuple[Iterator[Backend], list[Diagnostic]]:
    """The back ends to try, and what is to be said of those that are not there."""
    there = backends.names()
    first = next((name for name in target.backends if name in there), "onnxruntime")
    said = []
    if (problem := backends.backend(first).absence()) is not None:
        message = f"{problem.message}: the result for {target.text} is an ONNX file, not run by it here"
        advice = "build the engine on the device; --emit=device-script writes what does it"
        said.append(Diagnostic("W0801", message, source, help=advice))
    return backends.fallbacks(first), said


def placement(model: Model, target: Target) -> list[Placement]:
    """Where the target's first back end would run each node, and in which type; ``model`` has its values' types."""
    first = next((name for name in target.backends if name in backends.names()), "onnxruntime")
    return backends.backend(first).explain(model, Settings(target))


def versions(model: Model, target: Target) -> dict[str, int]:
    """The model's opset and IR version beside the newest that the target takes."""
    return {
        "opset": model.opset, "max_opset": target.max_opset,
        "ir_version": model.ir_version, "max_ir_version": target.max_ir_version,
    }  # fmt: skip
