"""Compiles every model of the corpus, the zoo and onnx's light models at -O1 and -O2, and judges each result."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import children, models
from benchmarks.children import Answer

_DONE = Path(__file__).resolve().parent.parent / "build" / "corpus.jsonl"
_OUTSIDE: tuple[models.Kind, ...] = ("zoo", "topologies")
_HEAD = (
    f"{'model':44} {'O':1} {'nodes':>13} {'dependent':>13} {'bytes':>21} {'s':>6} {'difference':>10} {'gap':>7}  notes"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the corpus; 1 where anything failed."""
    options = _parser().parse_args(argv)
    chosen = [entry.text for entry in models.entries(patterns=options.patterns)]
    for kind in _OUTSIDE:
        if models.folder(kind) is None:
            print(f"the collection {kind!r} is not here and is left out; TCC_{kind.upper()} names its folder")
    key = f"{fingerprint()}:{','.join(options.levels)}"
    known = {} if options.fresh else _known(key)
    started = time.perf_counter()
    print(_HEAD)
    rows = [row for text in chosen if text in known for row in known[text]]
    for row in rows:
        print(_line(row))
    _DONE.parent.mkdir(exist_ok=True)
    with _DONE.open("w" if options.fresh else "a") as journal:
        todo = [text for text in chosen if text not in known]
        for text, answer in children.spread(todo, _runner(options), options.jobs):
            made = answer.value or [_lost(text, answer)]
            rows += made
            for row in made:
                row["peak_bytes"] = answer.peak_bytes
                print(_line(row), flush=True)
            if answer.value:
                journal.write(json.dumps([key, text, made]) + "\n")
                journal.flush()
    rows.sort(key=lambda row: (chosen.index(row["model"]), row["level"]))
    totals = _totals(rows, len(chosen), time.perf_counter() - started)
    print("\n" + "\n".join(f"{name:28} {value}" for name, value in totals.items()))
    if options.json:
        options.json.write_text(json.dumps({"totals": totals, "rows": rows}, indent=1) + "\n")
    return int(any(row["failures"] for row in rows) or not chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of models' names, or globs; all models without any")
    parser.add_argument("--jobs", type=int, default=2, help="models at a time (default: 2)")
    parser.add_argument("--levels", type=lambda text: text.split(","), default=["1", "2"], help="default: 1,2")
    parser.add_argument("--seconds", type=float, default=600, help="limit on a model (default: 600)")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--fresh", action="store_true", help="judge again what an unchanged tcc has already done")
    return parser


def _runner(options: argparse.Namespace) -> Callable[[str], Answer]:
    def run(text: str) -> Answer:
        answer = children.call("benchmarks.compiling:check", text, options.levels, seconds=options.seconds)
        return answer if answer.value or len(options.levels) == 1 else _apart(text, options)

    return run


def _apart(text: str, options: argparse.Namespace) -> Answer:
    """Each level on its own, where one of them took the process down."""
    rows: list[dict[str, Any]] = []
    peak, seconds = 0, 0.0
    for level in options.levels:
        answer = children.call("benchmarks.compiling:check", text, [level], seconds=options.seconds)
        rows += answer.value or [_lost(text, answer, level)]
        peak, seconds = max(peak, answer.peak_bytes), seconds + answer.seconds
    return Answer(rows, "", seconds, peak)


def _lost(text: str, answer: Answer, level: str = "-") -> dict[str, Any]:
    return {"model": text, "level": level, "seconds": answer.seconds, "failures": [answer.problem or "no answer"]}


def fingerprint() -> str:
    """Of the compiler's sources: results of another compiler are not taken over."""
    package = Path(__file__).resolve().parent.parent / "tcc"
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in {".py", ".toml"}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _known(key: str) -> dict[str, list[dict[str, Any]]]:
    if not _DONE.exists():
        return {}
    lines = [json.loads(line) for line in _DONE.read_text().splitlines() if line.endswith("]")]
    return {text: rows for stored, text, rows in lines if stored == key}


def _line(row: dict[str, Any]) -> str:
    head = f"{row['model']:44} {row['level']:1}"
    notes = [f"FAILED {failure[:300]}" for failure in row["failures"]]
    if "after" not in row:
        return f"{head} {'':60} {row['seconds']:6.1f} {'; '.join(notes)}"
    before, after = row["before"], row["after"]
    if row.get("chaos"):
        notes.append(f"chaotic: differs from itself by {row['chaos']:.1e}")
    if not row["depends"]:
        notes.append("output hardly depends on the input")
    if row["saturation"] != ["saturated"] and row["saturation"]:
        notes.append(f"saturation: {'+'.join(row['saturation'])}")
    notes += [f"withheld: {message}" for message in row["withheld"]]
    difference = "" if row.get("difference") is None else f"{row['difference']:.1e}"
    gap = "" if row["gap"] is None else f"{row['gap']:.0e}"
    counts = " ".join(f"{before[name]:>5} -> {after[name]:<4}" for name in ("nodes", "dependent"))
    size = f"{before['nbytes']:>10} {after['nbytes'] - before['nbytes']:>+10}"
    return f"{head} {counts} {size} {row['seconds']:6.1f} {difference:>10} {gap:>7}  {'; '.join(notes)}".rstrip()


def _totals(rows: Sequence[dict[str, Any]], asked: int, seconds: float) -> dict[str, Any]:
    judged = [row for row in rows if "after" in row]
    totals: dict[str, Any] = {"models": asked, "compilations": len(rows)}
    for level in sorted({row["level"] for row in judged}):
        of = [row for row in judged if row["level"] == level]
        for name in ("nodes", "dependent", "nbytes"):
            before, after = (sum(row[side][name] for row in of) for side in ("before", "after"))
            totals[f"-O{level} {name}"] = f"{before} -> {after} ({after / before:.3f})"
        totals[f"-O{level} seconds"] = f"{sum(row['seconds'] for row in of):.0f} in all"
    totals |= {
        "chaotic": sum(bool(row.get("chaos")) for row in judged),
        "a later form withheld": sum(bool(row["withheld"]) for row in judged),
        "outputs hardly depend": sum(not row["depends"] for row in judged),
        "largest gap": max((row["gap"] or 0 for row in judged), default=0),
        "failed": sum(bool(row["failures"]) for row in rows),
        "seconds of this run": round(seconds),
    }
    return totals


if __name__ == "__main__":
    sys.exit(main())
