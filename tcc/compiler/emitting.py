"""Turns the shipped ONNX file into what ``--emit`` asks for, and compares what that computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir

from tcc import backends, frontends
from tcc.backends import Artefact, Backend, Settings
from tcc.compiler import fixing, placing
from tcc.compiler.request import Request
from tcc.compiler.shipping import Shipped
from tcc.diagnostics import Diagnostic, Exit, TccError, fail
from tcc.ir.equality import compare
from tcc.ir.execution import Runner
from tcc.ir.inference import annotate
from tcc.ir.model import Model
from tcc.targets import Target, parse_target

if TYPE_CHECKING:
    import onnx

ONNX = "onnx"
Feed = Mapping[str, Any]


@dataclass(frozen=True)
class Emitted:
    """What was written: ``name`` is that of the main file's place, beside the output that was asked for.

    ``parity`` says how far the artefact's outputs are from ONNX Runtime's on the shipped ONNX file, or why that was
    not compared.
    """

    backend: Backend
    files: tuple[Path, ...]
    parity: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    feeds: Sequence[Feed] = ()

    def entry(self) -> dict[str, Any]:
        """For the report."""
        return {
            "kind": self.backend.emits, "backend": self.backend.name, "files": [file.name for file in self.files],
            "bytes": sum(file.stat().st_size for file in self.files), "parity": self.parity, **self.facts,
        }  # fmt: skip


def require_emitter(kind: str) -> Backend:
    """The back end that writes this kind of artefact here.

    Raises:
        TccError: E0233 for a kind that there is not, E0804 where what it needs is not installed.
    """
    if kind not in backends.kinds():
        raise fail(Exit.USAGE, "E0233", f"nothing emits {kind!r}", help=f"use one of {', '.join(backends.kinds())}")
    chosen = backends.emitters(kind)[0]
    if (problem := chosen.absence()) is not None:
        others = [found.name for found in backends.emitters(kind)[1:]]
        notes = (f"{', '.join(others)} would do as well, and is not installed either",) if others else ()
        raise TccError(Exit.BACKEND, [Diagnostic(problem.code, problem.message, "", notes, problem.help)])
    return chosen


def narrowed(target: Target, kind: str) -> Target:
    """The target with no newer opset than what writes this kind of artefact takes; raises as ``require_emitter``."""
    return replace(target, max_opset=min(target.max_opset, require_emitter(kind).opset))


@dataclass(frozen=True)
class Emission:
    """What artefacts are made from and with.

    Args:
        shipped: the ONNX file that was verified, and its weights' file where there is one.
        source: the name of the input, for messages.
        settings: what lowering depends on.
        feeds: inputs that the artefact is compared on.
    """

    shipped: Sequence[Path]
    source: str
    settings: Settings
    feeds: Sequence[Feed]

    def model(self) -> Model:
        """The shipped model with the types of its values, under the input's name."""
        model = frontends.load(self.shipped[0])
        annotate(model)
        model.source = self.source
        return model


def emit(kind: str, path: Path, made_of: Emission) -> Emitted:
    """Lower the shipped ONNX file with the back end of that kind, else with the next one of its declared chain.

    A back end that fails, crashes or computes something else is left for the next one with a warning; the chain ends
    at ONNX Runtime, for which the file is the ONNX file itself, with the suffix ``.onnx``.

    Raises:
        TccError: see ``require_emitter``; exit USAGE where a file cannot be written.
    """
    said: list[Diagnostic] = []
    for backend in backends.fallbacks(require_emitter(kind).name):
        if backend.emits == ONNX:
            made = backend.lower(made_of.model(), path.with_suffix(backend.suffix))
            return Emitted(backend, made.files, "the ONNX file itself", made.facts, tuple(said))
        if backend.absence() is not None:
            continue
        try:
            emitted = _lowered(backend, path, made_of)
            return replace(emitted, diagnostics=(*said, *emitted.diagnostics))
        except TccError as error:
            if error.exit_code not in {Exit.BACKEND, Exit.UNSUPPORTED}:
                raise
            said += [_given_up(backend, problem) for problem in error.diagnostics]
    raise AssertionError("every chain ends at ONNX Runtime")


@dataclass(frozen=True)
class Attempt:
    """One back end without a fallback: ``status`` is supported, unchecked or fell back; ``feeds`` fit the artefact."""

    status: str
    why: str
    result: Emitted | None = None
    feeds: Sequence[Feed] = ()


def attempt(backend: Backend, path: Path, made_of: Emission) -> Attempt:
    """What one back end makes of a model, for tables of what is supported; raises nothing that it says of the model."""
    try:
        made = _lowered(backend, path, made_of)
    except TccError as error:
        problem = error.diagnostics[0]
        return Attempt("fell back", f"{problem.code} {problem.where} {problem.message}")
    checked = not made.parity.startswith("unchecked")
    return Attempt("supported" if checked else "unchecked", "" if checked else made.parity, made, made.feeds)


def _lowered(backend: Backend, path: Path, made_of: Emission) -> Emitted:
    feeds, settings, model = made_of.feeds, made_of.settings, made_of.model()
    said: list[Diagnostic] = []
    if backend.fixed_shapes:
        # What becomes constant is folded at -O2, which may not write operators that this back end does not know.
        within = replace(settings.target or parse_target("native"), max_opset=backend.opset)
        if backend.tiled:
            # Its kernels' tiles are chosen there, with the program, and stand on the nodes.
            within = replace(within, backends=(backend.name, *within.backends))
        model, feeds, said = fixing.fixed(model, replace(settings, target=within), feeds)
    elif feeds:
        settings = replace(settings, options={**settings.options, "shapes": fixing.shapes(feeds[0])})
    place = path if backend.emits != ONNX else path.with_suffix(backend.suffix)
    made = backend.lower(model, place, settings)
    reason = backend.unrunnable(settings) or ("" if feeds else "no inputs run through the model")
    parity = "" if reason else _parity(backend, made_of.shipped[0], made, feeds)
    diagnostics = [*said, *made.diagnostics]
    if reason:
        message = f"what {backend.name} computes was not compared: {reason}"
        diagnostics.append(Diagnostic("W0813", message, path.name, help="compare the outputs where it runs"))
    return Emitted(backend, made.files, parity or f"unchecked: {reason}", made.facts, tuple(diagnostics), feeds)


def _parity(backend: Backend, source: Path, made: Artefact, feeds: Sequence[Feed]) -> str:
    """How the artefact's outputs compare with ONNX Runtime's, in words.

    Raises:
        TccError: E0812 where they differ by more than ``_tolerance`` allows.
    """
    reference, loaded = Runner(source), backend.load(made.files[0])
    expected = [reference.run(feed) for feed in feeds]
    rtol = max(backend.tolerance, _tolerance(source, expected, feeds))
    worst = [compare(e, loaded.run(f), bits=False, rtol=rtol) for e, f in zip(expected, feeds, strict=True)]
    found = max(worst, key=lambda c: (not c.equal, c.largest_scaled))
    if not found.equal:
        raise fail(Exit.BACKEND, "E0812", f"{backend.name} computes something else than onnxruntime: {found.text()}")
    return found.text()


_AMPLIFICATION = 2.0
"""Two roundings of one computation differ from the exact one by as much as from each other."""
_SHAKEN = 2
"""How often constants are changed."""
_ORDER = 1e-6
"""What sums of float32 differ by, relative, when they are added up in another order."""
_MOST = 0.1
"""Beyond which nothing is called equal, whatever the model does to roundings."""
_QUANTISED = 1e-2
"""Of a tensor's scale: where values are rounded to 8 bits, ties fall either way, and layers carry them on."""


def _tolerance(source: Path, expected: Sequence[list[Any]], feeds: Sequence[Feed]) -> float:
    """What the model itself asks for: twice its difference from itself, computed in another order or rounded otherwise.

    ONNX Runtime's own optimisations are such another order. Of a model that rounds to 8 bits the constants are changed
    by as little as sums differ besides: what a tie falls to at its first layers is all that two runtimes may differ in.
    """
    others = [Runner(source, optimise=True)]
    rounded = any(node.op_type == "QuantizeLinear" for node in frontends.load(source).nodes())
    if rounded:
        others += [Runner(_shaken(source, seed)) for seed in range(_SHAKEN)]
    own = [compare(e, r.run(f), bits=False) for r in others for e, f in zip(expected, feeds, strict=True)]
    return min(_MOST, max(_AMPLIFICATION * max(c.largest_scaled for c in own), _QUANTISED if rounded else 0.0))


def _shaken(source: Path, seed: int) -> onnx.ModelProto:
    """The model with its float32 constants changed by at most ``_ORDER`` of themselves."""
    model, draw = frontends.load(source), np.random.default_rng(seed)
    for v in model.graph.initializers.values():
        if v.const_value is not None and v.dtype == onnx_ir.DataType.FLOAT:
            array = v.const_value.numpy()
            noise = draw.uniform(1 - _ORDER, 1 + _ORDER, array.shape)
            v.const_value = onnx_ir.tensor((array * noise).astype(np.float32), name=v.name)
    return model.to_proto()


def _given_up(backend: Backend, problem: Diagnostic) -> Diagnostic:
    message = f"{backend.name} is given up, {backend.fallback} is next: {problem.code} {problem.message}"
    return Diagnostic("W0802", message, problem.where, problem.notes, problem.help)


def of(request: Request, folder: Path, shipped: Shipped, feeds: Sequence[Feed]) -> Emitted | None:
    """What the request asks for besides plain ONNX, in ``folder``; what is to be said goes to the request."""
    if request.emit == ONNX:
        return None
    place = folder / "emitted"
    place.mkdir()
    name = shipped.files[0].name if request.output is None else request.output.resolve().name
    settings = Settings(request.target, request.symbols, request.target.threads)
    emitted = emit(request.emit, place / name, Emission(shipped.files, shipped.model.source, settings, feeds))
    request.diagnostics += emitted.diagnostics
    return emitted


def publish(files: Sequence[Path], output: Path | None) -> tuple[Path, ...]:
    """Put the files in their places beside ``output``; a fallback's has its own suffix."""
    if output is None:
        return ()
    name = files[0].name
    return placing.publish(files, output if output.resolve().name == name else output.with_name(name))
