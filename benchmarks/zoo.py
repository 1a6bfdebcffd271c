"""Scores every zoo model before and after -O1 and -O2 on all of its evaluation samples, and compares each output."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import children, models
from benchmarks.children import Answer


def evaluate(name: str, levels: list[str], limit: int | None = None) -> list[dict[str, Any]]:
    """One row a level: scores before and after (None without labels), samples, and the largest difference."""
    from benchmarks import judging

    case = models.zoo_case(name)
    batches = list(case.evaluation(limit))
    reference = judging.Reference(case.model, [feed for feed, _ in batches])
    return [_level(case, level, reference, [labels for _, labels in batches]) for level in levels]


def _level(case: Any, level: str, reference: Any, labels: Sequence[Any]) -> dict[str, Any]:
    import tcc
    from benchmarks.compiling import EXACT

    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        path = Path(folder) / "out.onnx"
        tcc.compile(case.model, int(level), output=path)
        verdict = reference.judge(path, bits=level in EXACT)
        nbytes = path.stat().st_size
    before, after = (_score(case, outputs, labels) for outputs in (reference.outputs, verdict.outputs))
    failures = [] if verdict.equal else [f"not equal: {verdict.text}"]
    failures += [f"the score was {before:.4f}"] if before != after else []
    failures += [f"{nbytes} bytes, was {case.model.stat().st_size}"] if nbytes > case.model.stat().st_size else []
    return {
        "model": case.name, "level": level, "samples": sum(_size(feed) for feed in reference.feeds),
        "before": before, "after": after, "difference": verdict.difference,
        "bytes_before": case.model.stat().st_size, "bytes_after": nbytes, "failures": failures,
    }  # fmt: skip


def _size(feed: dict[str, Any]) -> int:
    return max(len(array) for array in feed.values())


def _score(case: Any, outputs: Sequence[Sequence[Any]], labels: Sequence[Any]) -> float | None:
    import numpy as np

    if case.metric is None:
        return None
    hits = [case.metric(run[0], expected) for run, expected in zip(outputs, labels, strict=True)]
    return float(np.concatenate(hits).mean())


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate; 1 where an output or a score changed."""
    options = _parser().parse_args(argv)
    chosen = [entry.name for entry in models.entries(("zoo",), options.patterns)]
    if not chosen:
        print("no such model, or the zoo is not here: TCC_ZOO names its folder")
        return 1

    def run(name: str) -> Answer:
        return children.call("benchmarks.zoo:evaluate", name, options.levels, options.limit)

    print(
        f"{'model':36} {'O':1} {'samples':>7} {'score before':>12} {'after':>8} {'difference':>10} "
        f"{'bytes':>9} {'after':>9}"
    )
    rows: list[dict[str, Any]] = []
    for name, answer in children.spread(chosen, run, options.jobs):
        made = answer.value or [{"model": name, "level": "-", "failures": [answer.problem]}]
        rows += made
        for row in made:
            print(_line(row), flush=True)
    rows.sort(key=lambda row: (chosen.index(row["model"]), row["level"]))
    failed = sum(bool(row["failures"]) for row in rows)
    print(f"\n{len(chosen)} models, {len(rows)} compilations, {failed} failed")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(failed > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of models' names; all without any")
    parser.add_argument("--levels", type=lambda text: text.split(","), default=["1", "2"], help="default: 1,2")
    parser.add_argument("--limit", type=int, help="evaluation samples of each model; all without it")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where to write all figures")
    return parser


def _line(row: dict[str, Any]) -> str:
    notes = "; ".join(f"FAILED {failure}" for failure in row["failures"])
    if "samples" not in row:
        return f"{row['model']:36} {notes}"
    before, after = ("no labels" if row[s] is None else f"{row[s]:.2%}" for s in ("before", "after"))
    return (
        f"{row['model']:36} {row['level']:1} {row['samples']:7} {before:>12} {after:>8} {row['difference']:10.1e} "
        f"{row['bytes_before']:9} {row['bytes_after']:9} {notes}"
    ).rstrip()


if __name__ == "__main__":
    sys.exit(main())
