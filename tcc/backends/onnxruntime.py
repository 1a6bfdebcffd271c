"""ONNX Runtime on the CPU: the embedded default, and the reference for parity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tcc.backends._base import DEFAULTS, Artefact, Backend, Settings
from tcc.diagnostics import Exit, fail
from tcc.ir.types import BITS

if TYPE_CHECKING:
    from tcc.ir.execution import Runner
    from tcc.ir.model import Model

# As of 1.31, the oldest release that tcc takes.
_NOT_TAKEN = frozenset({"complex64", "complex128", "float4e2m1"})


@dataclass(frozen=True)
class OnnxRuntime(Backend):
    """Runs the ONNX file itself, with ONNX Runtime's default optimisations."""

    name: ClassVar[str] = "onnxruntime"
    domains: ClassVar[frozenset[str]] = frozenset({"", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
    dtypes: ClassVar[frozenset[str]] = frozenset(BITS) - _NOT_TAKEN
    opset: ClassVar[int] = 26
    ir_version: ClassVar[int] = 13
    emits: ClassVar[str] = "onnx"
    suffix: ClassVar[str] = ".onnx"
    cannot: ClassVar[tuple[str, ...]] = (
        "run operators of other domains than its own",
        "compute in float8 or 4-bit types: they are storage, dequantised before use",
        "run training operators",
    )
    providers: ClassVar[tuple[str, ...]] = ("CPUExecutionProvider",)
    """ONNX Runtime's execution providers, the wanted one first."""

    def lower(self, model: Model, path: Path, settings: Settings = DEFAULTS) -> Artefact:  # noqa: ARG002 - the interface
        """Write the model as ONNX: ONNX Runtime's own optimised files are bound to the machine that made them."""
        self.require(model)
        return Artefact(model.save(path))

    def load(self, path: Path, *, threads: int = 1) -> Runner:
        """A session as a user would make it, on the provider that was asked for.

        Raises:
            TccError: E0803 where ONNX Runtime lacks the provider or drops it on loading, and what ``Runner`` raises.
        """
        import onnxruntime

        from tcc.ir.execution import Runner

        wanted = self.providers[0]
        if wanted not in onnxruntime.get_available_providers():
            installed = ", ".join(onnxruntime.get_available_providers())
            raise fail(
                Exit.BACKEND, "E0803", f"onnxruntime {onnxruntime.__version__} has no {wanted}, only {installed}",
                where=str(path), help=f"install a build of onnxruntime with {wanted}",
            )  # fmt: skip
        runner = Runner(path, optimise=True, threads=threads, providers=self.providers)
        # Where a provider's libraries are missing, ONNX Runtime goes on with the next one and only logs it.
        if wanted not in runner.providers:
            raise fail(
                Exit.BACKEND, "E0803", f"onnxruntime loaded {', '.join(runner.providers)}, should be {wanted}",
                where=str(path), help="check the driver and the libraries that the provider needs",
            )  # fmt: skip
        return runner


BACKEND = OnnxRuntime()
