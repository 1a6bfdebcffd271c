"""Runs a model in ONNX Runtime: the reference for parity, for folding and for measuring."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, load, numpy_helper

from tcc.diagnostics import Exit, fail
from tcc.ir import deadline, turns
from tcc.ir.execution_errors import load_error, run_error
from tcc.ir.execution_weights import SHARE_FROM, placeholders, split
from tcc.ir.types import BITS

if TYPE_CHECKING:
    import onnxruntime

Value = Any
"""A tensor as ``np.ndarray``, a sequence as a list of them, an absent optional as None."""

CPU = "CPUExecutionProvider"
_NUMPY_TYPES = frozenset({
    "float", "double", "float16", "bool", "string", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64",
})  # fmt: skip
"""Element types that ONNX Runtime's own conversion to numpy keeps; float8e4m3fn, say, comes back as uint8."""


class Runner:
    """A loaded ONNX Runtime session.

    Runs are repeatable: one thread by default, seeded random operators, deterministic kernels. With
    ``optimise`` off (the default) the graph runs as written and weights are used where they lie, so that a
    model needs little more memory than its weights; with it on, ONNX Runtime's default optimisations and
    weight packing apply, as in deployment, at one more copy of the weights.

    ``weights`` (initialiser name to array) take the place of the model's own initialisers, whose data may
    then be missing. The arrays must not be changed while the runner lives.

    Raises ``TccError``: E0401 for operators that ONNX Runtime does not know (the caller may go on and call the
    result unverified), E0402 where it has no kernel, E0406 where it rejects the model, E0801 for any other
    failure to load, E0901 where memory runs out.
    """

    def __init__(
        self,
        model: ModelProto | bytes | str | Path,
        *,
        weights: Mapping[str, np.ndarray] | None = None,
        optimise: bool = False,
        threads: int = 1,
        providers: Sequence[str] = (CPU,),
    ) -> None:
        import onnxruntime

        self.source = _source(model)
        options = _options(optimise=optimise, threads=threads)
        # Operators without a seed of their own draw from this one; it is global, so it is set anew for each session.
        onnxruntime.set_seed(0)
        with contextlib.ExitStack() as until_loaded:
            try:
                loadable, self._shared = _prepare(model, weights, options, until_loaded, optimise=optimise)
                self._session = onnxruntime.InferenceSession(loadable, options, providers=list(providers))
            except Exception as reason:
                if (failure := load_error(reason, self.source, model)) is None:
                    raise
                raise failure from reason
        self.inputs = {port.name: port.type for port in self._session.get_inputs()}
        overridable = {port.name: port.type for port in self._session.get_overridable_initializers()}
        self._feedable = self.inputs | overridable
        self.outputs = {port.name: port.type for port in self._session.get_outputs()}
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self._plain_outputs = all(_element(kind) in _NUMPY_TYPES for kind in self.outputs.values())

    def run(self, feeds: Mapping[str, Value]) -> list[Value]:
        """The outputs in graph order; bfloat16, float8 and 4-bit tensors are arrays of ``ml_dtypes``.

        Raises ``TccError``: E0601 for feeds that lack an input or carry an unknown one, E0602 for one of the wrong
        shape or type, E0802 where the run fails, E0901 where memory runs out, E0903 at the ``deadline``.
        """
        deadline.check()
        self._check_names(feeds)
        try:
            values = {name: _to_runtime(value, self._feedable[name]) for name, value in feeds.items()}
            if self._plain_outputs:
                return list(self._session.run(None, values))
            return self._run_values(values)
        except Exception as reason:
            if (failure := run_error(reason, self.source)) is None:
                raise
            raise failure from reason

    def run_each(self, feeds: Iterable[Mapping[str, Value]], threads: int = 1) -> Iterator[list[Value]]:
        """The outputs for each feed, in the feeds' order, ``threads`` runs at once; raises what ``run`` raises.

        Each run is one of its own, so that the outputs are the same whatever the number of threads.
        """
        return turns.mapped(self.run, feeds, threads)

    def run_named(self, feeds: Mapping[str, Value]) -> dict[str, Value]:
        """As ``run``, by output name."""
        return dict(zip(self.outputs, self.run(feeds), strict=True))

    def _run_values(self, values: Mapping[str, Any]) -> list[Value]:
        """Run where an output's element type is unknown to numpy: such outputs are read from their memory."""
        import onnxruntime

        held = onnxruntime.OrtValue
        bound = {k: v if isinstance(v, held) else held.ortvalue_from_numpy(v) for k, v in values.items()}
        return [_from_runtime(value) for value in self._session.run_with_ort_values(None, bound)]

    def _check_names(self, feeds: Mapping[str, Value]) -> None:
        required = [name for name, kind in self.inputs.items() if not kind.startswith("optional")]
        missing = [name for name in required if name not in feeds]
        unknown = [name for name in feeds if name not in self._feedable]
        if not missing and not unknown:
            return
        notes = [f"input {name!r} is not given" for name in missing]
        notes += [f"{name!r} is not an input" for name in unknown]
        names = ", ".join(required) or "none"
        raise fail(Exit.DATA, "E0601", "the data does not fit the model's inputs", where=self.source, notes=notes,
                   help=f"the model's inputs are {names}")  # fmt: skip


def fold(model: ModelProto, *, weights: Mapping[str, np.ndarray] | None = None) -> dict[str, Value]:
    """The outputs, by name, of a graph that has no inputs; raises ``TccError`` as ``Runner`` does."""
    return Runner(model, weights=weights).run_named({})


def _options(*, optimise: bool, threads: int) -> onnxruntime.SessionOptions:
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # An arena keeps what it has once taken, session after session; it pays where a model runs often.
    options.enable_cpu_mem_arena = optimise
    options.use_deterministic_compute = True
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    # Packing keeps a second copy of each weight: worth it for speed, not for reference runs.
    options.add_session_config_entry("session.disable_prepacking", "0" if optimise else "1")
    return options


def _prepare(
    model: ModelProto | bytes | str | Path,
    weights: Mapping[str, np.ndarray] | None,
    options: onnxruntime.SessionOptions,
    until_loaded: contextlib.ExitStack,
    *,
    optimise: bool,
) -> tuple[str | bytes, list[Any]]:
    """What to load, and the values that the session refers to and that must outlive it."""
    if isinstance(model, (str, Path)) and not weights:
        return os.fspath(model), []
    if isinstance(model, bytes) and not weights:
        return model, []
    proto = _proto(model)
    if not weights and proto.ByteSize() < SHARE_FROM:
        return proto.SerializeToString(), []
    stub, arrays = split(proto, weights or {})
    values = {name: _to_runtime(array, _kind(array), owned=True) for name, array in arrays.items()}
    if optimise:
        # The optimiser reads weights (folding, fusion), so it must find the real ones in the graph.
        options.add_external_initializers(list(values), list(values.values()))
    elif values:
        folder = until_loaded.enter_context(placeholders(arrays))
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        for name, value in values.items():
            options.add_initializer(name, value)
    return stub.SerializeToString(), list(values.values())


def _proto(model: ModelProto | bytes | str | Path) -> ModelProto:
    if isinstance(model, (str, Path)):
        proto: ModelProto = load(model)
        return proto
    return ModelProto.FromString(model) if isinstance(model, bytes) else model


def _source(model: ModelProto | bytes | str | Path) -> str:
    if isinstance(model, (str, Path)):
        return os.fspath(model)
    return (model.graph.name if isinstance(model, ModelProto) else "") or "<model>"


def _element(kind: str) -> str:
    """``float`` of ``tensor(float)``, ``seq(tensor(float))`` and ``optional(tensor(float))``."""
    return kind.rsplit("(", 1)[-1].rstrip(")")


def _kind(array: np.ndarray) -> str:
    return f"tensor({TensorProto.DataType.Name(helper.np_dtype_to_tensor_dtype(array.dtype)).lower()})"


def _to_runtime(value: Value, kind: str, *, owned: bool = False) -> Any:
    """The value as ONNX Runtime takes it, copying only 4-bit and narrower types; ``owned`` wraps any array."""
    import onnxruntime

    element = _element(kind)
    if not isinstance(value, np.ndarray) or not kind.startswith("tensor("):
        return value
    if element in _NUMPY_TYPES or value.dtype.isbuiltin == 1:
        return onnxruntime.OrtValue.ortvalue_from_numpy(value) if owned else value
    onnx_type = TensorProto.DataType.Value(element.upper())
    if BITS[element] >= 8:
        raw = np.ascontiguousarray(value).reshape(value.shape).view(f"u{value.itemsize}")
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(raw, onnx_type)
    held = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(value.shape), onnx_type)
    packed = numpy_helper.from_array(value).raw_data
    ctypes.memmove(held.data_ptr(), packed, len(packed))
    return held


def _from_runtime(value: onnxruntime.OrtValue) -> Value:
    """The value as numpy; element types that ONNX Runtime cannot convert are read from its memory."""
    if not value.has_value():
        return None
    if not value.is_tensor() or _element(value.data_type()) in _NUMPY_TYPES:
        return value.numpy()
    raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    tensor = TensorProto(data_type=value.element_type(), dims=value.shape(), raw_data=raw)
    return numpy_helper.to_array(tensor)
