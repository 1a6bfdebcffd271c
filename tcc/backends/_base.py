"""What a back end is: what it takes, what it writes, how its artefacts are loaded, run, timed and explained."""

from __future__ import annotations

import importlib.util
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tcc.diagnostics import Diagnostic, Exit, TccError, node_location

if TYPE_CHECKING:
    import onnx_ir

    from tcc.ir.model import Model
    from tcc.targets import Target

Value = Any
"""What a runtime takes and gives: an array, a list of them for a sequence, None for an absent optional."""


class Loaded(Protocol):
    """A model that is ready to run."""

    def run(self, feeds: Mapping[str, Value]) -> list[Value]:
        """The outputs in the model's order."""


@dataclass(frozen=True)
class Settings:
    """What lowering may depend on besides the model.

    Args:
        target: what is compiled for; None for this machine.
        symbols: sizes of symbolic dimensions.
        threads: of the artefact where it is bound to a number of them.
        memory: bytes that building may take beside the model (TensorRT's workspace); None for the default.
        options: a back end's own, by name.
    """

    target: Target | None = None
    symbols: Mapping[str, int] = field(default_factory=dict)
    threads: int = 1
    memory: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


DEFAULTS = Settings()


@dataclass(frozen=True)
class Artefact:
    """What lowering wrote: the files, the one to load first; plain facts for the report; what is to be said."""

    files: tuple[Path, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True)
class Placement:
    """Where one node would run and in which element type; ``note`` says what a reader has to know besides."""

    node: str
    operator: str
    where: str
    dtype: str
    note: str = ""


@dataclass(frozen=True)
class Backend(ABC):
    """One way to deploy a model; a module of this package holds exactly one, under ``BACKEND``.

    What it can lower is declared; ``unsupported`` checks a model against that. ``fallback`` names the back end
    to try when this one fails; ``cannot`` says what it does not do at all. ``emits`` is what ``--emit`` calls its
    artefacts, which end in ``suffix``; ``modules`` must be importable and come with the extra ``extra``.
    """

    name: ClassVar[str]
    domains: ClassVar[frozenset[str]]
    """Operator domains, the default one as ''."""
    dtypes: ClassVar[frozenset[str]]
    """Element types of inputs, outputs and weights, in ``tcc.ir.types``' names."""
    opset: ClassVar[int]
    """The newest version of the default domain."""
    ir_version: ClassVar[int]
    """The newest version of the file format."""
    emits: ClassVar[str]
    suffix: ClassVar[str]
    cannot: ClassVar[tuple[str, ...]] = ()
    fallback: ClassVar[str | None] = None
    extra: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    fixed_shapes: ClassVar[bool] = False
    """Whether every size must be known when an artefact is made."""
    tiled: ClassVar[bool] = False
    """Whether it compiles kernels itself, in the tiles that the model's nodes say."""
    forms: ClassVar[str] = ""
    """The table in ``forms/`` that says which forms of operators are refused; '' for none."""
    tolerance: ClassVar[float] = 1e-4
    """How far outputs may be from ONNX Runtime's, relative to the largest absolute value of each tensor."""

    @abstractmethod
    def lower(self, model: Model, path: Path, settings: Settings = DEFAULTS) -> Artefact:
        """Write the artefact at ``path``, whole or not at all.

        Raises:
            TccError: exit UNSUPPORTED with everything in the way, exit USAGE where the path cannot be written,
                exit BACKEND where the back end is not installed, fails or crashes.
        """

    @abstractmethod
    def load(self, path: Path, *, threads: int = 1) -> Loaded:
        """Make an artefact ready to run.

        Raises:
            TccError: exit BACKEND or UNSUPPORTED.
        """

    def measure(self, loaded: Loaded, feeds: Mapping[str, Value], rounds: int = 10) -> list[float]:
        """Seconds of each of ``rounds`` runs, after one that is not counted."""
        loaded.run(feeds)
        samples = []
        for _ in range(rounds):
            started = time.perf_counter()
            loaded.run(feeds)
            samples.append(time.perf_counter() - started)
        return samples

    def explain(self, model: Model, settings: Settings = DEFAULTS) -> list[Placement]:
        """Where each node would run and in which type; ``model`` has its values' types where they are known."""
        from tcc.backends._placement import placements

        return placements(model, self.name, settings.target)

    def unrunnable(self, settings: Settings = DEFAULTS) -> str:
        """Why artefacts of these settings cannot be run here although they can be made here; empty where they can."""
        del settings
        return ""

    def absence(self) -> Diagnostic | None:
        """What is missing on this machine, in one line; None where all is there. Imports nothing."""
        missing = [name for name in self.modules if importlib.util.find_spec(name) is None]
        if not missing:
            return None
        message = f"back end {self.name} needs {', '.join(missing)}, which is not installed"
        return Diagnostic("E0804", message, help=f"pip install 'tensorcompress[{self.extra}]'" if self.extra else "")

    def require_installed(self) -> None:
        """Check that what the back end needs is there.

        Raises:
            TccError: E0804, naming the extra.
        """
        if problem := self.absence():
            raise TccError(Exit.BACKEND, [problem])

    def unsupported(self, model: Model) -> list[Diagnostic]:
        """Everything in the model that this back end does not declare, one diagnostic a kind of problem."""
        return [*self._versions(model), *self._operators(model), *self._types(model)]

    def refused(self, model: Model) -> Iterator[tuple[str, str, onnx_ir.Node]]:
        """Each node whose operator this back end has, but not in this form: why, what to do about it, the node.

        What it says when it is asked to make an artefact is more: this is what can be said without it.
        """
        from tcc.backends._forms import refused

        return refused(model, self.forms) if self.forms else iter(())

    def require(self, model: Model) -> None:
        """Check the model against what is declared.

        Raises:
            TccError: exit UNSUPPORTED, with everything in the way.
        """
        if problems := self.unsupported(model):
            raise TccError(Exit.UNSUPPORTED, problems)

    def _versions(self, model: Model) -> Iterator[Diagnostic]:
        for what, has, highest in (
            ("opset", model.opset, self.opset), ("IR version", model.ir_version, self.ir_version),
        ):  # fmt: skip
            if has > highest:
                message = f"{what} is {has}, {self.name} takes at most {highest}"
                yield Diagnostic("E0411", message, model.source, help=f"export the model at {what} {highest} or lower")

    def _operators(self, model: Model) -> Iterator[Diagnostic]:
        """One diagnostic for each operator of a foreign domain; the model's own functions are at home."""
        own = {(function.domain, function.name) for function in model.ir.functions.values()}
        seen: dict[tuple[str, str], str] = {}
        for node in model.nodes():
            if node.domain not in self.domains and (node.domain, node.op_type) not in own:
                seen.setdefault((node.domain, node.op_type), node.name or "")
        for (domain, operator), name in seen.items():
            where = node_location(model.source, name, operator)
            yield Diagnostic("E0412", f"{self.name} has no operators of the domain {domain!r}", where)

    def foreign_types(self, model: Model) -> dict[str, str]:
        """Element types of inputs, outputs and weights that are not declared, in order, each with a value's name."""
        from tcc.ir.model import dtype_name

        values = [*model.graph.inputs, *model.graph.outputs]
        used = {dtype_name(value.dtype): value.name or "" for value in values if value.dtype is not None}
        used |= {dtype_name(tensor.dtype): tensor.name or "" for tensor in model.constants()}
        return {dtype: used[dtype] for dtype in sorted(used.keys() - self.dtypes)}

    def _types(self, model: Model) -> Iterator[Diagnostic]:
        for dtype, name in self.foreign_types(model).items():
            yield Diagnostic("E0413", f"{self.name} does not take {dtype}, the type of {name!r}", model.source)
