"""Low rank on the zoo: against plain truncation to as many bytes, and within a loss budget."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import children, models
from benchmarks.children import Answer

if TYPE_CHECKING:
    from tcc.ir.model import Model
    from tcc.rewrites.lossy import Offer
    from tcc.targets import Target

    Feeds = Sequence[Mapping[str, Any]]

_ERROR = 0.075
"""The largest relative error of a layer that the comparison takes."""
_FREE = 1e-15
"""What a second counts for when all that counts is to take the alternatives that were picked."""


def offered(model: Model, target: Target, feeds: Feeds, kept: dict[Any, Any] | None = None) -> Offer:
    """What low rank offers for a model on these calibration data."""
    from tcc.ir import importing
    from tcc.ir.inference import annotate
    from tcc.rewrites.lossy import Evidence, Offer, techniques

    imported = importing.import_graph(model.graph, annotate(model))
    evidence = Evidence(model, tuple(feeds), calibrated=True, kept={} if kept is None else kept)
    made = Offer(imported, imported.tables.further(), target, model.opset, {}, [], {}, {}, {}, evidence)
    techniques()["low-rank"].offer(made)
    return made


def take(model: Model, made: Offer, sites: Collection[str]) -> None:
    """Write the smallest program that may use these alternatives into the model that they were offered for."""
    from tcc.cost_models.roofline import Roofline
    from tcc.ir import emission, translated
    from tcc.ir.frozen import freeze
    from tcc.ir.naming import names_of_model
    from tcc.ir.problem import Budgets, Edge, Weights
    from tcc.ir.saturation import Limits, saturate
    from tcc.passes._choosing import Choosing

    imported = made.imported
    made.tables.load(imported.egraph)
    facts = translated.analysis_for(frozenset(imported.operators), frozenset(), model.opset)
    saturate(imported.egraph, [], facts, Limits())
    frozen = freeze(imported.egraph)
    choosing = Choosing(imported, frozen, Roofline(made.target))
    edges = [Edge(a.site, frozen.of[a.source], frozen.of[a.target]) for a in made.alternatives if a.site in sites]
    problem = choosing.problem(Weights(_FREE, 1.0), Budgets(), edges=edges, loss=dict.fromkeys(sites, 0.0))
    choice = choosing.extract(problem, 60.0)
    emission.emit(imported, frozen, choice.program, model.opset_imports, names_of_model(model))


def picked(made: Offer, error: float) -> dict[str, str]:
    """For each weight the site with the largest error up to ``error``; shared factors and embeddings left out."""
    from tcc.rewrites.lossy._low_rank_layers import find

    chosen: dict[str, str] = {}
    for layer in find(made):
        sites = [s for s in made.error if s.startswith(f"low-rank:{layer.name}@") and made.error[s] <= error]
        if sites and layer.kind != "gather":
            chosen[layer.name] = max(sites, key=lambda s: made.error[s])
    return chosen


def plainly(model: Model, made: Offer, wanted: Mapping[str, int]) -> None:
    """Truncate these weights by their own singular values, each to no fewer elements than it is given here."""
    from tcc.rewrites.lossy import _low_rank_factors as factors
    from tcc.rewrites.lossy._low_rank_forms import Writer, projected
    from tcc.rewrites.lossy._low_rank_layers import find

    made.alternatives.clear()
    layers = [layer for layer in find(made) if layer.name in wanted]
    for layer in layers:
        inner, columns = layer.size
        rank = -(-wanted[layer.name] // ((inner + columns) * layer.groups))
        form = projected(layer, factors.plain(layer.matrix()), rank, [None] * len(layer.uses))
        Writer(made, layer).write(f"plain:{layer.name}", form)
    take(model, made, [f"plain:{layer.name}" for layer in layers])


def compare(name: str, samples: int | None = None, limit: int | None = None) -> dict[str, Any]:
    """One model in directions of its data and of its weights, of the same size: relative L2 errors and scores."""
    import numpy as np

    import tcc
    from tcc.frontends import load
    from tcc.ir.execution import Runner
    from tcc.targets import parse_target

    case, target = models.zoo_case(name), parse_target("native")
    feeds = list(case.calibration(samples))
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        paths = {form: Path(folder) / f"{form}.onnx" for form in ("exact", "data", "plain")}
        tcc.compile(case.model, 2, target, output=paths["exact"])
        model = load(paths["exact"])
        start = time.monotonic()
        made = offered(model, target, feeds)
        seconds = time.monotonic() - start
        chosen = picked(made, _ERROR)
        wanted = sizes(made, chosen)
        take(model, made, list(chosen.values()))
        model.save(paths["data"])
        again = load(paths["exact"])
        plainly(again, offered(again, target, feeds, made.evidence.kept), wanted)
        again.save(paths["plain"])
        batches = list(case.evaluation(limit))
        outputs = {form: [Runner(path).run(feed) for feed, _ in batches] for form, path in paths.items()}
        row: dict[str, Any] = {"model": name, "seconds": seconds, "layers": len(chosen), "failures": []}
        hits = {form: _hits(case, runs, batches) for form, runs in outputs.items()}
        row |= {form: {"elements": _elements(paths[form]), "score": _mean(hits[form])} for form in outputs}
        for form, runs in outputs.items():
            gap = sum(float(np.square(a[0] - b[0]).sum()) for a, b in zip(runs, outputs["exact"], strict=True))
            norm = sum(float(np.square(run[0]).sum()) for run in outputs["exact"])
            row[form]["error"] = float(np.sqrt(gap / norm))
    if chosen and row["data"]["error"] >= row["plain"]["error"]:
        row["failures"].append("the outputs of plain truncation are nearer")
    if case.metric is not None:
        row["gap"] = _paired(hits["data"] - hits["plain"])
        if row["gap"][0] < -row["gap"][1]:
            row["failures"].append("plain truncation scores higher, by more than the paired standard error")
    return row


def _paired(gap: Any) -> list[float]:
    """The mean of samples' differences, and its standard error."""
    return [float(gap.mean()), float(gap.std() / len(gap) ** 0.5)]


def sizes(made: Offer, chosen: Mapping[str, str]) -> dict[str, int]:
    """Elements of the factors behind each chosen site."""
    held = {v.name: v.const_value.size for v in made.imported.values if v is not None and v.const_value is not None}
    found = {}
    for weight, site in chosen.items():
        stem = f"{weight}_{site.rpartition('@')[2]}_"
        found[weight] = sum(size for name, size in held.items() if name is not None and name.startswith(stem))
    return found


def _elements(path: Path) -> int:
    import numpy as np
    import onnx

    graph = onnx.load(path).graph
    return sum(int(np.prod(i.dims)) for i in graph.initializer if len(i.dims) > 1)


def _hits(case: Any, runs: Sequence[Any], batches: Sequence[Any]) -> Any:
    """What each evaluation sample scores, float64; nothing where there is no metric."""
    import numpy as np

    if case.metric is None:
        return np.zeros(0)
    found = [case.metric(run[0], labels) for run, (_, labels) in zip(runs, batches, strict=True)]
    return np.concatenate(found).astype(np.float64).reshape(-1)


def _mean(hits: Any) -> float | None:
    return float(hits.mean()) if len(hits) else None


def _score(case: Any, runs: Sequence[Any], batches: Sequence[Any]) -> float | None:
    return _mean(_hits(case, runs, batches))


def compress(name: str, samples: int | None = None, limit: int | None = None) -> dict[str, Any]:
    """One model as -O3 with low rank alone takes it within the loss budget: parameters, scores, time of a run."""
    import tcc
    from tcc.backends import measure_pair
    from tcc.ir.execution import Runner

    case = models.zoo_case(name)
    feeds = list(case.calibration(samples))
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        exact, path = Path(folder) / "exact.onnx", Path(folder) / "out.onnx"
        tcc.compile(case.model, 2, output=exact)
        start = time.monotonic()
        result = tcc.compile(exact, passes=_PASSES, calibration=feeds, max_loss=_LOSS, output=path)
        seconds = time.monotonic() - start
        (facts,) = (record.facts for record in result.records if record.name == "compress")
        batches = list(case.evaluation(limit))
        scores = [_score(case, [Runner(p).run(feed) for feed, _ in batches], batches) for p in (exact, path)]
        timed = measure_pair(exact, path, [batches[0][0]], budget_seconds=5.0)
        elements = [_elements(p) for p in (exact, path)]
    row = {
        "model": name, "seconds": seconds, "sites": list(facts["sites"]), "removed": 1 - elements[1] / elements[0],
        "before": scores[0], "after": scores[1], "latency": timed.text(), "loss": facts.get("loss"), "failures": [],
    }  # fmt: skip
    if timed.verdict == "slower":
        row["failures"] = ["slower than its original"]
    return row


_PASSES = "compress{techniques=low-rank}"
_LOSS = 0.01


def main(argv: Sequence[str] | None = None) -> int:
    """Compare and compress; 1 where plain truncation loses less, or a result is slower."""
    options = _parser().parse_args(argv)
    chosen = [entry.name for entry in models.entries(("zoo",), options.patterns)]
    if not chosen:
        print("no such model, or the zoo is not here: TCC_ZOO names its folder")
        return 1
    rows: list[dict[str, Any]] = []
    for title, job, line in (
        (
            f"layers with a relative error of at most {_ERROR}, and plain truncation to as many elements",
            "compare",
            _pair,
        ),
        (f"{_PASSES}, loss budget {_LOSS}", "compress", _one),
    ):
        print(title)
        for name in chosen:
            rows.append(_called(job, name, options.samples, options.limit))
            print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["failures"] for row in rows))


def _called(job: str, name: str, samples: int | None, limit: int | None) -> dict[str, Any]:
    answer: Answer = children.call(f"benchmarks.low_rank:{job}", name, samples, limit)
    made: dict[str, Any] = answer.value or {"model": name, "failures": [answer.problem]}
    return made


def _pair(row: dict[str, Any]) -> str:
    if "exact" not in row:
        return f"{row['model']:36} FAILED {row['failures']}"
    exact, data, plain = (row[form] for form in ("exact", "data", "plain"))
    return (
        f"{row['model']:36} {row['layers']:3} layers, elements {exact['elements']:>9} -> {data['elements']:>9} / "
        f"{plain['elements']:>9}, relative L2 {data['error']:.4f} / {plain['error']:.4f}, score {_text(exact)} -> "
        f"{_text(data)} / {_text(plain)}{_gap(row)}, {row['seconds']:.1f} s {'; '.join(row['failures'])}"
    )


def _gap(row: dict[str, Any]) -> str:
    """By how much the data's directions score better, sample by sample, and its standard error."""
    return " ({:+.2%} ± {:.2%})".format(*row["gap"]) if "gap" in row else ""


def _one(row: dict[str, Any]) -> str:
    if "removed" not in row:
        return f"{row['model']:36} FAILED {row['failures']}"
    before, after = ("-" if row[s] is None else f"{row[s]:.2%}" for s in ("before", "after"))
    return (
        f"{row['model']:36} {len(row['sites']):3} sites, {row['removed']:.1%} of the elements removed, "
        f"score {before} -> {after}, {row['latency']}, {row['seconds']:.1f} s {'; '.join(row['failures'])}"
    )


def _text(form: Mapping[str, Any]) -> str:
    return "-" if form["score"] is None else f"{form['score']:.2%}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of models' names; all without any")
    parser.add_argument("--samples", type=int, help="calibration samples of each model; all without it")
    parser.add_argument("--limit", type=int, help="evaluation samples of each model; all without it")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
