"""ONNX Runtime's own file format: what minimal builds load, and what loads fastest."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tcc.backends._base import DEFAULTS, Artefact, Settings
from tcc.backends.onnxruntime import OnnxRuntime
from tcc.diagnostics import Exit, fail

if TYPE_CHECKING:
    from tcc.ir.model import Model


@dataclass(frozen=True)
class OrtFormat(OnnxRuntime):
    """Optimised and saved by ONNX Runtime.

    For the target ``native`` all its optimisations are taken, which bind the file to processors like this one. For
    others it stops at the level "extended", beyond which graphs have layouts of the machine that made them.
    """

    name: ClassVar[str] = "ort"
    emits: ClassVar[str] = "ort"
    suffix: ClassVar[str] = ".ort"
    fallback: ClassVar[str | None] = "onnxruntime"
    tolerance: ClassVar[float] = 1e-5

    def lower(self, model: Model, path: Path, settings: Settings = DEFAULTS) -> Artefact:
        """Let ONNX Runtime write its flat buffer.

        Raises:
            TccError: E0811 where it does not, exit USAGE where the path cannot be written.
        """
        import onnxruntime

        from tcc.ir import saving

        self.require(model)
        with tempfile.TemporaryDirectory(prefix="tcc-lower-") as folder:
            source, made = Path(folder) / "model.onnx", Path(folder) / "model.ort"
            model.save(source)
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            is_here = settings.target is not None and settings.target.name == "native"
            levels = onnxruntime.GraphOptimizationLevel
            options.graph_optimization_level = levels.ORT_ENABLE_ALL if is_here else levels.ORT_ENABLE_EXTENDED
            options.optimized_model_filepath = str(made)
            options.add_session_config_entry("session.save_model_format", "ORT")
            try:
                onnxruntime.InferenceSession(str(source), options, providers=list(self.providers))
            except Exception as error:
                reason = " ".join(str(error).split())[:400]
                raise fail(Exit.BACKEND, "E0811", f"onnxruntime does not write its format: {reason}",
                           where=model.source) from error  # fmt: skip
            with saving.replacing(path) as stream:
                stream.write(made.read_bytes())
        return Artefact(
            (path,), {"onnxruntime": onnxruntime.__version__, "optimised": "all" if is_here else "extended"}
        )


BACKEND = OrtFormat()
