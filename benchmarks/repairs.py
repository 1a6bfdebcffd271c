"""What each repair of integers contributes: a model whose every kernel is 8-bit, with all repairs and without each.

Programs are those of one technique with every site it offers, whatever it loses; the loss is the unexplained variance
of the outputs on evaluation samples that nothing was fitted to, and the points are those of the case's own score.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import children, models

MODELS = ("mlperf_kws_dscnn", "mlperf_ic_resnet8_bn", "imagenet_squeezenet11", "minilm_l6_v2_trim")
TECHNIQUES = ("static-int8", "dynamic-int8")
_ANY = 1e3
"""A budget that holds nothing back."""


def ablate(name: str, technique: str, samples: int, limit: int) -> dict[str, Any]:
    """One case in one technique: the loss with all repairs, and without each of those that change the program."""
    import tcc
    from tcc.frontends import load
    from tcc.ir.opsets import raised
    from tcc.passes._prepared import prepare
    from tcc.passes.base import Context
    from tcc.rewrites.lossy._repairs import REPAIRS
    from tcc.targets import parse_target

    case = models.zoo_case(name)
    context = Context(parse_target("native"), calibration=tuple(case.calibration(samples)), max_loss=_ANY)
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        path = Path(folder) / "exact.onnx"
        tcc.compile(case.model, 2, target="native", output=path)
        model = load(path)
        known = prepare(raised(model, 13) or model, context)
        before = _outputs(known.model, case, limit)
        rows = {}
        for left_out in ("", *REPAIRS, "+".join(REPAIRS)):
            made, sites = _program(known, context, technique, frozenset(left_out.split("+")))
            rows[left_out] = {"sites": sites, **_lost(before, _outputs(made, case, limit), case, limit)}
    return {"model": name, "technique": technique, "rows": rows}


def _program(known: Any, context: Any, technique: str, without: frozenset[str]) -> tuple[Any, int]:
    """The model with all sites of a technique, and how many these are."""
    from tcc.passes._attempt import Attempt
    from tcc.passes._sensitivity import Measuring
    from tcc.rewrites.lossy._ranges import KEY
    from tcc.rewrites.lossy._repairs import RANGES

    judge = known.expected.judge
    if RANGES in without:
        known.evidence.kept.pop(KEY, None)
    elif KEY not in known.evidence.kept:
        about = judge.varied, judge.samples, context, known.evidence.operations
        known.evidence.kept[KEY], _ = Measuring(known.model, known.observed, known.feeds, *about).ranges()
    attempt = Attempt(
        known.model.clone(), context, known.found, known.observed, known.evidence, {technique: ()}, "size",
        slower=True, without=without,
    )  # fmt: skip
    # Of two forms of one site the better one: what is lost only tells equals apart.
    choice = attempt.choose({site: error**2 for site, error in attempt.offer.error.items()})
    attempt.emit(choice)
    return attempt.model, len(choice.extraction.sites)


def _outputs(model: Any, case: Any, limit: int) -> list[Any]:
    from tcc.ir.execution import Runner

    proto, weights = model.stripped_proto()
    runner = Runner(proto, weights=weights, optimise=True)
    return [runner.run(feed) for feed, _ in case.evaluation(limit)]


def _lost(before: Sequence[Any], after: Sequence[Any], case: Any, limit: int) -> dict[str, float]:
    import numpy as np

    from tcc.ir.loss import Judge

    judge, gaps = Judge(), []
    for a, b, (_, labels) in zip(before, after, case.evaluation(limit), strict=True):
        judge.add(a, b)
        hits = [np.asarray(case.metric(each[0], labels), np.float64) for each in (a, b)]
        gaps.append(hits[0] - hits[1])
    gap = np.concatenate(gaps)
    error = float(gap.std()) / math.sqrt(gap.size) * 100
    return {"loss": judge.energy, "points": float(gap.mean()) * 100, "standard_error": error}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a case cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS, help="labelled zoo models")
    parser.add_argument("--techniques", default=",".join(TECHNIQUES), help="which, joined by commas (default: both)")
    parser.add_argument("--samples", type=int, default=200, help="calibration samples (default: 200)")
    parser.add_argument("--limit", type=int, default=400, help="evaluation samples (default: 400)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args(argv)
    found, failed = [], False
    for name in options.models:
        for technique in options.techniques.split(","):
            answer = children.call("benchmarks.repairs:ablate", name, technique, options.samples, options.limit)
            if answer.problem:
                print(f"{name} {technique}: {answer.problem}")
                failed = True
                continue
            found.append(answer.value)
            print("\n".join(_lines(answer.value)), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(failed)


def _lines(made: Mapping[str, Any]) -> list[str]:
    lines = [f"{made['model']} {made['technique']}"]
    for left_out, row in made["rows"].items():
        label = "without all" if "+" in left_out else f"without {left_out}" if left_out else "all repairs"
        lines.append(
            f"  {label:26} {row['sites']:4} sites  loss {row['loss']:.5f}  "
            f"points {row['points']:+.2f} ± {row['standard_error']:.2f}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
