"""Sets predictions for Jetsons beside what others published, each with its source."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import children, models
from benchmarks.tensat_models import Network

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Published:
    """What somebody measured: ``seconds`` of one sample at a time, in a ``form`` that tcc makes, too."""

    model: str
    form: str
    target: str
    seconds: float
    source: str


_MLPERF = "mlcommons/inference_results_{}, closed/NVIDIA/results/{}/{}/SingleStream/performance/run_1"
_ORIN = _MLPERF.format("v3.1 at eaf622a", "Orin_TRT", "{}") + ": {} (JetPack 5.1.1, TensorRT 8.5.2, GPU alone)"
_NX = _MLPERF.format("v3.0 at dad59af", "Orin_NX_TRT", "{}") + ": {} (TensorRT 8.5.2, GPU alone)"
_XAVIER = _MLPERF.format("v0.5 at 4191ca0", "Xavier", "{}") + ": {}"
_TORCH2TRT = "NVIDIA-AI-IOT/torch2trt at d1e7d4c, docs/benchmarks/jetson_xavier.md: {}"
_LONGEST = "99.9th percentile, which 384 tokens take; shorter questions run without padding"
PUBLISHED = (
    Published("resnet50", "int8", "jetson-agx-orin-64gb", 636.2e-6, _ORIN.format("resnet50", "median latency")),
    Published("resnet50", "int8", "jetson-orin-nx-16gb", 1084.6e-6, _NX.format("resnet50", "median latency")),
    Published("resnet50", "int8", "jetson-agx-xavier", 2024.1e-6, _XAVIER.format("resnet", "median latency")),
    Published(
        "resnet50", "fp16", "jetson-agx-xavier", 1 / 326, _TORCH2TRT.format("326 images a second, one at a time")
    ),
    Published(
        "mobilenet_v2", "fp16", "jetson-agx-xavier", 1 / 723, _TORCH2TRT.format("723 images a second, one at a time")
    ),
    Published("bert_large", "int8", "jetson-agx-orin-64gb", 6495.4e-6, _ORIN.format("bert-99", _LONGEST)),
    Published("bert_large", "int8", "jetson-orin-nx-16gb", 16963.4e-6, _NX.format("bert-99", _LONGEST)),
)
"""No measurement of BERT-base on an Orin was found, nor of MobileNetV2: BERT-large and Xavier stand in."""
_TECHNIQUES = {"int8": "static-int8+float16", "fp16": "float16"}
_SOLVER = 10.0
"""Seconds that a solver has for one program: types that need Casts between them make hard ones."""
_SEARCH, _PATIENCE = 60.0, 1800.0
"""Seconds of a compilation, and of all for one model: what random weights lose is not worth measuring for long."""
_LAYERS = 24
"""Of BERT-large; one is built, and counted so often."""


def encoder(tokens: int = 384, width: int = 1024, heads: int = 16, inner: int = 4096) -> onnx.ModelProto:
    """One encoder layer of BERT-large (Devlin et al., 2019), random weights."""
    net, each = Network("encoder"), width // heads
    given = net.input("x", 1, tokens, width)

    def number(value: float) -> str:
        return net.constant(np.array(value, np.float32))

    def dense(x: str, columns: int) -> str:
        made = net.matmul(x, net.weight(net.shapes[x][-1], columns, gain=1.0))
        return net.binary("Add", made, net.constant(net.rng.standard_normal(columns, np.float32)))

    def split(x: str, *order: int) -> str:
        made = net.add("Reshape", [x, net.constant(np.array([1, tokens, heads, each]))], (1, tokens, heads, each))
        return net.add("Transpose", [made], [(1, tokens, heads, each)[i] for i in order], perm=order)

    def normalised(x: str) -> str:
        scale, bias = net.constant(np.ones(width, np.float32)), net.constant(np.zeros(width, np.float32))
        return net.add("LayerNormalization", [x, scale, bias], net.shapes[x], axis=-1)

    query, key = split(dense(given, width), 0, 2, 1, 3), split(dense(given, width), 0, 2, 3, 1)
    scores = net.binary("Div", net.matmul(query, key), number(each**0.5))
    weighed = net.matmul(
        net.add("Softmax", [scores], net.shapes[scores], axis=-1), split(dense(given, width), 0, 2, 1, 3)
    )
    back = net.add("Transpose", [weighed], (1, tokens, heads, each), perm=(0, 2, 1, 3))
    joined = net.add("Reshape", [back, net.constant(np.array([1, tokens, width]))], (1, tokens, width))
    first = normalised(net.binary("Add", dense(joined, width), given))
    wide = dense(first, inner)
    curve = net.unary("Erf", net.binary("Div", wide, number(2**0.5)))
    gelu = net.binary("Mul", net.binary("Mul", wide, net.binary("Add", curve, number(1.0))), number(0.5))
    return net.model(normalised(net.binary("Add", dense(gelu, width), first)))


def predict(name: str, form: str, targets: Sequence[str]) -> list[float]:
    """Seconds of one sample on each target, of what tcc makes of the model for it; shapes count, not weights."""
    import onnx

    import tcc
    from tcc import frontends, report
    from tcc.ir.inference import annotate
    from tcc.targets import parse_target

    found = []
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        if name == "bert_large":
            original = Path(folder) / "encoder.onnx"
            onnx.save(encoder(), original)
            feeds = [{"x": np.random.default_rng(1).normal(size=(1, 384, 1024)).astype(np.float32)}]
        else:
            entry = models.entry(f"topologies:tv_{name}")
            original = models.file(entry, Path(folder))
            feeds = models.feeds(entry, original)[:2]
        for target in targets:
            output = Path(folder) / "made.onnx"
            passes = f"canonicalize,inline,canonicalize,fold,simplify,compress{{only={_TECHNIQUES[form]}}}"
            # The weights are random: whatever is lost, the form that was published is what is priced.
            tcc.compile(
                original,
                passes=passes,
                target=target,
                calibration=feeds,
                max_loss=1.0,
                seconds=_SOLVER,
                time_limit=_SEARCH,
                output=output,
            )
            made = frontends.load(output)
            annotate(made)
            repeated = _LAYERS if name == "bert_large" else 1
            found.append(repeated * report.predicted_seconds(made, parse_target(target), {}))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each published figure; 1 where a prediction failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="parts of models' names (default: all)")
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args(argv)
    rows, failed = [], False
    chosen = [p for p in PUBLISHED if not options.models or any(part in p.model for part in options.models)]
    print(f"{'model':14} {'form':5} {'target':22} {'published':>10} {'predicted':>10} {'ratio':>6}  source")
    for model, form in dict.fromkeys((p.model, p.form) for p in chosen):
        wanted = [p for p in chosen if (p.model, p.form) == (model, form)]
        answer = children.call("benchmarks.jetson:predict", model, form, [p.target for p in wanted], seconds=_PATIENCE)
        if answer.problem:
            failed = True
            print(f"{model:14} {form:5} {answer.problem}")
            continue
        for published, seconds in zip(wanted, answer.value, strict=True):
            rows.append({**vars(published), "predicted": seconds})
            print(
                f"{model:14} {form:5} {published.target:22} {published.seconds * 1e3:7.3f} ms {seconds * 1e3:7.3f} ms "
                f"{seconds / published.seconds:6.2f}  {published.source}", flush=True,
            )  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
