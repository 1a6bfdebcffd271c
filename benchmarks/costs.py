"""Sets the cost models beside what runs: kernels, whole models, and the ranking of each model's variants."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import children, models, sweeps, variants

if TYPE_CHECKING:
    from tcc.cost_models._kernels import Kernel
    from tcc.cost_models.learned import Learned
    from tcc.cost_models.roofline import Roofline

_ARCHITECTURES = (
    "tv_resnet50", "tv_mobilenet_v2", "hf_distilbert_cls", "hf_vit", "tv_efficientnet_b0", "tv_densenet121",
    "tv_convnext_tiny", "hand_unet_batchnorm",
)  # fmt: skip
_FURTHER = (
    "tv_resnet18", "timm_mobilenetv3_small_050", "hf_bert", "hf_gpt2", "timm_convnextv2_atto", "tv_googlenet",
    "tv_regnet_x_400mf", "hf_swin",
)  # fmt: skip
"""Learned from only, as they are and in INT8."""
_FOLDS = 6
"""Each model, with all its variants, is predicted from the other folds' measurements only."""
_NOISE = 0.05
"""Two programs closer than this, or than the repetitions of one stray, have no order."""


@dataclass(frozen=True)
class Run:
    """A program as it was measured: its kernels with their seconds, and the seconds of a whole run."""

    model: str
    variant: str
    seconds: float
    kernels: tuple[tuple[Kernel, float], ...]

    @property
    def program(self) -> tuple[Kernel, ...]:
        """What runs."""
        return tuple(kernel for kernel, _ in self.kernels)


def measure(text: str, variant: str, seconds: float) -> dict[str, Any]:
    """Make one variant of a model and profile it on one thread."""
    from tcc.compiler.profiling import profile

    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        if text.startswith(sweeps.PREFIX):
            original, feeds = sweeps.make(text, Path(folder))
        else:
            original = models.file(models.entry(text), Path(folder))
            feeds = models.feeds(models.entry(text), original)
        found = profile(variants.make(variant, original, feeds, Path(folder)), feeds[:1], seconds=seconds)
    kernels = [[item.kernel.text, item.seconds] for item in found.kernels]
    return {"model": text, "variant": variant, "seconds": found.seconds, "kernels": kernels}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, then judge the cost models; 1 where a bound does not hold.

    The bounds are those of ``compiled``, which is what compilations choose by.
    """
    options = _parser().parse_args(argv)
    rows = [json.loads(line) for line in options.keep.open()] if options.keep.exists() else []
    done = {(row["model"], row["variant"]) for row in rows}
    wanted = [entry.text for entry in _chosen(options.patterns)]
    for text, variant in _programs(wanted):
        if (text, variant) in done or options.only_judge:
            continue
        answer = children.call("benchmarks.costs:measure", text, variant, options.seconds)
        if not answer.value:
            print(f"{text} {variant}: left out: {answer.problem}", flush=True)
            continue
        rows.append(answer.value)
        options.keep.parent.mkdir(parents=True, exist_ok=True)
        with options.keep.open("a") as file:
            file.write(json.dumps(answer.value) + "\n")
    runs = [_run(row) for row in rows]
    found = judge([run for run in runs if run.model in wanted], [run for run in runs if run.model not in wanted])
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    best = found["compiled"]
    return int(not (best["spearman"] >= 0.9 and best["median_error"] <= 0.15 and best["ranked"] >= 0.95))


def _programs(wanted: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is measured: single operators and some further models to learn from, then what is judged."""
    there = {entry.name for entry in models.entries(("topologies",))}
    yield from itertools.product(sweeps.NAMES, variants.NAMES)
    yield from itertools.product([f"topologies:{name}" for name in _FURTHER if name in there], variants.NAMES[:2])
    yield from itertools.product(wanted, variants.NAMES)


def judge(runs: Sequence[Run], others: Sequence[Run] = ()) -> dict[str, dict[str, float]]:
    """Print and return how each cost model does; ``others`` are learned from only.

    Nothing is predicted from measurements of its own model.
    """
    noise = max(_NOISE, _repeatability(runs))
    print(f"{len(runs)} programs of {len({run.model for run in runs})} models, one thread")
    print(f"identical programs of one model stray by up to {_repeatability(runs):.1%}: what is closer has no order")
    print(f"{'':10} {'Spearman':>9} {'within models':>13} {'median error':>13} {'90 %':>7} {'ranked':>7} {'pairs':>6}")
    found = {}
    for name, predict in _predictors(runs, others).items():
        seconds = {id(run): predict(run) for run in runs}
        found[name] = made = _judged(runs, seconds, noise)
        print(
            f"{name:10} {made['spearman']:9.3f} {made['spearman_within']:13.3f} {made['median_error']:13.1%} "
            f"{made['error_90']:7.1%} {made['ranked']:7.1%} {made['pairs']:6.0f}"
        )
    return found


def _judged(runs: Sequence[Run], seconds: Mapping[int, list[float]], noise: float) -> dict[str, float]:
    said = [value for run in runs for value in seconds[id(run)]]
    seen = [value for run in runs for _, value in run.kernels]
    within = [_spearman(seconds[id(run)], [s for _, s in run.kernels]) for run in runs if len(run.kernels) > 4]
    errors = sorted(abs(sum(seconds[id(run)]) / run.seconds - 1) for run in runs)
    right = [(sum(seconds[id(a)]) < sum(seconds[id(b)])) == (a.seconds < b.seconds) for a, b in _pairs(runs, noise)]
    return {
        "spearman": _spearman(said, seen),
        "spearman_within": statistics.median(within),
        "median_error": statistics.median(errors),
        "error_90": errors[int(0.9 * len(errors))],
        "ranked": statistics.mean(right),
        "pairs": len(right),
    }


def _pairs(runs: Sequence[Run], noise: float) -> Iterator[tuple[Run, Run]]:
    """Different programs of one model whose times differ by more than the noise."""
    for a, b in itertools.combinations(runs, 2):
        apart = abs(math.log(a.seconds / b.seconds)) > math.log1p(noise)
        if a.model == b.model and a.program != b.program and apart:
            yield a, b


def _repeatability(runs: Sequence[Run]) -> float:
    """How far the times of identical programs are apart, at the 90 % quantile: some variants change nothing."""
    apart = sorted(
        abs(a.seconds / b.seconds - 1)
        for a, b in itertools.combinations(runs, 2)
        if a.model == b.model and a.program == b.program
    )
    return apart[int(0.9 * len(apart))] if apart else 0.0


def _predictors(runs: Sequence[Run], others: Sequence[Run]) -> dict[str, Callable[[Run], list[float]]]:
    from tcc.cost_models import _operations as operations
    from tcc.cost_models.roofline import Roofline
    from tcc.targets import parse_target

    target = parse_target("native,threads=1")
    roofline = Roofline(target)

    def price(kernel: Kernel, model: Roofline = roofline) -> Any:
        return model.price(kernel.operator, kernel.plain, kernel.inputs, kernel.outputs, kernel.constant)

    def roof(kernel: Kernel) -> float:
        """The bare roofline: the peak rate of the type and the bandwidth, nothing else."""
        found, count = price(kernel), operations.COUNTS.get(kernel.operator, operations.UNKNOWN)
        rate = target.peak["int8" if count.integer else "float32"]
        return float(max(found.operations / rate, found.nbytes / target.bandwidth))

    def compiled(run: Run) -> list[float]:
        """As a compilation prices it, which knows the bytes of the model's weights."""
        model = Roofline(target, weights=sum(map(_weight_bytes, run.program)))
        return [price(kernel, model).seconds for kernel in run.program]

    # The most favourable rate: the one that is right for half of the kernels.
    rate = statistics.median(s / max(1.0, price(k).operations) for run in runs for k, s in run.kernels)
    learned = _learned(runs, others, roofline)
    return {
        "FLOPs": lambda run: [rate * max(1.0, price(kernel).operations) for kernel in run.program],
        "roofline": lambda run: [roof(kernel) for kernel in run.program],
        "compiled": compiled,
        "learned": lambda run: [e.seconds for e in learned[run.model].estimate(run.program)],
    }


def _learned(runs: Sequence[Run], others: Sequence[Run], roofline: Roofline) -> dict[str, Learned]:
    """For each model what is learned from the other folds."""
    from tcc.cost_models._database import Entry
    from tcc.cost_models.learned import Learned

    names = sorted({run.model for run in runs})
    learned: dict[str, Learned] = {}
    for fold in range(_FOLDS):
        held = set(names[fold::_FOLDS])
        seen: dict[Kernel, list[float]] = {}
        for run in (*runs, *others):
            for kernel, seconds in run.kernels if run.model not in held else ():
                seen.setdefault(kernel, []).append(seconds)
        # Variants share kernels. The least of their times would be the luckiest, and programs are judged by usual ones.
        usual = {kernel: Entry(statistics.median(times), len(times)) for kernel, times in seen.items()}
        learned |= dict.fromkeys(held, Learned(usual, roofline))
    return learned


def _weight_bytes(kernel: Kernel) -> float:
    return sum(
        kind.nbytes({})
        for kind, constant in zip(kernel.inputs, kernel.constant, strict=False)
        if constant and kind is not None
    )


def _spearman(a: Sequence[float], b: Sequence[float]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def _run(row: Mapping[str, Any]) -> Run:
    from tcc.cost_models._kernels import Kernel

    kernels = tuple((Kernel.parse(item[0]), item[1]) for item in row["kernels"])
    return Run(row["model"], row["variant"], row["seconds"], kernels)


def _chosen(patterns: Sequence[str]) -> list[models.Entry]:
    if patterns:
        return models.entries(patterns=patterns)
    there = set(models.entries(("topologies",)))
    selected = [models.Entry("topologies", name) for name in _ARCHITECTURES]
    return [*models.entries(("zoo",)), *(entry for entry in selected if entry in there)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of models' names; the zoo and eight topologies without any")
    parser.add_argument("--seconds", type=float, default=1.0, help="of runs, each program, twice (default: 1)")
    parser.add_argument("--keep", type=Path, default=Path("build/costs.jsonl"), help="measurements, to go on from")
    parser.add_argument("--only-judge", action="store_true", help="measure nothing more")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
