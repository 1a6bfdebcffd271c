"""Quantises every labelled zoo model with tcc -O3 and with ONNX Runtime's quantizer on the same calibration samples.

Scores are those of the evaluation samples that calibration never saw, compared pair by pair; latencies are measured in
turns with the original, one thread, batches as the loader gives them; kernels are counted in the graph that ONNX
Runtime runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import children, models

LARGE = 1_000_000
"""Bytes from which on a model counts for the geometric means."""
MOST_POINTS = 0.3
"""Points that may be lost beyond the paired standard error."""
_FLOAT_KERNELS = ("Conv", "FusedConv", "MatMul", "Gemm", "FusedGemm", "FusedMatMul")


def evaluate(name: str, samples: int, limit: int | None, max_loss: float, seconds: float) -> dict[str, Any]:
    """One model's figures, by tool."""
    case = models.zoo_case(name)
    found: dict[str, Any] = {"model": name, "bytes": case.model.stat().st_size, "tools": {}}
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        before = _hits(case, case.model, limit)
        for tool, make in (("tcc", _tcc), ("onnxruntime", u8s8)):
            path = Path(folder) / f"{tool}.onnx"
            started = time.perf_counter()
            try:
                make(case, path, samples, max_loss)
                row = {"seconds": time.perf_counter() - started, **_judged(case, path, before, limit, seconds)}
            except Exception as error:  # noqa: BLE001 - another tool may fail in any way, and that is the result
                row = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}"}
            found["tools"][tool] = row
    found["score"] = float(before.mean()) * 100
    return found


def _tcc(case: Any, path: Path, samples: int, max_loss: float) -> None:
    import tcc

    tcc.compile(case.model, 3, "native", calibration=arrays(case, samples), output=path, max_loss=max_loss,
                measure=True)  # fmt: skip


def u8s8(case: Any, path: Path, samples: int, _: float = 0.0) -> None:
    """ONNX Runtime's own recipe: pre-process, then static, U8 activations, S8 weights per channel, Q/DQ."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            self.feeds = case.calibration(samples)

        def get_next(self) -> Any:
            return next(self.feeds, None)

    prepared = path.resolve().with_suffix(".prepared.onnx")
    try:
        # Its symbolic inference leaves files in the working directory.
        with contextlib.chdir(path.parent):
            quant_pre_process(str(Path(case.model).resolve()), str(prepared))
    except Exception:  # noqa: BLE001 - as its documentation says: without symbolic shapes, then
        quant_pre_process(str(case.model), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared), str(path), Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip


def arrays(case: Any, samples: int) -> dict[str, Any]:
    """The case's calibration samples, one array an input."""
    import numpy as np

    feeds = list(case.calibration(samples))
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def session(path: Path, optimised: Path | None = None) -> Any:
    """A session on one thread with default optimisations, which are written to a file where one is named."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _hits(case: Any, path: Path, limit: int | None) -> Any:
    import numpy as np

    loaded = session(path)
    scores = [case.metric(loaded.run(None, feed)[0], labels) for feed, labels in case.evaluation(limit)]
    return np.concatenate(scores).astype(np.float64)


def _judged(case: Any, path: Path, before: Any, limit: int | None, seconds: float) -> dict[str, Any]:
    from tcc.backends import measure_pair

    gap = before - _hits(case, path, limit)
    feed = next(iter(case.calibration()))
    one = {name: array[:1] for name, array in feed.items()}
    batch, single = (measure_pair(case.model, path, [f], budget_seconds=seconds) for f in (feed, one))
    optimised = path.with_suffix(".optimised.onnx")
    session(path, optimised)
    return {
        "points_lost": float(gap.mean()) * 100, "standard_error": float(gap.std() / math.sqrt(gap.size)) * 100,
        "samples": int(gap.size), "bytes": path.stat().st_size / case.model.stat().st_size,
        "latency": batch.ratio, "latency_verdict": batch.verdict,
        "latency_of_one": single.ratio, "latency_of_one_verdict": single.verdict, **_kernels(optimised),
    }  # fmt: skip


def _kernels(path: Path) -> dict[str, int]:
    """Products and convolutions that run on integers, and in floating point."""
    import onnx

    counts = Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
    integer = sum(n for name, n in counts.items() if _is_integer(name))
    return {"integer_products": integer, "float_products": sum(counts[name] for name in _FLOAT_KERNELS)}


def _is_integer(name: str) -> bool:
    heads = ("QLinearConv", "QLinearMatMul", "QGemm", "MatMulInteger", "DynamicQuantizeMatMul", "ConvInteger")
    return name.startswith(heads) or name == "MatMulNBits"


def failures(row: Mapping[str, Any]) -> list[str]:
    """What of the promises tcc breaks on a model."""
    made = row["tools"]["tcc"]
    if "failed" in made:
        return [made["failed"]]
    broken = []
    if made["points_lost"] > MOST_POINTS + made["standard_error"]:
        broken.append(f"loses {made['points_lost']:.2f} points")
    if "slower" in {made["latency_verdict"], made["latency_of_one_verdict"]}:
        broken.append("is slower")
    return broken


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, one model at a time; 1 where tcc breaks a promise."""
    options = _parser().parse_args(argv)
    chosen = models.labelled(options.patterns)
    if not chosen:
        print("no such model, or the zoo is not here: TCC_ZOO names its folder")
        return 1
    print(f"{'model':32} {'tool':11} {'score':>6} {'lost':>13} {'bytes':>6} {'latency':>8} {'one':>6} "
          f"{'int/float':>9} {'seconds':>7}")  # fmt: skip
    rows = []
    for name in chosen:
        answer = children.call(
            "benchmarks.quantization:evaluate", name, options.samples, options.limit, options.max_loss, options.seconds
        )  # fmt: skip
        row = answer.value or {
            "model": name,
            "score": math.nan,
            "bytes": 0,
            "tools": {"tcc": {"failed": answer.problem}},
        }
        rows.append(row)
        for tool, made in row["tools"].items():
            print(_line(row, tool, made), flush=True)
    _summary(rows)
    broken = [f"{row['model']}: {text}" for row in rows for text in failures(row)]
    print("\n".join(f"FAILED {text}" for text in broken))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(bool(broken))


def _line(row: Mapping[str, Any], tool: str, made: Mapping[str, Any]) -> str:
    if "failed" in made:
        return f"{row['model']:32} {tool:11} failed: {made['failed']}"
    lost = f"{made['points_lost']:+.2f} ± {made['standard_error']:.2f}"
    kernels = f"{made['integer_products']}/{made['float_products']}"
    return (
        f"{row['model']:32} {tool:11} {row['score']:6.2f} {lost:>13} {made['bytes']:6.3f} {made['latency']:8.3f} "
        f"{made['latency_of_one']:6.3f} {kernels:>9} {made['seconds']:7.0f}"
    )


def _summary(rows: Sequence[Mapping[str, Any]]) -> None:
    for tool in ("tcc", "onnxruntime"):
        large = [row["tools"].get(tool, {}) for row in rows if row["bytes"] > LARGE]
        done = [made for made in large if made and "failed" not in made]
        if done:
            means = (
                statistics.geometric_mean(made[key] for made in done) for key in ("latency", "latency_of_one", "bytes")
            )
            batch, one, size = means
            print(f"{tool}, geometric means over {len(done)} of {len(large)} models above 1 MB: "
                  f"latency {batch:.3f} (one sample {one:.3f}), bytes {size:.3f}")  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of models' names; all without any")
    parser.add_argument("--samples", type=int, default=200, help="calibration samples (default: 200)")
    parser.add_argument("--limit", type=int, help="evaluation samples of each model; all without it")
    parser.add_argument("--max-loss", type=float, default=0.01, help="tcc's loss budget (default: 0.01)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each latency (default: 2)")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
