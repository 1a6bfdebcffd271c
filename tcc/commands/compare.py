"""``tcc compare A.onnx B.onnx``: what a compressed model lost and won against its original."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tcc.commands import _arguments as arguments_
from tcc.commands._printing import columns, write
from tcc.diagnostics import Exit

DESCRIPTION = "Compare two models on the same data: accuracy, agreement, latency, bytes, operations; paired."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("a", type=Path, metavar="A", help="the original")
    parser.add_argument("b", type=Path, metavar="B", help="the model compared with it")
    parser.add_argument(
        "--eval", metavar="D.NPZ", help="an .npz with an array an input, and 'labels' where the metric needs them",
    )  # fmt: skip
    parser.add_argument(
        "--metric", default="", metavar="M",
        help="top1 (default where there are labels), module:function or file.py:function of (outputs, labels)",
    )  # fmt: skip
    parser.add_argument("--target", default="native", metavar="T", help="whose cost model counts operations")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the runtime (default: 1)")
    parser.add_argument(
        "--seconds", type=arguments_.seconds, default=4.0, metavar="S", help="how long latency is measured (default: 4)"
    )
    parser.add_argument("--no-measure", action="store_true", help="do not measure latency")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument(
        "--diagnostics", choices=["text", "json"], default="text", help="how errors, warnings and notes are written",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Compare, and print it."""
    from tcc import report
    from tcc.compiler import comparison
    from tcc.targets import parse_target

    target = parse_target(arguments.target)
    seconds = 0.0 if arguments.no_measure else arguments.seconds
    found = comparison.compare(
        arguments.a, arguments.b, arguments.eval, target, metric=arguments.metric, seconds=seconds,
        threads=arguments.threads,
    )  # fmt: skip
    made = comparison.plain(found)
    write(report.text(made).rstrip() if arguments.json else columns(_rows(made)))
    return int(Exit.DONE)


def _rows(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    a, b = made["a"], made["b"]
    yield "A", a["path"]
    yield "B", b["path"]
    for key in ("nodes", "parameters", "bytes_on_disk", "bytes_compressed", "bytes_of_tensors", "operations"):
        yield key.replace("_", " "), f"{a[key]:,.0f} → {b[key]:,.0f}{_ratio(a[key], b[key])}"
    yield "predicted latency", f"{a['predicted_seconds'] * 1e6:.4g} → {b['predicted_seconds'] * 1e6:.4g} µs"
    yield "energy, estimated", f"{_joules(a['estimated_joules'])} → {_joules(b['estimated_joules'])} a run"
    if "task" in made:
        yield from _task(made["task"])
    if made.get("agreement"):
        found = made["agreement"]
        where = "gathered in some classes" if found["systematic"] else "not systematic"
        yield "agreement", f"{found['agreement']:.2%} of {found['samples']:,} predictions"
        if found["agreement"] < 1:
            yield "disagreements", f"{where} (chi-squared {found['chi_squared']:.3g}, p {found['p']:.3g})"
    for found in made.get("divergence", []):
        distance, largest = _number(found["relative_l2"]), _number(found["largest_absolute"])
        yield f"output {found['output']}", f"relative L2 {distance}, largest difference {largest}"
    if "latency" in made:
        yield from _latency(made["latency"])
        yield "energy", _energy(made["energy"])
    elif "divergence" not in made:
        yield "accuracy, latency", "unmeasured: no data; give --eval"


def _task(task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    gap = task["difference"]
    spread = f"{100 * gap['mean']:+.2f} points, 95 % {100 * gap['low']:+.2f} to {100 * gap['high']:+.2f}"
    yield task["metric"], f"{task['a']:.2%} → {task['b']:.2%} of {task['samples']:,} ({spread})"
    if "mcnemar_p" in task:
        yield "McNemar's test", f"p {task['mcnemar_p']:.3g} that both err equally often"
    if "degradation" in task:
        found = task["degradation"]
        said = f"significant within {found['factor']:.0%} of the samples" if found["factor"] else "nowhere significant"
        tenth = dict(zip(found["shares"], found["losses"], strict=True))[0.1]
        yield "worst neighbourhood", f"{100 * tenth:.2f} points lost within 10 % of the samples; {said}"


def _latency(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    spread = f"ratio {found['ratio']:.3f} ({found['low']:.3f} to {found['high']:.3f}), noise {found['noise']:.1%}"
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    said = {"same": "no different"}.get(found["verdict"], found["verdict"])
    yield "latency", f"B is {said}: {spread}, {threads}"
    for name in ("p50", "p95", "p99"):
        a, b = found["a"][name], found["b"][name]
        yield f"  {name}", "too few runs" if a is None or b is None else f"{a * 1e3:.4g} → {b * 1e3:.4g} ms"
    a, b = (found[name]["runs_per_second"] for name in ("a", "b"))
    yield "  throughput", f"{a:.4g} → {b:.4g} runs a second, the slowest 5 % left out"


def _energy(found: Mapping[str, Any]) -> str:
    if "unmeasured" in found:
        return str(found["unmeasured"])
    return f"{_joules(found['joules_a'])} → {_joules(found['joules_b'])} a run, by {found['source']}"


def _joules(value: float) -> str:
    return f"{value * 1e6:.4g} µJ"


def _ratio(before: float, after: float) -> str:
    return f" (×{after / before:.3f})" if before and before != after else ""


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
