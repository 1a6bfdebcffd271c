"""The few calls of CUDA's runtime that running an engine takes."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tcc.diagnostics import Exit, fail

_LIBRARIES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")
_TO_DEVICE, _TO_HOST = 1, 2


class Cuda:
    """Device memory for the tensors of one execution context, on CUDA's default stream.

    Raises ``TccError``: E0823 where there is no CUDA runtime or a call of it fails.
    """

    def __init__(self) -> None:
        self._library = _library()
        self._held: dict[str, ctypes.c_void_p] = {}

    def bind(self, library: Any, context: Any, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Copy the inputs to the device and give every tensor its memory; empty arrays for the outputs, by name."""
        for name, value in feeds.items():
            context.set_input_shape(name, value.shape)
        engine = context.engine
        outputs: dict[str, np.ndarray] = {}
        for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
            if name in feeds:
                array = np.ascontiguousarray(feeds[name], library.nptype(engine.get_tensor_dtype(name)))
                self._check(self._library.cudaMemcpy(
                    self._room(name, array.nbytes), array.ctypes.data_as(ctypes.c_void_p),
                    ctypes.c_size_t(array.nbytes), _TO_DEVICE,
                ))  # fmt: skip
            else:
                shape = tuple(context.get_tensor_shape(name))
                array = outputs[name] = np.empty(shape, library.nptype(engine.get_tensor_dtype(name)))
                self._room(name, array.nbytes)
            context.set_tensor_address(name, self._held[name].value)
        return outputs

    def execute(self, context: Any) -> None:
        """Run, and wait until it is done."""
        if not context.execute_async_v3(0):
            raise fail(Exit.BACKEND, "E0823", "the engine does not run on these inputs",
                       help="keep within the sizes that it was built for")  # fmt: skip
        self._check(self._library.cudaDeviceSynchronize())

    def fetch(self, outputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        """The outputs' values."""
        for name, array in outputs.items():
            self._check(self._library.cudaMemcpy(
                array.ctypes.data_as(ctypes.c_void_p), self._held[name], ctypes.c_size_t(array.nbytes), _TO_HOST
            ))  # fmt: skip
        return list(outputs.values())

    def _room(self, name: str, nbytes: int) -> ctypes.c_void_p:
        if name in self._held:
            self._check(self._library.cudaFree(self._held.pop(name)))
        place = ctypes.c_void_p()
        self._check(self._library.cudaMalloc(ctypes.byref(place), ctypes.c_size_t(max(1, nbytes))))
        self._held[name] = place
        return place

    def _check(self, status: int) -> None:
        if status:
            self._library.cudaGetErrorString.restype = ctypes.c_char_p
            text = self._library.cudaGetErrorString(status).decode()
            raise fail(Exit.BACKEND, "E0823", f"CUDA failed: {text}", help="check the driver with nvidia-smi")


def _library() -> Any:
    for name in (*_LIBRARIES, ctypes.util.find_library("cudart")):
        try:
            return ctypes.CDLL(name) if name else None
        except OSError:
            continue
    raise fail(Exit.BACKEND, "E0823", "there is no CUDA runtime (libcudart) on this machine",
               help="install it with the driver, or run the model with --backend=onnxruntime")  # fmt: skip
