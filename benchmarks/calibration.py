"""Peak memory of a compilation with few and with many calibration samples, each in a fresh interpreter."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import children, models

COUNTS = (64, 1024)
MOST = 0.05
"""By how much the peak may grow from the first count to the last."""
PIPELINE = "simplify,compress{techniques=static-int8}"


def compiled(model: str, samples: str) -> int:
    """Compile with the samples of a file; the bytes of what came out."""
    import tcc

    result = tcc.compile(model, passes=PIPELINE, target="x86-64-vnni", calibration=samples, max_loss=1.0)
    return len(result.to_proto().SerializeToString())


def noise(name: str, path: Path, count: int) -> None:
    """As many samples of noise for a model's only input, written one by one: memory is measured, not accuracy."""
    import numpy as np

    case = models.zoo_case(name)
    (array,) = next(iter(case.calibration(1))).values()
    draw = np.random.default_rng(0)
    held = np.lib.format.open_memmap(path, "w+", array.dtype, (count, *array.shape[1:]))
    for i in range(count):
        held[i] = draw.normal(float(array.mean()), float(array.std()), array.shape[1:])
    held.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 where the peak grows by more than 5 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="imagenet_mobilenetv1_025_128_deq", help="a zoo model of one input")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        for count in COUNTS:
            path = Path(folder) / f"{count}.npy"
            children.call("benchmarks.calibration:noise_of", arguments.model, str(path), count)
            answer = children.call(
                "benchmarks.calibration:compiled", str(models.zoo_case(arguments.model).model), str(path)
            )
            if answer.problem:
                print(f"{count} samples: {answer.problem}")
                return 1
            rows.append({
                "samples": count, "data": path.stat().st_size, "peak_bytes": answer.peak_bytes,
                "seconds": answer.seconds,
            })  # fmt: skip
            print(
                f"{count:>5} samples, {path.stat().st_size / 1e6:.1f} MB: peak {answer.peak_bytes / 2**20:.1f} MiB, "
                f"{answer.seconds:.1f} s"
            )
    grown = rows[-1]["peak_bytes"] / rows[0]["peak_bytes"] - 1
    print(f"the peak grows by {100 * grown:.1f} %")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"rows": rows, "grown": grown}, indent=1))
    return int(grown > MOST)


def noise_of(name: str, path: str, count: int) -> int:
    """``noise`` for a child, whose memory ends with it."""
    noise(name, Path(path), count)
    return count


if __name__ == "__main__":
    sys.exit(main())
