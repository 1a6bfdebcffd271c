"""What a target cannot run of a model, all at once, and what compiling for it would do about each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tcc import backends, frontends
from tcc.backends import Placement, Settings
from tcc.compiler import legality, provenance
from tcc.diagnostics import Diagnostic, TccError, node_location
from tcc.ir.inference import annotate
from tcc.ir.model import Model
from tcc.targets import Target

_SHOWN = 3
"""Names of nodes that a line of text holds; JSON has them all."""


@dataclass(frozen=True)
class Finding:
    """One thing that the target cannot run. ``nodes`` are all that it is about, empty for the model as a whole.

    ``remedy`` says what ``tcc -O2`` does about it; ``solved`` whether the compiled model is free of it.
    """

    code: str
    message: str
    where: str
    nodes: tuple[str, ...]
    remedy: str
    solved: bool

    def diagnostic(self) -> Diagnostic:
        """For the terminal."""
        more = len(self.nodes) - _SHOWN
        listed = ", ".join(self.nodes[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        notes = (f"nodes: {listed}",) if len(self.nodes) > 1 else ()
        return Diagnostic(self.code, self.message, self.where, notes, self.remedy)


@dataclass(frozen=True)
class Checked:
    """All findings on one model for one target, and where each layer would run."""

    source: str
    target: Target
    backend: str
    findings: tuple[Finding, ...]
    placements: tuple[Placement, ...]
    provenance: Mapping[str, str] = field(default_factory=dict)
    """What a model that tcc made lossy says of itself."""

    def entry(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "source": self.source, "target": self.target.text, "backend": self.backend,
            "runs": not self.findings, "runs_compiled": all(f.solved for f in self.findings),
            "provenance": dict(self.provenance),
            "findings": [asdict(f) for f in self.findings], "layers": [asdict(p) for p in self.placements],
        }  # fmt: skip

    def layers(self) -> str:
        """The layer table."""
        rows = [("layer", "operator", "where", "type", "")]
        rows += [(p.node or "<unnamed>", p.operator, p.where, p.dtype, p.note) for p in self.placements]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ("  ".join([*(c.ljust(w) for c, w in zip(r, widths, strict=False)), r[4]]).rstrip() for r in rows)
        return "\n".join(lines)

    def summary(self) -> str:
        """One line, after those of where the model comes from."""
        return "\n".join([*(f"compiled: {name}: {text}" for name, text in self.provenance.items()), self._verdict()])

    def _verdict(self) -> str:
        name = f"{self.source} for {self.target.text}"
        if not self.findings:
            return f"{name}: {self.backend} takes it as it is"
        left = sum(not f.solved for f in self.findings)
        rest = f"{left} of them stay" if left else "tcc -O2 solves them all"
        return f"{name}: {len(self.findings)} problem{'s' * (len(self.findings) > 1)}, {rest}"


def check(source: Path, target: Target, symbols: Mapping[str, int] | None = None) -> Checked:
    """Check a model against what a target and its first back end take; raises what loading raises."""
    model = frontends.load(source)
    annotate(model)
    first = next(name for name in target.backends if name in backends.names())
    found = problems(model, target, first)
    left, failed = _after_compiling(source, target, first, symbols) if found else (set(), "")
    findings = tuple(
        Finding(p.code, p.message, p.where, nodes, *_remedy(key, left, failed, model, target, advice=_advice(p)))
        for key, (p, nodes) in found.items()
    )
    placements = backends.backend(first).explain(model, Settings(target))
    return Checked(model.source, target, first, findings, tuple(placements), provenance.of(model))


def problems(model: Model, target: Target, backend: str) -> dict[str, tuple[Diagnostic, tuple[str, ...]]]:
    """Everything that a target and one of its back ends do not take, by what it is and not where, with all nodes.

    ``model`` has its values' types where they are known. Nothing is compiled.
    """
    nodes = legality.nodes(model, target)
    found = {key: (problem, tuple(nodes.get(key, ()))) for key, problem in legality.problems(model, target).items()}
    codes = {problem.code for problem, _ in found.values()} - {"E0413"}
    # Where the target has a reason of the same kind, or for the same type, that is enough.
    named = [t for t in backends.backend(backend).foreign_types(model) if any(f"type {t} " in key for key in found)]
    own = backends.backend(backend).unsupported(model)
    left = [d for d in own if d.code not in codes and not any(f" take {t}, " in d.message for t in named)]
    return found | {d.message: (d, ()) for d in left} | _forms(model, backend)


def _forms(model: Model, backend: str) -> dict[str, tuple[Diagnostic, tuple[str, ...]]]:
    """Operators that the back end has, in forms that it refuses."""
    made: dict[str, tuple[Diagnostic, tuple[str, ...]]] = {}
    for reason, remedy, node in backends.backend(backend).refused(model):
        where = node_location(model.source, node.name or "", node.op_type)
        first, nodes = made.get(reason, (Diagnostic("E0414", reason, where, help=remedy), ()))
        made[reason] = first, (*nodes, node.name or "<unnamed>")
    return made


def _after_compiling(
    source: Path, target: Target, backend: str, symbols: Mapping[str, int] | None
) -> tuple[set[str], str]:
    """The keys of the problems that are left after -O2, and why it could not be tried."""
    from tcc import compiler

    try:
        made = compiler.compile(source, 2, target, symbols=symbols).model
    except TccError as error:
        return set(), error.diagnostics[0].message
    annotate(made)
    return set(problems(made, target, backend)), ""


def _remedy(key: str, left: set[str], failed: str, model: Model, target: Target, *, advice: str) -> tuple[str, bool]:
    if failed:
        return f"tcc -O2 does not get as far: {failed}", False
    if key not in left:
        return "tcc -O2 removes it", True
    takers = [name for name in _others(target) if not backends.backend(name).unsupported(model)]
    if takers:
        return f"it stays; {advice}{' or '.join(takers)} runs the model on {target.name}, slower", False
    return f"it stays, and no back end of the target runs it: {advice or 'replace it, or '}choose another target", False


def _advice(problem: Diagnostic) -> str:
    """What is peculiar to a form; of operators and types nothing that the remedy does not say."""
    return f"{problem.help}; " if problem.code == "E0414" else ""


def _others(target: Target) -> Iterator[str]:
    """The back ends after the first."""
    there = [name for name in target.backends if name in backends.names()]
    yield from there[1:]
