"""What the TensorRT back ends do in their own process."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tcc.backends._serve import Reply
from tcc.backends._tensorrt_build import BuildError, build
from tcc.diagnostics import Diagnostic, Exit, TccError, fail, node_location

if TYPE_CHECKING:
    import numpy as np

_REMEDIES = {
    "UNSUPPORTED_NODE": "replace the operator, or run the model with --backend=onnxruntime-cuda",
    "UNSUPPORTED_NODE_ATTR": "export the operator with other attributes; the message says which",
    "UNSUPPORTED_NODE_INPUT": "make this input a constant: tcc -O2 folds what does not depend on the model's inputs",
    "UNSUPPORTED_NODE_DATATYPE": "convert the value to a type that TensorRT computes in before this node",
    "UNSUPPORTED_NODE_DYNAMIC": "fix the model's dimensions: --dim NAME=SIZE",
    "INVALID_NODE": "the node is against the ONNX specification: export the model anew",
}


class TensorRt:
    """NVIDIA TensorRT, 10 or newer, on the machine's own GPU."""

    library: ClassVar[str] = "tensorrt"

    def __init__(self) -> None:
        self._library = importlib.import_module(self.library)
        self._context: Any = None
        self._cuda: Any = None
        self._runtime_cache: tuple[Path, Any] | None = None

    def lower(self, source: str, output: str, settings: Mapping[str, Any]) -> Reply:
        """Build the engine."""
        options = settings["options"]
        config = {key: options.get(key) for key in ("profile", "timing_cache", "capabilities")}
        name = options.get("source", source)
        try:
            facts = build(self._library, source, output, config | {"workspace": settings["memory"]})
        except BuildError as error:
            raise TccError(_exit(error), [_told(error, problem, name) for problem in error.problems]) from error
        except TypeError as error:  # Builder() without a driver
            raise fail(Exit.BACKEND, "E0821", f"{self.library} does not start: no usable NVIDIA GPU or driver here",
                       help="build on the device: --emit=device-script writes what does it") from error  # fmt: skip
        return Reply({"files": [Path(output).name], "facts": facts})

    def load(self, path: str, threads: int) -> Reply:
        """Deserialise the engine; needs the GPU that it was built for."""
        del threads
        from tcc.backends._cuda import Cuda

        self._cuda = Cuda()
        logger = self._library.Logger(self._library.Logger.ERROR)
        engine = self._library.Runtime(logger).deserialize_cuda_engine(Path(path).read_bytes())
        if engine is None:
            raise fail(Exit.BACKEND, "E0822", f"{self.library} {self._library.__version__} does not load the engine",
                       where=path, help="build it anew with this version, for this GPU")  # fmt: skip
        self._context = self._made_context(engine, Path(path))
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == self._library.TensorIOMode.INPUT]
        return Reply({"inputs": inputs, "outputs": [name for name in names if name not in inputs]})

    def _made_context(self, engine: Any, path: Path) -> Any:
        """TensorRT-RTX compiles its kernels when they first run: what it compiled is kept beside the engine."""
        if not hasattr(engine, "create_runtime_config"):
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        if not hasattr(config, "create_runtime_cache"):
            return engine.create_execution_context()
        cache = config.create_runtime_cache()
        kept = path.with_name(path.name + ".cache")
        if kept.exists():
            cache.deserialize(kept.read_bytes())
        config.set_runtime_cache(cache)
        self._runtime_cache = kept, cache
        return engine.create_execution_context(config)

    def run(self, feeds: Mapping[str, np.ndarray]) -> Reply:
        """The outputs in the engine's order."""
        outputs = self._cuda.bind(self._library, self._context, feeds)
        self._cuda.execute(self._context)
        if self._runtime_cache is not None:
            kept, cache = self._runtime_cache
            kept.write_bytes(memoryview(cache.serialize()))
            self._runtime_cache = None
        return Reply(arrays=self._cuda.fetch(outputs))

    def measure(self, feeds: Mapping[str, np.ndarray], rounds: int) -> Reply:
        """Seconds of each run on the device, transfers left out, after one that is not counted."""
        self.run(feeds)
        samples = []
        for _ in range(rounds):
            started = time.perf_counter()
            self._cuda.execute(self._context)
            samples.append(time.perf_counter() - started)
        return Reply(samples)


class TensorRtRtx(TensorRt):
    """NVIDIA TensorRT for RTX: builds ahead of time, without a GPU."""

    library: ClassVar[str] = "tensorrt_rtx"


def _exit(error: BuildError) -> Exit:
    return Exit.BACKEND if error.stage.startswith("building") else Exit.UNSUPPORTED


def _told(error: BuildError, problem: Mapping[str, str], source: str) -> Diagnostic:
    where = node_location(source, problem["node"], problem["operator"] or "?") if problem["node"] else source
    remedy = _REMEDIES.get(problem["kind"], "run the model with --backend=onnxruntime-cuda, or see tcc check")
    return Diagnostic("E0820", f"{error.stage}: {problem['message'][:400]}", where, help=remedy)
