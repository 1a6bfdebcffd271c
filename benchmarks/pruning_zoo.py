"""The zoo's accuracy after pruning to given parts of its operations: random and plain L1 against tcc's own choice."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import children, models
from benchmarks.children import Answer

if TYPE_CHECKING:
    import numpy as np

METHODS = ("random", "l1", "tcc")
"""``random`` and ``l1``: the same part of every group, no recovery. ``tcc``: the pass's defaults."""
_SEARCH = 6
_SECONDS = 1800.0


def judge(name: str, part: float, method: str, samples: int, limit: int | None) -> dict[str, Any]:
    """One row: what is left, and the score on evaluation samples that calibration does not see."""
    import numpy as np

    from tcc.ir.execution import Runner

    case = models.zoo_case(name)
    feeds = list(case.calibration(samples))
    started = time.perf_counter()
    model, facts = _pruned(case, feeds, part, method)
    seconds = time.perf_counter() - started
    proto, weights = model.stripped_proto()
    before, after = Runner(case.model), Runner(proto, weights=weights)
    hits = [_hits(case, r, limit) for r in (before, after)]
    changed = hits[1] - hits[0]
    return {
        "model": name, "part": part, "method": method, "scores": [float(h.mean()) for h in hits], "seconds": seconds,
        "error": float(changed.std() / np.sqrt(len(changed))),
        "operations": facts.get("operations"), "parameters": facts.get("parameters"), "proof": facts.get("proof"),
        "recovery": facts.get("recovery"),
    }  # fmt: skip


def _hits(case: Any, runner: Any, limit: int | None) -> np.ndarray:
    """What each evaluation sample (or token) scores, float64."""
    import numpy as np

    found = [case.metric(runner.run(feed)[0], labels) for feed, labels in case.evaluation(limit)]
    return np.concatenate([np.asarray(one, np.float64).reshape(-1) for one in found])


def _pruned(case: Any, feeds: list[Any], part: float, method: str) -> tuple[Any, dict[str, Any]]:
    """The pruned model and the facts; plain methods search for the ratio that leaves what is asked for."""
    from tcc import frontends

    simple, _ = run(frontends.load(case.model), feeds, "canonicalize,inline,fold,simplify", data=False)
    if method == "tcc":
        return run(simple, feeds, f"prune{{macs={part}}}", data=True)
    low, high, best = 0.0, 0.98, None
    for _ in range(_SEARCH):
        ratio = (low + high) / 2
        found = run(simple, feeds, f"prune{{ratio={ratio},importance={method},recover=false}}", data=False)
        before, after = found[1].get("operations", (1.0, 1.0))
        if after <= part * before:
            best, high = found, ratio
        else:
            low = ratio
    if best is None:
        message = f"no ratio leaves {part:g} of the operations"
        raise ValueError(message)
    return best


def run(
    model: Any, feeds: list[Any], steps: str, *, data: bool, target: str = "x86-64-vnni"
) -> tuple[Any, dict[str, Any]]:
    """A copy of a model after a pipeline, and the facts of its last pass."""
    from tcc.passes.base import Context
    from tcc.passes.pipeline import parse
    from tcc.targets import parse_target

    context = Context(
        parse_target(target), feeds=tuple(feeds[:2]), calibration=tuple(feeds) if data else None
    )  # fmt: skip
    model, facts = model.clone(), dict[str, Any]()
    for one in parse(steps):
        result = one.run(model, context)
        model, facts = result.model, dict(result.facts)
    return model, facts


def main(argv: Sequence[str] | None = None) -> int:
    """Fill the table; 1 where a row failed or tcc's choice is no better than plain L1 on a labelled case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of models' names; all labelled ones without any")
    parser.add_argument("--parts", type=lambda t: [float(p) for p in t.split(",")], default=[0.9, 0.75, 0.5])
    parser.add_argument("--methods", type=lambda t: t.split(","), default=list(METHODS))
    parser.add_argument("--samples", type=int, default=1000, help="calibration samples (default: 1000)")
    parser.add_argument("--limit", type=int, help="evaluation samples; all without it")
    parser.add_argument("--journal", type=Path, default=Path("build/pruning_zoo.jsonl"), help="rows that are done")
    options = parser.parse_args(argv)
    names = [e.name for e in models.entries(("zoo",), options.patterns) if models.zoo_case(e.name).metric]
    options.journal.parent.mkdir(exist_ok=True)
    lines = options.journal.read_text().splitlines() if options.journal.exists() else []
    rows = {(r["model"], r["part"], r["method"]): r for r in map(json.loads, lines)}
    wanted = [(n, p, m) for n in names for p in options.parts for m in options.methods]
    with options.journal.open("a") as journal:
        for key in wanted:
            if key not in rows:
                answer = children.call(
                    "benchmarks.pruning_zoo:judge", *key, options.samples, options.limit, seconds=_SECONDS
                )
                rows[key] = _row(key, answer)
                journal.write(json.dumps(rows[key]) + "\n")
                journal.flush()
            print(_line(rows[key]), flush=True)
    return int(not all(_better(rows, key) for key in wanted if key[2] == "tcc"))


def _row(key: tuple[str, float, str], answer: Answer) -> dict[str, Any]:
    row: dict[str, Any] = answer.value or dict(zip(("model", "part", "method"), key, strict=True))
    return row | {"problem": answer.problem}


def _better(rows: dict[tuple[str, float, str], dict[str, Any]], key: tuple[str, float, str]) -> bool:
    own, plain = rows[key], rows.get((*key[:2], "l1"))
    if own["problem"]:
        return False
    return plain is None or bool(plain["problem"]) or own["scores"][1] > plain["scores"][1]


def _line(row: dict[str, Any]) -> str:
    head = f"{row['model']:34} {row['part']:5.2f} {row['method']:7}"
    if row["problem"]:
        return f"{head} {row['problem'][:160]}"
    before, after = row["operations"]
    sizes = row["parameters"]
    return (
        f"{head} operations {after / before:5.2f}  parameters {sizes[1] / sizes[0]:5.2f}  "
        f"score {row['scores'][0]:6.2%} -> {row['scores'][1]:6.2%} "
        f"(±{row['error']:.2%})  {row['seconds']:6.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
