"""ONNX Runtime on an NVIDIA GPU; operators without a CUDA kernel run on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tcc.backends.onnxruntime import OnnxRuntime


@dataclass(frozen=True)
class OnnxRuntimeCuda(OnnxRuntime):
    """As ``OnnxRuntime``, with the CUDA execution provider first."""

    name: ClassVar[str] = "onnxruntime-cuda"
    providers: ClassVar[tuple[str, ...]] = ("CUDAExecutionProvider", "CPUExecutionProvider")
    fallback: ClassVar[str | None] = "onnxruntime"


BACKEND = OnnxRuntimeCuda()
