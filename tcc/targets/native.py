"""Measures this machine once through onnxruntime, and keeps the rates in the user's cache."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import json
import math
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc import cache
from tcc.targets import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import onnx
    import onnxruntime

FORMAT = 2
"""Raised whenever what is measured, or how, changes: an older measurement is then taken again."""
REPEAT_SECONDS = 0.1
"""Time for each of the eight measurements; together with building their models they stay below two seconds."""
GEMM = (384, 768, 768)
"""Rows, depth and columns of the measured product: large enough for the peak, 3 ms at 150 GFLOP/s."""
COPY_BYTES = 64 * 2**20
"""Larger than the caches of most machines; a larger buffer spends the time budget on page faults."""
CHAIN = 256
SOURCE = "measured on this machine through onnxruntime, rounded to a power of two"

MEASUREMENTS = schema.table({
    "format": schema.count,
    "key": schema.text,
    "float32": schema.rate,
    "int8": schema.rate,
    "single_thread": schema.rate,
    "bandwidth": schema.rate,
    "launch": schema.rate,
})  # fmt: skip


def processors() -> int:
    """The logical processors that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def rates(threads: int | None = None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """This machine's facts, shaped as a target's TOML file has them, for ``threads`` (default: all), and warnings.

    Taken from the cache where it holds a sound measurement for this processor, onnxruntime and thread count.
    """
    threads = threads or processors()
    processor, flags = _processor()
    key = f"{processor}; {_onnxruntime_version()}; {threads} threads"
    path = cache.folder() / f"native{FORMAT}-{re.sub(r'[^a-z0-9._]+', '-', key.lower())[:200]}.json"
    measured, warning = _read(path, key)
    warnings = [warning] if warning else []
    if measured is None:
        measured = {"format": FORMAT, "key": key, **measure(threads)}
        try:
            cache.write(path, json.dumps(measured, indent=1))
        except OSError as error:
            warnings.append(f"the measurement of this machine could not be kept, and repeats with each run: {error}")
    return _as_facts(measured, processor, flags, threads), tuple(warnings)


def facts(measured: dict[str, Any], threads: int) -> dict[str, Any]:
    """What ``measure`` gave, with what the operating system tells, shaped as a target's TOML file has it."""
    return _as_facts(measured, *_processor(), threads)


def runtime() -> str:
    """Name and version of the installed onnxruntime."""
    return _onnxruntime_version()


def _coarse(value: float) -> float:
    return float(2.0 ** round(math.log2(value)))


def measure(threads: int, rounded: Callable[[float], float] = _coarse) -> dict[str, float]:
    """Operations per second of float32 and int8 products, bytes per second of a copy, seconds per node.

    Every number is rounded, to a power of two where nothing else is asked for. A compiler's output must not depend
    on the noise of a measurement, and the choices it feeds (which of two programs is faster) compare factors well
    above 1.4. The cache keeps even a number at the edge of two powers from changing between runs; a new machine may
    round it the other way.
    """
    alone, integer = _gemm_rate("float32", 1), _gemm_rate("int8", 1)
    # Other processes' load can make all threads slower than one; the machine is never taken to be.
    together = max(alone, _gemm_rate("float32", threads)) if threads > 1 else alone
    return {
        "float32": rounded(together),
        "int8": rounded(max(integer, _gemm_rate("int8", threads)) if threads > 1 else integer),
        "single_thread": rounded(alone / together),
        "bandwidth": rounded(_copy_rate(threads)),
        "launch": rounded(_seconds_per_node(threads)),
    }


def _best_seconds(run: Callable[[], object], threads: int) -> float:
    """The fastest of the runs that fit into the time of one measurement; the first, which warms up, is not counted.

    One thread is timed by its own clock: what other processes take of the processor is not the machine's slowness.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    run()
    best, end = math.inf, time.perf_counter() + REPEAT_SECONDS
    while True:
        start = clock()
        run()
        best = min(best, clock() - start)
        if time.perf_counter() > end:
            return best


def _session(graph: onnx.GraphProto, threads: int, *, optimized: bool = True) -> onnxruntime.InferenceSession:
    import onnxruntime
    from onnx import helper

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _gemm_rate(dtype: str, threads: int) -> float:
    """Operations per second (two for each multiply-accumulate) of a product with a constant right side."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    M, K, N = GEMM
    random = np.random.default_rng(0)
    integer = dtype == "int8"
    left: np.ndarray[Any, Any]
    left, right = (
        (random.integers(0, 128, (M, K), np.uint8), random.integers(-63, 64, (K, N), np.int8))
        if integer
        else (random.random((M, K), np.float32), random.random((K, N), np.float32))
    )
    types = (TensorProto.UINT8, TensorProto.INT32) if integer else (TensorProto.FLOAT, TensorProto.FLOAT)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger" if integer else "MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", types[0], [M, K])],
        [helper.make_tensor_value_info("y", types[1], [M, N])],
        [numpy_helper.from_array(right, "w")],
    )
    session = _session(graph, threads)
    return 2 * M * K * N / _best_seconds(lambda: session.run(None, {"x": left}), threads)


def _copy_rate(threads: int) -> float:
    """Bytes per second read and written by ``threads`` copies side by side, of memory that no cache holds."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    source, target = np.ones(COPY_BYTES // 8), np.zeros(COPY_BYTES // 8)
    bounds = np.linspace(0, source.size, threads + 1).astype(int)
    parts = [slice(begin, end) for begin, end in itertools.pairwise(bounds)]
    with ThreadPoolExecutor(threads) as pool:
        copy = functools.partial(_copy, source, target)
        seconds = _best_seconds(lambda: list(pool.map(copy, parts)) if threads > 1 else copy(parts[0]), threads)
    return 2 * COPY_BYTES / seconds


def _copy(source: np.ndarray[Any, Any], target: np.ndarray[Any, Any], part: slice) -> None:
    import numpy as np

    np.copyto(target[part], source[part])


def _seconds_per_node(threads: int) -> float:
    """What a node costs however little it computes: the time of a chain of tiny products, less that of a single one."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    row = np.ones((1, 8), np.float32)

    def chain(nodes: int) -> float:
        graph = helper.make_graph(
            [helper.make_node("MatMul", [f"t{i}", "w"], [f"t{i + 1}"]) for i in range(nodes)],
            "chain",
            [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1, 8])],
            [helper.make_tensor_value_info(f"t{nodes}", TensorProto.FLOAT, [1, 8])],
            [numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")],
        )
        session = _session(graph, threads, optimized=False)
        return _best_seconds(lambda: session.run(None, {"t0": row}), 1)

    return max(chain(CHAIN) - chain(1), 1e-9) / (CHAIN - 1)


def processor() -> str:
    """The architecture and model name of this machine's processor."""
    return _processor()[0]


@functools.cache
def _processor() -> tuple[str, frozenset[str]]:
    """The processor's model name and instruction-set flags."""
    name, flags = "", ""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        # The first processor speaks for all: the file repeats them, and there may be hundreds.
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            if key.strip() in ("flags", "Features"):
                flags = value
            if not line.strip():
                break
    return f"{os.uname().machine} {name}".strip(), frozenset(flags.split())


def _onnxruntime_version() -> str:
    """Name and version of the installed onnxruntime, whichever of its distributions that is.

    Read from the folder that every installer leaves beside the package: importing onnxruntime takes a hundred times
    as long as reading a cached measurement, and importlib.metadata ten times.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec and spec.origin:
        installed = sorted(path.stem for path in Path(spec.origin).parent.parent.glob("onnxruntime*.dist-info"))
        if installed:
            return " ".join(installed)
    import onnxruntime

    return f"onnxruntime-{onnxruntime.__version__}"


def _read(path: Path, key: str) -> tuple[dict[str, Any] | None, str]:
    """The cached measurement, where there is a sound one, and a warning where there is an unsound one."""
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
        problems = list(MEASUREMENTS(contents, ""))
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError) as error:
        problems, contents = [str(error)], {}
    if problems:
        return None, f"warning: the measurement in {path} is corrupt and was taken again: {problems[0]}"
    return (contents if (contents["format"], contents["key"]) == (FORMAT, key) else None), ""


def _as_facts(measured: dict[str, Any], processor: str, flags: frozenset[str], threads: int) -> dict[str, Any]:
    exact = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
    return {
        "processor": processor,
        "threads": threads,
        "single_thread": measured["single_thread"],
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "alignment": 16 if "avx512f" in flags else 8,
        "reduced_range": not flags & exact,
        "peak": {"source": SOURCE, "rates": {"float32": measured["float32"], "int8": measured["int8"]}},
        "bandwidth": {"source": SOURCE, "bytes_per_second": measured["bandwidth"]},
        "launch": {"source": SOURCE, "seconds": measured["launch"]},
        "caches": {"source": "the operating system's", "bytes": _caches()},
        **({"vectors": vectors} if (vectors := _vectors(flags)) else {}),
    }


def _vectors(flags: frozenset[str]) -> dict[str, Any]:
    """The registers of a processor with these flags; nothing for those of which none is known here."""
    if "avx512f" in flags:
        found: dict[str, Any] = {"lanes": 16, "registers": 32}
        dot = {"dot": "avx512vnni"} if "avx512_vnni" in flags else {}
    elif "avx2" in flags:
        found, dot = {"lanes": 8, "registers": 16}, {}
    elif "asimd" in flags:
        found, dot = {"lanes": 4, "registers": 32}, {"dot": "dotprod"} if "asimddp" in flags else {}
    else:
        return {}
    return {"source": "the processor's flags", **found, **dot}


def _caches() -> dict[str, int]:
    """Sizes in bytes of the data caches that the first processor sees; empty where the system does not tell."""
    sizes = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with contextlib.suppress(OSError, ValueError):
            if (index / "type").read_text().strip() != "Instruction":
                kilobytes = (index / "size").read_text().strip().removesuffix("K")
                sizes[f"L{(index / 'level').read_text().strip()}"] = int(kilobytes) * 1024
    return sizes
