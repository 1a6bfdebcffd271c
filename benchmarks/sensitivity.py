"""What each lossy site is predicted to lose beside what a program with that site alone is measured to lose."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import children, models

if TYPE_CHECKING:
    from tcc.passes._prepared import Prepared
    from tcc.passes.base import Context

LEAST = 0.9
"""The rank correlation that predictions have to reach."""
_FEWEST = 3
"""Sites of which a rank correlation is told."""
_OPSET = 13
"""What lossy passes write at least."""
MODELS = ("mlperf_ic_resnet8_bn", "imagenet_mobilenetv1_025_128_deq")
TECHNIQUES = ("static-int8", "dynamic-int8", "weight-int8", "stored-int8")


@dataclass
class Sites:
    """One model's lossy sites, each chosen, written and measured alone."""

    known: Prepared
    context: Context

    def predicted(self) -> dict[str, float]:
        """The loss of each site, in unexplained variance."""
        from tcc.passes._sensitivity import Measuring
        from tcc.rewrites.lossy._ranges import KEY

        known, judge = self.known, self.known.expected.judge
        measuring = Measuring(
            known.model, known.observed, known.feeds, judge.varied, judge.samples, self.context,
            known.evidence.operations,
        )  # fmt: skip
        known.evidence.kept[KEY], slopes = measuring.ranges()
        measuring = replace(measuring, known=slopes)
        offer = self._attempt().offer
        return measuring.answers(offer).losses(offer)

    def measured(self, site: str) -> float | None:
        """The unexplained variance of the outputs on all data; None where the site alone saves no bytes."""
        from tcc.ir.execution import Runner
        from tcc.ir.loss import Judge

        attempt = self._attempt()
        choice = attempt.choose({site: 0.0})
        if tuple(choice.extraction.sites) != (site,):
            return None
        attempt.emit(choice)
        proto, weights = attempt.model.stripped_proto()
        runner, judge = Runner(proto, weights=weights, optimise=True), Judge()
        for before, feed in zip(self.known.expected, self.known.feeds, strict=True):
            judge.add(before, runner.run(feed))
        return judge.unexplained(self.known.expected.judge.varied)

    def _attempt(self) -> Any:
        from tcc.passes._attempt import Attempt

        known = self.known
        return Attempt(
            known.model.clone(), self.context, known.found, known.observed, known.evidence,
            dict.fromkeys(TECHNIQUES, ()), "size", slower=True,
        )  # fmt: skip


def compare(name: str, most: int, samples: int) -> dict[str, Any]:
    """The sites of one zoo model, at most ``most`` of each technique, with both losses."""
    import tcc
    from tcc.frontends import load
    from tcc.ir.opsets import raised
    from tcc.passes._prepared import prepare
    from tcc.passes.base import Context
    from tcc.targets import parse_target

    case = models.zoo_case(name)
    context = Context(parse_target("native"), calibration=tuple(case.calibration(samples)), max_loss=math.inf)
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        path = Path(folder) / "exact.onnx"
        tcc.compile(case.model, 2, target="native", output=path)
        model = load(path)
        made = Sites(prepare(raised(model, _OPSET) or model, context), context)
        predicted = made.predicted()
        measured = {site: made.measured(site) for site in spread(predicted, most)}
    rows = [
        {"site": site, "predicted": predicted[site], "measured": loss}
        for site, loss in measured.items() if loss is not None
    ]  # fmt: skip
    return {"model": name, "rows": rows, "spearman": correlations(rows)}


def spread(sites: Mapping[str, float], most: int) -> Iterator[str]:
    """At most ``most`` sites of each technique, evenly spread in the order of the graph."""
    for technique in TECHNIQUES:
        found = [site for site in sites if site.startswith(f"{technique}:")]
        yield from found[:: max(1, math.ceil(len(found) / most))]


def correlations(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Spearman's rank correlation of each technique with enough sites, and of all of them."""
    from scipy.stats import spearmanr

    groups = {name: [row for row in rows if row["site"].startswith(f"{name}:")] for name in TECHNIQUES}
    return {
        name: float(spearmanr([row["predicted"] for row in group], [row["measured"] for row in group]).statistic)
        for name, group in {"all": rows, **groups}.items()
        if len(group) >= _FEWEST
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; 1 where the sites of a model are not ranked well enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS, help="zoo models")
    parser.add_argument("--sites", type=int, default=16, help="sites of each technique at most")
    parser.add_argument("--samples", type=int, default=200, help="calibration samples")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args(argv)
    found, failed = [], False
    for name in options.models:
        answer = children.call("benchmarks.sensitivity:compare", name, options.sites, options.samples)
        if answer.problem:
            print(f"{name}: {answer.problem}")
            failed = True
            continue
        row = answer.value
        found.append(row)
        ratios = sorted(each["measured"] / each["predicted"] for each in row["rows"] if each["predicted"])
        listed = ", ".join(f"{technique} {value:.3f}" for technique, value in row["spearman"].items())
        print(
            f"{name}: {len(row['rows'])} sites, Spearman {listed}; measured / predicted "
            f"{ratios[len(ratios) // 10]:.2f} to {ratios[-1 - len(ratios) // 10]:.2f} (80 % of them), "
            f"median {ratios[len(ratios) // 2]:.2f}; {answer.seconds:.0f} s"
        )
        failed |= not row["spearman"].get("all", 0.0) >= LEAST
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
