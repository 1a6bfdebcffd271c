"""What the OpenVINO back end does in its own process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcc.backends._serve import Reply
from tcc.diagnostics import Exit, fail

_TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class Server:
    """One model at a time."""

    def __init__(self) -> None:
        import openvino

        self._library = openvino
        self._core = openvino.Core()
        self._request: Any = None
        self._compiled: Any = None

    def lower(self, source: str, output: str, settings: Mapping[str, Any]) -> Reply:
        """Convert an ONNX file; the weights keep their types."""
        del settings
        try:
            model = self._core.read_model(source)
        except RuntimeError as error:
            raise fail(Exit.BACKEND, "E0810", f"openvino cannot convert the model: {_reason(error)}") from error
        self._library.save_model(model, output, compress_to_fp16=False)
        files = [Path(output).name, Path(output).with_suffix(".bin").name]
        return Reply({"files": files, "facts": {"openvino": self._library.get_version(), "weights": "as in the model"}})

    def load(self, path: str, threads: int, precision: str) -> Reply:
        """Compile for the CPU; what precision and how many threads it really took."""
        options = {
            "INFERENCE_PRECISION_HINT": _TYPES[precision], "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }  # fmt: skip
        try:
            self._compiled = self._core.compile_model(path, "CPU", options)
        except RuntimeError as error:
            raise fail(Exit.BACKEND, "E0810", f"openvino cannot compile the model: {_reason(error)}",
                       where=path) from error  # fmt: skip
        self._request = self._compiled.create_infer_request()
        taken = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        names = {short: name for name, short in _TYPES.items()}
        return Reply({
            "precision": names.get(taken, taken),
            "threads": self._compiled.get_property("INFERENCE_NUM_THREADS"),
            "inputs": [port.any_name for port in self._compiled.inputs],
            "outputs": [port.any_name for port in self._compiled.outputs],
        })  # fmt: skip

    def run(self, feeds: Mapping[str, np.ndarray]) -> Reply:
        """The outputs in the model's order."""
        ports = {name: port for port in self._compiled.inputs for name in port.names}
        if missing := [port.any_name for port in self._compiled.inputs if not port.names & feeds.keys()]:
            raise fail(Exit.DATA, "E0601", "the data does not fit the model's inputs",
                       notes=[f"input {name!r} is not given" for name in missing])  # fmt: skip
        try:
            self._request.infer({ports[name]: value for name, value in feeds.items() if name in ports})
        except RuntimeError as error:
            raise fail(Exit.BACKEND, "E0810", f"openvino cannot run the model: {_reason(error)}") from error
        return Reply(arrays=[np.array(self._request.get_tensor(port).data) for port in self._compiled.outputs])

    def measure(self, feeds: Mapping[str, np.ndarray], rounds: int) -> Reply:
        """Seconds of each run, after one that is not counted; inputs and outputs stay where they are."""
        self.run(feeds)
        samples = []
        for _ in range(rounds):
            started = time.perf_counter()
            self._request.infer()
            samples.append(time.perf_counter() - started)
        return Reply(samples)


def _reason(error: Exception) -> str:
    """The last line that says something; what stands before it are OpenVINO's own source lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return " ".join(" ".join(telling or lines).split())[:600]
