"""Back ends: one module each, found by its name, that turns a model into what a runtime loads, and runs it."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tcc.backends._measure import PairedLatency, measure_pair
from tcc.diagnostics import Diagnostic, Exit, TccError, fail, node_location

if TYPE_CHECKING:
    from tcc.ir.model import Model

__all__ = ["Backend", "Loaded", "PairedLatency", "backend", "fallbacks", "measure_pair", "names"]

Value = Any
"""What a runtime takes and gives: an array, a list of them for a sequence, None for an absent optional."""


class Loaded(Protocol):
    """A model that is ready to run."""

    def run(self, feeds: Mapping[str, Value]) -> list[Value]:
        """The outputs in the model's order."""


@dataclass(frozen=True)
class Backend(ABC):
    """One way to deploy a model; a module of this package holds exactly one, under ``BACKEND``.

    What it can lower is declared; ``unsupported`` checks a model against that. ``fallback`` names the back end
    to try when this one fails; ``cannot`` says what it does not do at all.
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
    cannot: ClassVar[tuple[str, ...]] = ()
    fallback: ClassVar[str | None] = None

    @abstractmethod
    def lower(self, model: Model, path: Path) -> tuple[Path, ...]:
        """Write the artifact at ``path``, whole or not at all; the files written.

        Raises:
            TccError: exit UNSUPPORTED with everything in the way, exit USAGE where the path cannot be written.
        """

    @abstractmethod
    def load(self, path: Path, *, threads: int = 1) -> Loaded:
        """Make an artifact ready to run.

        Raises:
            TccError: exit BACKEND or UNSUPPORTED.
        """

    def unsupported(self, model: Model) -> list[Diagnostic]:
        """Everything in the model that this back end does not declare, one diagnostic a kind of problem."""
        return [*self._versions(model), *self._operators(model), *self._types(model)]

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

    def _types(self, model: Model) -> Iterator[Diagnostic]:
        from tcc.ir.model import dtype_name

        values = [*model.graph.inputs, *model.graph.outputs]
        used = {dtype_name(value.dtype): value.name or "" for value in values if value.dtype is not None}
        used |= {dtype_name(tensor.dtype): tensor.name or "" for tensor in model.constants()}
        for dtype in sorted(used.keys() - self.dtypes):
            message = f"{self.name} does not take {dtype}, the type of {used[dtype]!r}"
            yield Diagnostic("E0413", message, model.source)


def names() -> list[str]:
    """The back ends there are; modules with a leading underscore are their helpers."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(module.replace("_", "-") for module in modules if not module.startswith("_"))


def backend(name: str) -> Backend:
    """The back end of that name.

    Raises:
        TccError: E0231 for a name that is none.
    """
    if name not in names():
        raise fail(Exit.USAGE, "E0231", f"there is no back end {name!r}", help=f"use one of {', '.join(names())}")
    found: Backend = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").BACKEND
    return found


def fallbacks(name: str) -> Iterator[Backend]:
    """The declared chain: the back end itself, then what to try in its place, in order."""
    following: str | None = name
    seen: set[str] = set()
    while following is not None and following not in seen:
        seen.add(following)
        current = backend(following)
        yield current
        following = current.fallback
