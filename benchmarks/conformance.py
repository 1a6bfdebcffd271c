"""Takes ONNX's backend node tests through -O2: what ONNX Runtime computes right must stay right."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import children
from benchmarks.children import Answer

_CHUNK = 64
_SECONDS = 300.0


def judge_named(names: list[str], through: str) -> list[dict[str, Any]]:
    """The outcomes of some tests, in a process of their own."""
    from benchmarks import node_tests

    wanted = set(names)
    way = node_tests.WAYS[through]
    return [asdict(node_tests.judge(test, way)) for test in node_tests.node_tests() if test.name in wanted]


def test_names() -> list[str]:
    """The names of all tests; a child's work, because making the tests imports what the parent does without."""
    from benchmarks import node_tests

    return [test.name for test in node_tests.node_tests()]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tests; 1 where an output changed, something crashed or a model was refused that should not be."""
    options = _parser().parse_args(argv)
    started = time.perf_counter()
    names = [n for n in _value(children.call("benchmarks.conformance:test_names"))
             if not options.patterns or any(p in n for p in options.patterns)]  # fmt: skip
    chunks = [names[at : at + _CHUNK] for at in range(0, len(names), _CHUNK)]
    outcomes: list[dict[str, Any]] = []
    for _, answer in children.spread(list(map(json.dumps, chunks)), _runner(options.through), options.jobs):
        outcomes += answer.value
        for outcome in answer.value:
            if outcome["verdict"] in {"changed", "crashed", "rejected"}:
                print(f"{outcome['verdict'].upper()} {outcome['name']}: {outcome['detail'][:400]}", flush=True)
    outcomes.sort(key=lambda outcome: outcome["name"])
    counts = Counter(outcome["verdict"] for outcome in outcomes)
    print(f"through: {options.through}")
    run = len(outcomes) - counts["not run"]
    print(f"tests: {len(outcomes)}; ONNX Runtime itself gives the expected outputs of {run}")
    print(", ".join(f"{verdict}: {counts[verdict]}" for verdict in ("passed", "changed", "crashed", "rejected")))
    print(f"seconds: {time.perf_counter() - started:.0f}")
    if options.json:
        options.json.write_text(json.dumps({"counts": counts, "outcomes": outcomes}, indent=1) + "\n")
    return int(any(is_failure(o["verdict"], o["detail"]) for o in outcomes) or not outcomes)


def is_failure(verdict: str, detail: str) -> bool:
    """Whether an outcome breaks the promise; refusing opsets that tcc does not read at all (E0403) does not."""
    return verdict in {"changed", "crashed"} or (verdict == "rejected" and "E0403" not in detail)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of tests' names; all tests without any")
    parser.add_argument(
        "--through", choices=("pipeline", "compile"), default="compile",
        help="pipeline: what the passes of -O2 make, whatever its size; compile: what tcc -O2 ships (default)",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    parser.add_argument("--json", type=Path, help="where to write all outcomes")
    return parser


def _runner(through: str) -> Callable[[str], Answer]:
    def run(task: str) -> Answer:
        names = json.loads(task)
        answer = children.call("benchmarks.conformance:judge_named", names, through, seconds=_SECONDS)
        if answer.value is not None:
            return answer
        if len(names) == 1:
            lost = [{"name": names[0], "verdict": "crashed", "detail": answer.problem}]
            return Answer(lost, "", answer.seconds, 0)
        # One of them took the process down: halve until it stands alone.
        halves = [names[: len(names) // 2], names[len(names) // 2 :]]
        found = [outcome for half in halves for outcome in run(json.dumps(half)).value]
        return Answer(found, "", answer.seconds, 0)

    return run


def _value(answer: Answer) -> Any:
    if answer.problem:
        raise RuntimeError(answer.problem)
    return answer.value


if __name__ == "__main__":
    sys.exit(main())
