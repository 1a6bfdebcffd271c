"""Prunes every architecture of the corpus at a nominal part of its channels, nothing ignored, and judges it."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import children, models
from benchmarks.children import Answer

_DONE = Path(__file__).resolve().parent.parent / "build" / "pruning.jsonl"


def prune(text: str, ratio: float) -> dict[str, Any]:
    """One row: what was removed, the proof, and whether the written file loads, runs and keeps its signature."""
    from tcc import frontends
    from tcc.passes.base import Context
    from tcc.passes.pipeline import parse
    from tcc.targets import parse_target

    chosen = models.entry(text)
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        path = models.file(chosen, Path(folder))
        feeds = models.feeds(chosen, path)
        context = Context(parse_target("x86-64-vnni"), feeds=tuple(feeds))
        model = frontends.load(path)
        signature, parameters = model.signature, model.parameter_count
        started, facts = time.perf_counter(), {}
        for step in parse(f"canonicalize,inline,fold,prune{{ratio={ratio}}}"):
            result = step.run(model, context)
            model, facts = result.model, dict(result.facts)
        seconds = time.perf_counter() - started
        written = Path(folder) / "pruned.onnx"
        model.save(written)
        failures = _failures(written, signature, feeds)
    left = model.parameter_count
    failures += [] if left < parameters else [f"nothing was removed: {_why(facts)}"]
    failures += [f"unproven: {name}: {reason}" for name, reason in facts.get("unproven", {}).items()]
    return {
        "model": text, "groups": facts.get("groups", 0), "parameters": [parameters, left], "seconds": seconds,
        "proof": facts.get("proof"), "unknown": facts.get("unknown"), "failures": failures,
        "convolutional": _is_convolutional(model),
    }  # fmt: skip


def _why(facts: dict[str, Any]) -> str:
    reasons = facts.get("declined") or facts.get("frozen") or {}
    return "; ".join(sorted(set(reasons.values())))[:300]


def _failures(path: Path, signature: Any, feeds: Sequence[Any]) -> list[str]:
    import onnx

    from tcc import frontends
    from tcc.ir.execution import Runner

    onnx.checker.check_model(str(path))
    runner = Runner(path)
    for feed in feeds:
        runner.run(feed)
    return [] if frontends.load(path).signature == signature else ["the signature changed"]


def _is_convolutional(model: Any) -> bool:
    """Without attention: convolutions, and no softmax but the last operator's."""
    counts = model.operator_counts
    return bool(counts.get("Conv", 0) >= 8 and counts.get("Softmax", 0) + counts.get("Attention", 0) <= 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Prune the corpus; 1 where anything failed. What an earlier run did is not done again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of models' names, or globs; all without any")
    parser.add_argument("--ratio", type=float, default=0.5, help="the nominal part of the channels (default: 0.5)")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--journal", type=Path, default=_DONE, help="rows that are done; delete it to start anew")
    options = parser.parse_args(argv)
    chosen = [e.text for e in models.entries(("topologies",), options.patterns)]
    lines = options.journal.read_text().splitlines() if options.journal.exists() else []
    rows = {row["model"]: row for row in map(json.loads, lines) if row["model"] in chosen}
    options.journal.parent.mkdir(exist_ok=True)

    def run(text: str) -> Answer:
        return children.call("benchmarks.pruning:prune", text, options.ratio, seconds=600)

    with options.journal.open("a") as journal:
        for text, answer in children.spread([t for t in chosen if t not in rows], run, options.jobs):
            rows[text] = answer.value or {"model": text, "failures": [answer.problem]}
            print(_line(rows[text]), flush=True)
            journal.write(json.dumps(rows[text]) + "\n")
            journal.flush()
    print("\n" + "\n".join(_summary(list(rows.values()))))
    return int(any(row["failures"] for row in rows.values()))


def _line(row: dict[str, Any]) -> str:
    notes = "; ".join(f"FAILED {failure}"[:300] for failure in row["failures"])
    if "seconds" not in row:
        return f"{row['model']:48} {notes}"
    before, after = row["parameters"]
    proof = row["proof"] or {"difference": 0.0}
    return (
        f"{row['model']:48} {row['groups']:4} {before:>10} -> {after:<10} {1 - after / before:6.1%} "
        f"{row['seconds']:6.1f} s {proof['difference']:8.1e} {notes}"
    ).rstrip()


def _summary(rows: list[dict[str, Any]]) -> list[str]:
    pruned = [row for row in rows if "seconds" in row and row["parameters"][1] < row["parameters"][0]]
    removed = [1 - row["parameters"][1] / row["parameters"][0] for row in pruned]
    convolutional = [r for r, row in zip(removed, pruned, strict=True) if row["convolutional"]]
    if not pruned:
        return ["nothing was pruned"]
    wide = sum(row["proof"]["tolerance"] > 1e-5 for row in pruned)
    share, median = len(pruned) / len(rows), statistics.median
    seconds = [row["seconds"] for row in pruned]
    return [
        f"{len(pruned)} of {len(rows)} pruned ({share:.1%}), each equal to its masked original",
        f"  within 1e-5 of its outputs' scale: {len(pruned) - wide}",
        f"  within twice what the original differs from itself: {wide}",
        f"parameters removed, median: {median(removed):.1%}",
        f"  of {len(convolutional)} convolutional: {median(convolutional or [0]):.1%}",
        f"seconds, median: {median(seconds):.2f}, largest: {max(seconds):.1f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
