"""NVIDIA TensorRT: builds an engine for the machine's own GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tcc.backends._base import DEFAULTS, Artefact, Settings
from tcc.backends._isolated import Isolated
from tcc.diagnostics import Diagnostic, Exit, TccError, fail

if TYPE_CHECKING:
    from tcc.ir.model import Model

_GPUS = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu")
_LARGEST_BATCH = 8


@dataclass(frozen=True)
class TensorRt(Isolated):
    """Strongly typed: the types and the Q/DQ nodes of the ONNX file decide what is computed in which precision.

    Open dimensions become one optimisation profile (see ``profile``). What TensorRT refuses is told with the
    node's name. Engines are bound to the version and to the GPU that they were built for.
    """

    name: ClassVar[str] = "tensorrt"
    domains: ClassVar[frozenset[str]] = frozenset({""})
    dtypes: ClassVar[frozenset[str]] = frozenset({
        "float32", "float16", "bfloat16", "float8e4m3fn", "int8", "int4", "uint8", "int32", "int64", "bool",
    })  # fmt: skip
    opset: ClassVar[int] = 24
    ir_version: ClassVar[int] = 12
    emits: ClassVar[str] = "engine"
    suffix: ClassVar[str] = ".engine"
    cannot: ClassVar[tuple[str, ...]] = (
        "quantise with zero points other than 0", "strings, sequences and optionals", "integer matrix products",
        "run on another GPU or version than the one it was built for",
    )  # fmt: skip
    fallback: ClassVar[str | None] = "onnxruntime-cuda"
    forms: ClassVar[str] = "tensorrt"
    extra: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ("tensorrt",)
    server: ClassVar[str] = "tcc.backends._tensorrt_server:TensorRt"
    tolerance: ClassVar[float] = 1e-3

    def lower(self, model: Model, path: Path, settings: Settings = DEFAULTS) -> Artefact:
        """Build the engine; what could not be looked at is said."""
        shapes, notes = profile(model, settings)
        options = {**settings.options, "profile": shapes, "source": model.source, **self._build_options(settings)}
        memory = settings.memory or (settings.target.memory // 4 if settings.target is not None else None)
        try:
            made = super().lower(model, path, replace(settings, options=options, memory=memory))
        except TccError as error:
            narrow = {name: [best, best, best] for name, (_, best, _) in shapes.items()}
            if error.exit_code != Exit.BACKEND or narrow == shapes or error.diagnostics[0].code != "E0820":
                raise
            made = super().lower(model, path, replace(settings, options=options | {"profile": narrow}, memory=memory))
            notes = [*notes, Diagnostic("N0820", "the engine takes one size only: no wider profile builds", path.name)]
            shapes = narrow
        return Artefact(made.files, {**made.facts, "profile": shapes}, tuple(notes))

    def _build_options(self, settings: Settings) -> dict[str, Any]:
        del settings
        return {}

    def unrunnable(self, settings: Settings = DEFAULTS) -> str:
        """Engines run on an NVIDIA GPU only."""
        del settings
        return "" if any(Path(name).exists() for name in _GPUS) else "there is no NVIDIA GPU here"


def profile(model: Model, settings: Settings) -> tuple[dict[str, Any], list[Diagnostic]]:
    """The smallest, the best and the largest shape of each input with open dimensions, and what was assumed.

    A dimension that ``settings.symbols`` names reaches from 1 to its size, at which the engine is best. Others take
    the size at which the model was seen to run (``settings.options["shapes"]``), the first axis up to eight.
    """
    seen: Mapping[str, Sequence[int]] = settings.options.get("shapes") or {}
    made: dict[str, Any] = {}
    assumed: dict[str, str] = {}
    for value in model.graph.inputs:
        if value.shape is None or value.name in model.graph.initializers:
            continue
        sizes = [d if isinstance(d, int) else d.value or "" for d in value.shape.dims]
        if all(isinstance(size, int) for size in sizes):
            continue
        rows = [_range(size, axis, settings.symbols, seen.get(value.name or "", ())) for axis, size in enumerate(sizes)]
        made[value.name or ""] = [list(shape) for shape in zip(*rows, strict=True)]
        for size, row in zip(sizes, rows, strict=True):
            if isinstance(size, str) and size not in settings.symbols:
                assumed[size or f"an unnamed one of {value.name}"] = f"{row[0]} to {row[2]}, best at {row[1]}"
    message = "; ".join(f"dimension {name} is taken to be {text}" for name, text in assumed.items())
    notes = [Diagnostic("W0821", message, model.source, help="say otherwise with --dim NAME=SIZE")] if assumed else []
    return made, notes


def _range(size: int | str, axis: int, symbols: Mapping[str, int], seen: Sequence[int]) -> tuple[int, int, int]:
    if isinstance(size, int):
        return size, size, size
    if size in symbols:
        return 1, symbols[size], symbols[size]
    best = seen[axis] if axis < len(seen) else 1
    return 1, best, max(best, _LARGEST_BATCH) if axis == 0 else best


def capability(settings: Settings) -> str:
    """The target's compute capability as TensorRT-RTX spells it, ``SM86``.

    Raises:
        TccError: E0821 for a target without a GPU.
    """
    target = settings.target
    if target is not None and target.processor.startswith("sm_"):
        return target.processor.upper().replace("_", "")
    if any(Path(name).exists() for name in _GPUS):
        return "CURRENT"
    name = "this machine" if target is None else target.text
    raise fail(Exit.UNSUPPORTED, "E0821", f"{name} has no NVIDIA GPU to build an engine for",
               help="name a target that has: --target=l4")  # fmt: skip


BACKEND = TensorRt()
