"""One simplification by one tool: a path in, a file out; runs in the interpreter that has the tool."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.children import peak_bytes


def simplify(tool: str, source: str, output: str) -> tuple[float, float, int]:
    """Seconds and processor seconds from the path to the written file; bytes that importing the tool alone took."""
    run = _TOOLS[tool]()
    imported = peak_bytes()
    started, spent = time.perf_counter(), time.process_time()
    run(source, output)
    return time.perf_counter() - started, time.process_time() - spent, imported


def versions(tools: list[str]) -> dict[str, str]:
    """The installed version of each tool; raises what importing them raises."""
    from importlib.metadata import version

    for tool in tools:
        _TOOLS[tool]()
    return {tool: version(_DISTRIBUTIONS.get(tool, tool)) for tool in tools}


def _tcc(*, verify: bool = True) -> Callable[[str, str], object]:
    import tcc
    from benchmarks.compiling import preload
    from tcc.targets import parse_target

    preload()
    # Measured once a machine and cached: not part of a compilation.
    target: Any = parse_target("native")
    return lambda source, output: tcc.compile(source, 2, target, output=output, verify=verify)


def _onnxsim() -> Callable[[str, str], object]:
    import onnx
    import onnxsim

    def run(source: str, output: str) -> None:
        model, ok = onnxsim.simplify(source)
        if not ok:
            message = "onnxsim's own check failed"
            raise RuntimeError(message)
        onnx.save(model, output)

    return run


def _onnxslim() -> Callable[[str, str], object]:
    import onnxslim

    slim: Callable[[str, str], object] = onnxslim.slim  # with a path for the result it writes the file
    return slim


_TOOLS: dict[str, Callable[[], Callable[[str, str], object]]] = {
    "tcc": _tcc,
    "tcc-unverified": lambda: _tcc(verify=False),
    "onnxsim": _onnxsim,
    "onnxslim": _onnxslim,
}
_DISTRIBUTIONS = {"tcc": "tensorcompress", "tcc-unverified": "tensorcompress"}
OURS = ("tcc", "tcc-unverified")
PEERS = ("onnxsim", "onnxslim")
