"""Builds a TensorRT engine from an ONNX file; needs nothing but TensorRT, so that it runs on a device without tcc."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class BuildError(Exception):
    """Why there is no engine: ``problems`` are mappings with ``message``, ``node``, ``operator`` and ``kind``."""

    def __init__(self, stage: str, problems: Sequence[Mapping[str, str]]) -> None:
        super().__init__(f"{stage}: " + "; ".join(f"{p['node']} [{p['operator']}]: {p['message']}" for p in problems))
        self.stage = stage
        self.problems = list(problems)


def build(library: Any, source: str, output: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Build ``output`` from the ONNX file ``source`` with the module ``library`` (tensorrt or tensorrt_rtx).

    ``config`` may hold ``profile`` (input name to its smallest, best and largest shape), ``workspace`` (bytes),
    ``timing_cache`` (a path), ``capabilities`` (names such as SM86, for TensorRT-RTX).

    Raises:
        BuildError: with everything that the parser or the builder has to say.
    """
    started = time.perf_counter()
    logger = _logger(library)
    builder = library.Builder(logger)
    network = builder.create_network(_network_flags(library))
    _parse(library, network, logger, source)
    configuration = builder.create_builder_config()
    if config.get("workspace"):
        configuration.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, int(config["workspace"]))
    _set_types(library, network, configuration)
    _set_profile(builder, network, configuration, config.get("profile") or {})
    capabilities = _set_capabilities(library, configuration, config.get("capabilities") or ())
    cache = _timing_cache(configuration, config.get("timing_cache"))
    engine = builder.build_serialized_network(network, configuration)
    if engine is None:
        raise BuildError("building the engine failed", logger.problems() or [_problem("TensorRT does not say why")])
    Path(output).write_bytes(memoryview(engine))
    if cache is not None:
        Path(config["timing_cache"]).write_bytes(memoryview(cache.serialize()))
    return {
        "library": f"{library.__name__} {library.__version__}",
        "layers": network.num_layers,
        "inputs": {t.name: [str(t.dtype), list(t.shape)] for t in map(network.get_input, range(network.num_inputs))},
        "outputs": {t.name: [str(t.dtype), list(t.shape)] for t in map(network.get_output, range(network.num_outputs))},
        "capabilities": capabilities,
        "build_seconds": time.perf_counter() - started,
    }


def _logger(library: Any) -> Any:
    class Logger(library.ILogger):  # type: ignore[misc] # the class is the library's, which is loaded late
        """Keeps what TensorRT complains of."""

        def __init__(self) -> None:
            super().__init__()
            self.said: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Called by TensorRT."""
            if severity in {library.ILogger.INTERNAL_ERROR, library.ILogger.ERROR}:
                self.said.append(message)

        def problems(self) -> list[dict[str, str]]:
            """One for each complaint, with the node that it names."""
            return [_problem(message, _named(message)) for message in dict.fromkeys(self.said)]

    return Logger()


def _named(message: str) -> str:
    """The ONNX node that a message of the builder is about; '' where it names none."""
    found = re.search(r"\[ONNX Layer: ([^\]]+)\]|node of name '?([^\s',]+)", message)
    return next((group for group in found.groups() if group), "") if found else ""


def _problem(message: str, node: str = "", operator: str = "", kind: str = "") -> dict[str, str]:
    return {"message": " ".join(message.split()), "node": node, "operator": operator, "kind": kind}


def _network_flags(library: Any) -> int:
    """Strongly typed where there is that (from 10 on): the file's types and Q/DQ nodes decide, not the builder."""
    flags = library.NetworkDefinitionCreationFlag
    if hasattr(flags, "STRONGLY_TYPED"):
        return 1 << int(flags.STRONGLY_TYPED)
    return 1 << int(flags.EXPLICIT_BATCH)


def _parse(library: Any, network: Any, logger: Any, source: str) -> None:
    parser = library.OnnxParser(network, logger)
    # From the path: weights beside the file are found from there.
    if parser.parse_from_file(source) and not parser.num_errors:
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    told = [_refused(error) for error in errors]
    raise BuildError("the ONNX file is refused", told or logger.problems() or [_problem("the parser does not say why")])


def _refused(error: Any) -> dict[str, str]:
    """The parser's error; before TensorRT 10 it does not know names. A node without one goes by its place."""
    node, operator = (getattr(error, name, str)() for name in ("node_name", "node_operator"))
    place = getattr(error, "node", lambda: -1)()
    if not node and operator and place >= 0:
        node = f"#{place}"
    return _problem(error.desc(), node, operator, str(error.code()).rpartition(".")[2])


def _set_types(library: Any, network: Any, configuration: Any) -> None:
    """Before TensorRT 10 types are flags: all that the network holds are allowed, float32 is always."""
    if hasattr(library.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    if any(layer.type == library.LayerType.QUANTIZE for layer in layers):
        configuration.set_flag(library.BuilderFlag.INT8)
    outputs = [layer.get_output(index) for layer in layers for index in range(layer.num_outputs)]
    if any(tensor is not None and tensor.dtype == library.float16 for tensor in outputs):
        configuration.set_flag(library.BuilderFlag.FP16)


def _set_profile(builder: Any, network: Any, configuration: Any, shapes: Mapping[str, Any]) -> None:
    profile = builder.create_optimization_profile()
    for tensor in map(network.get_input, range(network.num_inputs)):
        if any(size < 0 for size in tensor.shape):
            if tensor.name not in shapes:
                raise BuildError("a shape is open", [_problem(f"input {tensor.name} has no sizes", tensor.name)])
            profile.set_shape(tensor.name, *map(tuple, shapes[tensor.name]))
    configuration.add_optimization_profile(profile)


def _set_capabilities(library: Any, configuration: Any, names: Sequence[str]) -> list[str]:
    if not names or not hasattr(configuration, "set_compute_capability"):
        return []
    known = library.ComputeCapability.__members__
    if unknown := [name for name in names if name not in known]:
        told = f"{library.__name__} builds for {', '.join(known)}, not for {', '.join(unknown)}"
        raise BuildError("the target is none", [_problem(told)])
    configuration.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        configuration.set_compute_capability(known[name], index)
    return list(names)


def _timing_cache(configuration: Any, path: str | None) -> Any:
    """Where tactics' timings are kept between builds; TensorRT-RTX has none: it times nothing."""
    if not path:
        return None
    held = Path(path).read_bytes() if Path(path).exists() else b""
    cache = configuration.create_timing_cache(held)
    configuration.set_timing_cache(cache, ignore_mismatch=False)
    return cache
