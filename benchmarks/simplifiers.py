"""Compares tcc -O2 with onnxsim and onnxslim: nodes, bytes, seconds and peak memory, model by model."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import children, models, tools
from benchmarks.models import Entry

_SECONDS = 300.0
_MEASURES = ("dependent", "nodes", "nbytes", "seconds", "cpu_seconds", "peak_bytes")

Row = dict[str, Any]


def prepare(text: str, workspace: str) -> str:
    """The model's file, written into the workspace where it has none."""
    return str(models.file(models.entry(text), Path(workspace)))


def counted(paths: list[str]) -> list[dict[str, int]]:
    """The figures of files."""
    from benchmarks.figures import figures

    return [asdict(figures(Path(path))) for path in paths]


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; 1 where tcc has more nodes than a peer or fails, or no peer is there. Time and memory are told."""
    options = _parser().parse_args(argv)
    peers = children.call("benchmarks.tools:versions", list(tools.PEERS), python=options.peer_python, memory_bytes=0)
    if peers.problem:
        print(f"onnxsim and onnxslim are not in {options.peer_python}: {peers.problem}")
        print("install the extra bench, or name an interpreter that has them: --peer-python or TCC_PEER_PYTHON")
        return 1
    children.call("benchmarks.tools:versions", ["tcc"])  # measures the machine, once
    print(", ".join(f"{tool} {version}" for tool, version in peers.value.items()), f"; repetitions: {options.repeat}")
    rows: list[Row] = []
    for entry in _chosen(options):
        rows += (made := _compare(entry, options))
        print("\n".join(_lines(entry, made)), flush=True)
    print("\n" + "\n".join(_summary(rows)))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["tool"] == "tcc" and ("problem" in row or "nodes" in row["above"]) for row in rows) or not rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of models' names; zoo, light and transformers without any")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions, each a fresh process (default: 3)")
    parser.add_argument("--peer-python", default=os.environ.get("TCC_PEER_PYTHON") or sys.executable)
    parser.add_argument("--json", type=Path, help="where to write all figures")
    return parser


def _chosen(options: argparse.Namespace) -> list[Entry]:
    if options.patterns:
        return models.entries(patterns=options.patterns)
    known = models.index() if models.folder("topologies") else {}
    transformers = [Entry("topologies", name) for name in sorted(known) if "attention" in known[name]["tags"]]
    return [*models.entries(("zoo", "light")), *transformers]


def _compare(entry: Entry, options: argparse.Namespace) -> list[Row]:
    every = (*tools.OURS, *tools.PEERS)
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        prepared = children.call("benchmarks.simplifiers:prepare", entry.text, folder)
        if prepared.problem:
            return [{"model": entry.text, "tool": "tcc", "problem": prepared.problem, "above": []}]
        outputs = {tool: Path(folder) / f"{tool}.onnx" for tool in every}
        runs: dict[str, list[children.Answer]] = {tool: [] for tool in every}
        # In turns, so that a machine that slows down does so for all of them.
        for _ in range(options.repeat):
            for tool in every:
                if not (runs[tool] and runs[tool][-1].problem):
                    runs[tool].append(_once(tool, prepared.value, outputs[tool], options.peer_python))
        there = [tool for tool in every if outputs[tool].exists() and not runs[tool][-1].problem]
        files = [prepared.value, *(str(outputs[tool]) for tool in there)]
        before, *after = children.call("benchmarks.simplifiers:counted", files).value
    rows = []
    for tool in every:
        row: Row = {"model": entry.text, "tool": tool, "before": before, "above": []}
        if tool in there:
            row |= after[there.index(tool)]
            row["seconds"] = statistics.median(run.value[0] for run in runs[tool])
            row["cpu_seconds"] = statistics.median(run.value[1] for run in runs[tool])
            row["imported_bytes"] = statistics.median(run.value[2] for run in runs[tool])
            row["peak_bytes"] = statistics.median(run.peak_bytes for run in runs[tool])
        else:
            row["problem"] = runs[tool][-1].problem or "it wrote no file"
        rows.append(row)
    return _judged(rows)


def _once(tool: str, source: str, output: Path, peer_python: str) -> children.Answer:
    output.unlink(missing_ok=True)
    python = peer_python if tool in tools.PEERS else sys.executable
    arguments = (tool, source, str(output))
    return children.call("benchmarks.tools:simplify", *arguments, python=python, seconds=_SECONDS, memory_bytes=0)


def _judged(rows: list[Row]) -> list[Row]:
    """Note where tcc is above what it is held to. Peers that fail are no measure."""
    of = {row["tool"]: row for row in rows if "problem" not in row}
    ours = of.get("tcc")
    if ours is None:
        return rows
    best = [of[peer] for peer in tools.PEERS if peer in of]
    # Peers expand the light models' weights, which nodes make, into files of up to 130,000 times the size: what
    # constants alone feed is left out of the comparison for all.
    limits = {
        "nodes": min((peer["dependent"] for peer in best), default=None),
        "seconds": 2 * of["onnxsim"]["seconds"] if "onnxsim" in of else None,
        "peak_bytes": of["onnxslim"]["peak_bytes"] if "onnxslim" in of else None,
    }
    values = {"nodes": ours["dependent"], "seconds": ours["seconds"], "peak_bytes": ours["peak_bytes"]}
    ours["above"] = [name for name, limit in limits.items() if limit is not None and values[name] > limit]
    return rows


def _lines(entry: Entry, rows: Sequence[Row]) -> list[str]:
    before = rows[0].get("before")
    if before is None:
        return [f"{entry.text}: {rows[0]['problem']}"]
    lines = [f"{entry.text}: {before['nodes']} nodes ({before['dependent']} dependent), {before['nbytes']} bytes"]
    sim = next((row for row in rows if row["tool"] == "onnxsim" and "problem" not in row), None)
    for row in rows:
        if "problem" in row:
            lines.append(f"  {row['tool']:14} failed: {row['problem'][:160]}")
            continue
        ratio = f"({row['seconds'] / sim['seconds']:5.2f} of onnxsim)" if sim else ""
        above = f"  ABOVE: {', '.join(row['above'])}" if row["above"] else ""
        lines.append(
            f"  {row['tool']:14} {row['nodes']:5} nodes {row['dependent']:5} dependent {row['nbytes']:11} bytes "
            f"{row['seconds']:7.2f} s {ratio} {row['cpu_seconds']:7.2f} s of processor "
            f"{row['peak_bytes'] / 2**20:6.0f} MiB ({row['imported_bytes'] / 2**20:.0f} imported){above}"
        )
    return lines


def _summary(rows: Sequence[Row]) -> list[str]:
    """Totals over the models that every tool did, and how often tcc is above."""
    every = (*tools.OURS, *tools.PEERS)
    failed = {row["model"] for row in rows if "problem" in row}
    names = {row["model"] for row in rows}
    lines = [f"models: {len(names)}; done by every tool: {len(names - failed)}"]
    for tool in every:
        of = [row for row in rows if row["tool"] == tool and row["model"] not in failed]
        if of:
            sums = {name: sum(row[name] for row in of) for name in _MEASURES}
            lines.append(
                f"  {tool:14} {sums['nodes']:6} nodes {sums['dependent']:6} dependent {sums['nbytes']:12} bytes "
                f"{sums['seconds']:8.1f} s, {sums['cpu_seconds']:.1f} s of processor, "
                f"largest peak {max(row['peak_bytes'] for row in of) / 2**20:.0f} MiB"
            )
        count = sum(row["tool"] == tool and "problem" in row for row in rows)
        lines += [f"  {tool:14} failed on {count}"] if count else []
    held = {
        "nodes": "more dependent nodes than the better peer", "seconds": "more than twice onnxsim's time",
        "peak_bytes": "more peak memory than onnxslim",
    }  # fmt: skip
    for name, meaning in held.items():
        above = [row["model"] for row in rows if name in row["above"]]
        lines.append(f"tcc above, {meaning}: {len(above)}{': ' if above else ''}{', '.join(above)}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
