"""Measures each -O2 file against its original as deployed: interleaved runs, with the noise floor beside the ratio."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import children, models
from benchmarks.models import Entry

_SELECTION = (
    "hf_bert_mlm_dynamo", "hf_distilbert_cls", "hf_gpt2", "hf_vit", "hf_deit", "timm_mobilenetv2_050",
    "tv_convnext_tiny", "tv_mobilenet_v2", "tv_resnet18", "tv_shufflenet_v2_x1_0", "tv_swin_t_dynamo",
    "hand_nasrnn", "hand_unet_batchnorm", "hand_lstm_text", "hand_tcn_weightnorm", "hand_quartznet",
)  # fmt: skip
"""Topologies of different kinds and exporters; those that the corpus lacks are left out."""
_AGAIN = 3
"""A slower one is measured again, longer: of twenty honest 95 % intervals, one misses."""


def measure(text: str, level: int, seconds: float, threads: int) -> dict[str, Any]:
    """Compile a model and time it against its original; ``slower`` only where every repetition says so."""
    import tcc
    from benchmarks.compiling import preload
    from tcc.backends import measure_pair

    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        entry = models.entry(text)
        original = models.file(entry, Path(folder))
        feeds = models.feeds(entry, original)
        preload()
        output = Path(folder) / "out.onnx"
        report = tcc.compile(original, level, output=output).report
        found = []
        for turn in range(_AGAIN):
            budget = seconds * 2**turn
            found.append(measure_pair(original, output, feeds, threads=threads, budget_seconds=budget))
            if found[-1].verdict != "slower":
                break
    last = found[-1]
    predicted = report["predicted"]
    return {
        "model": text, **asdict(last), "verdict": last.verdict, "text": last.text(), "measured": len(found),
        "predicted_ratio": predicted["seconds_after"] / predicted["seconds_before"],
        "nodes": [report["input"]["nodes"], report["result"]["nodes"]],
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, one model at a time; 1 where a result is slower beyond the noise, or a model fails."""
    options = _parser().parse_args(argv)
    rows: list[dict[str, Any]] = []
    print(f"{'model':44} {'nodes':>12} {'predicted':>9}  measured")
    for entry in _chosen(options):
        arguments = (entry.text, options.level, options.seconds, options.threads)
        answer = children.call("benchmarks.latency:measure", *arguments)
        row = answer.value or {"model": entry.text, "verdict": "failed", "text": f"FAILED {answer.problem}"}
        rows.append(row)
        print(_line(row), flush=True)
    counts = {kind: sum(row["verdict"] == kind for row in rows) for kind in ("faster", "same", "slower", "failed")}
    print("\n" + ", ".join(f"{kind}: {count}" for kind, count in counts.items()))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(bool(counts["slower"] or counts["failed"]) or not rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of models' names; the zoo and a selection without any")
    parser.add_argument("--level", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="of interleaved runs, each model (default: 2)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write all figures")
    return parser


def _chosen(options: argparse.Namespace) -> list[Entry]:
    if options.patterns:
        return models.entries(patterns=options.patterns)
    there = set(models.entries(("topologies",)))
    selected = [Entry("topologies", name) for name in _SELECTION]
    return [*models.entries(("zoo",)), *(entry for entry in selected if entry in there)]


def _line(row: dict[str, Any]) -> str:
    if "nodes" not in row:
        return f"{row['model']:44} {row['text']}"
    before, after = row["nodes"]
    return f"{row['model']:44} {before:5} -> {after:<4} {row['predicted_ratio']:9.3f}  {row['text']}"


if __name__ == "__main__":
    sys.exit(main())
