"""What -O3 reaches on the labelled zoo: all techniques together, each alone, all but each, and a peer's recipe.

Compiled with 200 calibration samples and a loss budget of 1 %; scored on evaluation samples that no tool saw; latency
of one sample on one thread, paired with the original's. What is done is kept in build/acceptance.jsonl: a run that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import children, models
from benchmarks.journal import Journal

TECHNIQUES = (
    "static-int8", "dynamic-int8", "weight-int8", "gather-int8", "float16", "low-rank", "prune", "packed-int4",
    "stored-int8", "stored-float16",
)  # fmt: skip
PARTS = ("hardware-prices", "program")
PEER = "onnxruntime"
SETS = {
    "main": ("all", PEER),
    "alone": tuple(f"only {name}" for name in TECHNIQUES),
    "ablations": tuple(f"without {name}" for name in (*TECHNIQUES, *PARTS)),
}
"""Recipes by the name of their set."""
CLAIMS = {"convolutions": (6.0, 3.0), "encoder": (5.0, 2.5), "decoder": (4.0, 2.2)}
"""What the literature claims in size and speed: ResNet-50 class, BERT class, GPT-2 class."""
_CLASSES = {"minilm": "encoder", "llama": "decoder"}
_SAMPLES = 200


def run(name: str, recipe: str, limit: int | None, judge: int) -> dict[str, Any]:
    """One model by one recipe: ``judge`` evaluation samples are given to tcc as labelled data, the others score."""
    from benchmarks import quantization

    case = models.zoo_case(name)
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        path, started = Path(folder) / "out.onnx", time.perf_counter()
        if recipe == PEER:
            quantization.u8s8(case, path, _SAMPLES)
        else:
            _compile(case, recipe, path, judge)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, **_judged(case, path, limit, judge)}


def _compile(case: Any, recipe: str, path: Path, judge: int) -> None:
    import numpy as np

    import tcc
    from benchmarks import quantization

    word, _, name = recipe.partition(" ")
    without = {"all": [], "only": [t for t in TECHNIQUES if t != name], "without": [name]}[word]
    evaluation = None
    if judge:
        batches = list(case.evaluation(judge))
        labels = np.concatenate([labels for _, labels in batches])
        evaluation = {key: np.concatenate([feed[key] for feed, _ in batches]) for key in batches[0][0]}
        evaluation["labels"] = labels
    tcc.compile(
        case.model, 3, "native", calibration=quantization.arrays(case, _SAMPLES), evaluation=evaluation,
        metric=f"benchmarks.judged:{case.name}" if judge else "", max_loss=0.01, without=without, output=path,
        measure=True,
    )  # fmt: skip


def _judged(case: Any, path: Path, limit: int | None, judge: int) -> dict[str, Any]:
    from tcc.backends import measure_pair

    before, after = (_hits(case, file, limit, judge) for file in (case.model, path))
    gap = before - after
    feed = {key: array[:1] for key, array in next(iter(case.calibration())).items()}
    # The least of three: a busy machine makes slow, never fast.
    pair = min((measure_pair(case.model, path, [feed], budget_seconds=1.0) for _ in range(3)), key=lambda p: p.ratio)
    return {
        "bytes": path.stat().st_size / case.model.stat().st_size, "latency": pair.ratio, "noise": pair.noise,
        "score": float(before.mean()) * 100, "points_lost": float(gap.mean()) * 100,
        "standard_error": float(gap.std() / math.sqrt(gap.size)) * 100, "samples": int(gap.size),
    }  # fmt: skip


def _hits(case: Any, path: Path, limit: int | None, judge: int) -> Any:
    """The scores of the evaluation samples after the first ``judge``."""
    import numpy as np

    from benchmarks import quantization

    session = quantization.session(path)
    stop = None if limit is None else limit + judge
    batches = list(case.evaluation(stop))
    seen, scores = 0, []
    for feed, labels in batches:
        size = len(next(iter(feed.values())))
        if seen >= judge:
            scores.append(case.metric(session.run(None, feed)[0], labels))
        seen += size
    return np.concatenate(scores).astype(np.float64)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is not done yet; 1 where a recipe of tcc's fails."""
    options = _parser().parse_args(argv)
    chosen = models.labelled(options.patterns)
    if not chosen:
        print("no such model, or the zoo is not here: TCC_ZOO names its folder")
        return 1
    rows = []
    for row in _rows(chosen, options):
        rows.append(row)
        print(_line(row), flush=True)
    _summary(rows)
    return int(any(row.get("problem") and row["recipe"] != PEER for row in rows))


def _rows(cases: Sequence[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from benchmarks.corpus import fingerprint

    key = {"compiler": fingerprint(), "limit": options.limit, "judge": options.judge}
    journal = Journal("acceptance", key, options.fresh)
    recipes = [recipe for name in options.sets for recipe in SETS[name]]
    for name in cases:
        for recipe in recipes:
            if recipe == "only prune" and not options.judge:
                continue  # pruned shapes want a judge
            row = journal.find(name, recipe)
            if row is None:
                answer = children.call("benchmarks.acceptance:run", name, recipe, options.limit, options.judge,
                                       seconds=options.timeout)  # fmt: skip
                row = {"case": name, "recipe": recipe, **(answer.value or {"problem": answer.problem})}
                journal.add(row, name, recipe)
            yield row


def _line(row: Mapping[str, Any]) -> str:
    head = f"{row['case']:34} {row['recipe']:24}"
    if "problem" in row:
        return f"{head} failed: {row['problem'][:100]}"
    lost = f"{row['points_lost']:+.2f} ± {row['standard_error']:.2f}"
    return (
        f"{head} bytes {row['bytes']:.3f}  latency {row['latency']:.3f} (noise {row['noise']:.0%})  "
        f"{row['score']:.2f} lost {lost} of {row['samples']}  {row['seconds']:.0f} s"
    )


def _summary(rows: Sequence[Mapping[str, Any]]) -> None:
    by_recipe: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_recipe.setdefault(row["recipe"], []).append(row)
    print(f"\n{'geometric means':34} {'recipe':24} bytes  latency  mean points lost  cases")
    for recipe, found in by_recipe.items():
        done = [row for row in found if "problem" not in row]
        if done:
            print(f"{'':34} {recipe:24} {_mean(done, 'bytes'):.3f}  {_mean(done, 'latency'):.3f}    "
                  f"{statistics.fmean(row['points_lost'] for row in done):+.2f}             {len(done)}")  # fmt: skip
    print("\nbeside the claims of the literature (times smaller, times faster):")
    for kind, (size, speed) in CLAIMS.items():
        done = [row for row in by_recipe.get("all", []) if "problem" not in row and _kind(row["case"]) == kind]
        if done:
            print(f"  {kind:13} claimed {size:.1f} and {speed:.1f}; here {1 / _mean(done, 'bytes'):.2f} and "
                  f"{1 / _mean(done, 'latency'):.2f}, over {len(done)} cases")  # fmt: skip


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return statistics.geometric_mean(row[name] for row in rows)


def _kind(case: str) -> str:
    return next((kind for part, kind in _CLASSES.items() if part in case), "convolutions")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", help="parts of models' names; all without any")
    parser.add_argument("--sets", type=lambda text: text.split(","), default=["main"],
                        help=f"of {', '.join(SETS)}, joined by commas (default: main)")  # fmt: skip
    parser.add_argument("--limit", type=int, help="evaluation samples of each model; all without it")
    parser.add_argument("--judge", type=int, default=0,
                        help="evaluation samples that tcc gets as labelled data (default: 0)")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for each compilation (default: 900)")
    parser.add_argument("--fresh", action="store_true", help="do again what an unchanged tcc has already done")
    return parser


if __name__ == "__main__":
    sys.exit(main())
