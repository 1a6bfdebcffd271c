"""TVM: a shared library for a processor, with this package's own kernels for convolutions and matrix products."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tcc.backends import _tvm_remote
from tcc.backends._base import DEFAULTS, Artefact, Settings
from tcc.backends._isolated import Isolated
from tcc.diagnostics import Exit, fail

if TYPE_CHECKING:
    from tcc.ir.model import Model

_ARM = "aarch64-linux-gnu"
_PROCESSORS = {
    "haswell": ("", "haswell"), "cascadelake": ("", "cascadelake"),
    "cortex-a72": (_ARM, "cortex-a72"), "cortex-a76": (_ARM, "cortex-a76"), "sm_87": (_ARM, "cortex-a78ae"),
}  # fmt: skip
"""What targets' processors are to LLVM: the triple of another machine, and the processor; of Orin, its host's cores."""
_NEEDS = {"haswell": {"avx2", "fma"}, "cascadelake": {"avx512_vnni", "avx512vl"}}


@dataclass(frozen=True)
class Tvm(Isolated):
    """Compiles ahead of time for fixed sizes; the library runs with TVM's runtime, which needs no Python.

    Convolutions run channels last with packed weights and register accumulators, matrix products likewise;
    everything else takes TVM's operators, in vectors where their shapes allow. Where TVM_TRACKER_HOST, TVM_TRACKER_PORT
    and TVM_TRACKER_KEY name a tracker of TVM's RPC and a board, libraries run there.
    """

    name: ClassVar[str] = "tvm"
    domains: ClassVar[frozenset[str]] = frozenset({""})
    dtypes: ClassVar[frozenset[str]] = frozenset({
        "float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
        "bool",
    })  # fmt: skip
    opset: ClassVar[int] = 22
    ir_version: ClassVar[int] = 13
    emits: ClassVar[str] = "tvm"
    suffix: ClassVar[str] = ".so"
    cannot: ClassVar[tuple[str, ...]] = (
        "open dimensions", "integer kernels where the processor adds up no products of bytes (AVX512-VNNI, dotprod)",
        "control flow, sequences and recurrent operators that its importer lacks",
    )  # fmt: skip
    fallback: ClassVar[str | None] = "onnxruntime"
    extra: ClassVar[str] = "tvm"
    modules: ClassVar[tuple[str, ...]] = ("tvm",)
    fixed_shapes: ClassVar[bool] = True
    tiled: ClassVar[bool] = True
    server: ClassVar[str] = "tcc.backends._tvm_server:Server"

    def lower(self, model: Model, path: Path, settings: Settings = DEFAULTS) -> Artefact:
        """Compile; the library's sizes, names and types stand in ``<path>.json`` beside it."""
        triple, mcpu = processor(settings)
        compiler = f"{triple}-g++" if triple and platform.machine() != "aarch64" else "g++"
        if shutil.which(compiler) is None:
            raise fail(Exit.BACKEND, "E0833", f"tvm links with {compiler}, which is not installed",
                       help=f"apt install {'g++-aarch64-linux-gnu' if triple else 'g++'}")  # fmt: skip
        options = {"mcpu": mcpu, "triple": triple, "compiler": compiler, **settings.options}
        return super().lower(model, path, replace(settings, options=options))

    def unrunnable(self, settings: Settings = DEFAULTS) -> str:
        """A library runs on the processor that it was compiled for: this machine, or a tracker's board."""
        triple, mcpu = processor(settings)
        if not mcpu or _tvm_remote.is_asked_for():
            return ""
        is_other = bool(triple) != (platform.machine() == "aarch64")
        return f"this machine is no {mcpu}" if is_other or _NEEDS.get(mcpu, set()) - _flags() else ""


def processor(settings: Settings) -> tuple[str, str]:
    """The triple (empty for this machine's kind) and LLVM's name of the processor (empty for this one).

    Raises:
        TccError: E0834 for a target that has none.
    """
    target = settings.target
    if target is None or target.name == "native":
        return "", ""
    if target.processor not in _PROCESSORS:
        raise fail(Exit.UNSUPPORTED, "E0834", f"{target.text} has no processor that tvm compiles for here",
                   help="name a processor: --target=rpi5, or leave --target out for this one")  # fmt: skip
    return _PROCESSORS[target.processor]


def _flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").partition(":")[2].split())


BACKEND = Tvm()
