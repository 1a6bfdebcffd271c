"""OpenVINO on the CPU: computes in the precision that is asked for, float32 unless said otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tcc.backends._base import Loaded
from tcc.backends._isolated import Isolated, Remote
from tcc.diagnostics import TccError


@dataclass(frozen=True)
class OpenVino(Isolated):
    """Reads the ONNX file, writes OpenVINO's own format (``.xml`` with its weights in ``.bin``), and runs it.

    OpenVINO by default computes float32 models in bfloat16 where the processor has instructions for it, which is
    faster and coarser. ``precision`` is handed to it as a hint, so that measurements compare like with like;
    ``Remote.facts["precision"]`` says what it took.
    """

    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    name: ClassVar[str] = "openvino"
    domains: ClassVar[frozenset[str]] = frozenset({"", "com.microsoft"})
    dtypes: ClassVar[frozenset[str]] = frozenset({
        "float32", "float16", "bfloat16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
        "uint64", "bool", "int4", "uint4", "float8e4m3fn", "float8e5m2", "string",
    })  # fmt: skip
    opset: ClassVar[int] = 23
    ir_version: ClassVar[int] = 13
    emits: ClassVar[str] = "openvino"
    suffix: ClassVar[str] = ".xml"
    cannot: ClassVar[tuple[str, ...]] = ("sequences and optionals", "training operators")
    fallback: ClassVar[str | None] = "onnxruntime"
    extra: ClassVar[str] = "openvino"
    modules: ClassVar[tuple[str, ...]] = ("openvino",)
    server: ClassVar[str] = "tcc.backends._openvino_server:Server"

    def load(self, path: Path, *, threads: int = 1) -> Loaded:
        """Compile the model for the CPU in another process."""
        worker = self.worker()
        try:
            value, _ = worker.call("load", path=str(path), threads=threads, precision=self.precision)
        except TccError:
            worker.close()
            raise
        return Remote(worker, value)


BACKEND = OpenVino()
