"""The seven networks of Tensat: -O2's predicted and measured speed-up over ONNX Runtime alone, and what it took."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import children
from benchmarks.tensat_models import NETWORKS

Row = dict[str, Any]
SECONDS = 11.0
"""What optimising a network may take, loading, verification and writing included, on two cores."""
MEMORY_BYTES = 2 << 30
"""What it may hold at its peak, the interpreter and its libraries included."""
_AGAIN = 3
"""What measures slower is measured again, longer: of twenty honest 95 % intervals, one misses."""


def optimise(path: str, output: str, target: str) -> Row:
    """Compile at -O2: what it took, and what the report says."""
    import tcc
    from benchmarks.compiling import preload

    preload()
    wall, processor = time.perf_counter(), time.process_time()
    report = tcc.compile(path, 2, target, output=output).report
    seconds, processor_seconds = time.perf_counter() - wall, time.process_time() - processor
    graphs = [g for step in report["passes"] for g in step["facts"].get("graphs", ()) if "gap" in g]
    return {
        "seconds": seconds, "processor_seconds": processor_seconds, "shipped": report["shipped"],
        "nodes": [report["input"]["nodes"], report["result"]["nodes"]],
        "bytes": [report["input"]["bytes"], report["result"]["bytes"]],
        "predicted": report["predicted"]["seconds_before"] / report["predicted"]["seconds_after"],
        "gap": max((g["gap"] for g in graphs), default=0.0), "method": sorted({g["method"] for g in graphs}),
        "saturation": sorted({g["saturation"] for g in graphs}), "e_nodes": sum(g["e_nodes"] for g in graphs),
    }  # fmt: skip


def measure(path: str, output: str, seconds: float, threads: int) -> Row:
    """Time a network against what was made of it, each under all of ONNX Runtime's optimisations, in turns.

    On one thread its own processor time counts, which other work on the machine disturbs less; on several, the clock.
    """
    from tcc import backends
    from tcc.backends._measure import compare_runs

    backend = backends.backend("onnxruntime")
    loaded = [backend.load(Path(place), threads=threads) for place in (path, path, output)]
    feeds = _feeds(path)
    runs = [[lambda one=one, feed=feed: one.run(feed) for one in loaded] for feed in feeds]
    clock = time.thread_time if threads == 1 else time.perf_counter
    for turn in range(_AGAIN):
        found = compare_runs(runs, budget_seconds=seconds * 2**turn, clock=clock)
        if found.verdict != "slower":
            break
    return {**asdict(found), "verdict": found.verdict, "text": found.text()}


def _feeds(path: str) -> list[dict[str, Any]]:
    """Two sets of normally distributed inputs."""
    import numpy as np
    import onnx

    rng = np.random.default_rng(3)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in onnx.load(path).graph.input}
    return [{name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()} for _ in range(2)]


def one(name: str, options: argparse.Namespace) -> Row:
    """Everything about one network; each step in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        path, output = f"{folder}/{name}.onnx", f"{folder}/{name}.o2.onnx"
        built = children.call("benchmarks.tensat_models:write", name, path)
        if built.problem:
            return {"network": name, "problems": [built.problem]}
        made = children.call("benchmarks.tensat:optimise", path, output, options.target)
        if made.problem:
            return {"network": name, "problems": [made.problem]}
        row: Row = {"network": name, **made.value, "peak_bytes": made.peak_bytes}
        row["problems"] = list(_problems(row))
        timed = children.call("benchmarks.tensat:measure", path, output, options.seconds, options.threads)
        if timed.problem or timed.value["verdict"] == "slower":
            row["problems"].append(timed.problem or "slower beyond the noise")
        return row | {"measured": timed.value}


def _problems(row: Mapping[str, Any]) -> Sequence[str]:
    found = []
    if row["seconds"] > SECONDS:
        found.append(f"{row['seconds']:.1f} s, should be at most {SECONDS:g}")
    if row["peak_bytes"] > MEMORY_BYTES:
        found.append(f"{row['peak_bytes'] / 2**30:.2f} GiB, should be at most {MEMORY_BYTES / 2**30:g}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each network and the geometric means; 1 where a bound is not kept."""
    options = _parser().parse_args(argv)
    names = [name for name in NETWORKS if not options.patterns or any(p in name for p in options.patterns)]
    rows = []
    print(_LINE.format("network", "nodes", "predicted", "measured", "noise", "gap", "s", "cpu s", "MiB"))
    for name in names:
        rows.append(one(name, options))
        print(_line(rows[-1]), flush=True)
    measured = [row for row in rows if row.get("measured")]
    if measured:
        predicted = _mean([row["predicted"] for row in measured])
        speedup = _mean([1 / row["measured"]["ratio"] for row in measured])
        print(f"geometric mean: predicted x{predicted:.3f}, measured x{speedup:.3f}, of {len(measured)} networks")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["problems"] for row in rows) or not rows)


def _mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


_LINE = "{:14}{:>12}{:>11}{:>10}{:>8}{:>9}{:>7}{:>7}{:>7}"


def _line(row: Mapping[str, Any]) -> str:
    text = row["network"]
    if measured := row.get("measured"):
        text = _LINE.format(
            row["network"], f"{row['nodes'][0]} -> {row['nodes'][1]}", f"x{row['predicted']:.3f}",
            f"x{1 / measured['ratio']:.3f}", f"{measured['noise']:.1%}", f"{row['gap']:.1e}", f"{row['seconds']:.1f}",
            f"{row['processor_seconds']:.1f}", f"{row['peak_bytes'] / 2**20:.0f}",
        )  # fmt: skip
        text += f"  {measured['text']}"
    return "; ".join([text, *row["problems"]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help=f"parts of names; all without any: {', '.join(NETWORKS)}")
    parser.add_argument("--target", default="native")
    parser.add_argument("--seconds", type=float, default=10.0, help="of interleaved runs, each network (default: 10)")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime (default: 1, its processor time)")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
