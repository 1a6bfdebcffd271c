"""NVIDIA TensorRT for RTX: builds engines ahead of time, for GPUs that need not be here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tcc.backends._base import Settings
from tcc.backends.tensorrt import TensorRt, capability


@dataclass(frozen=True)
class TensorRtRtx(TensorRt):
    """As ``TensorRt``; for compute capabilities 7.5 to 12.1 except 8.7 (Jetson Orin), 9.0 and 10.0."""

    name: ClassVar[str] = "tensorrt-rtx"
    extra: ClassVar[str] = "tensorrt"
    modules: ClassVar[tuple[str, ...]] = ("tensorrt_rtx",)
    server: ClassVar[str] = "tcc.backends._tensorrt_server:TensorRtRtx"
    cannot: ClassVar[tuple[str, ...]] = (*TensorRt.cannot, "build for Jetson, H100 and other GPUs outside the RTX line")

    def _build_options(self, settings: Settings) -> dict[str, Any]:
        return {"capabilities": [capability(settings)]}


BACKEND = TensorRtRtx()
