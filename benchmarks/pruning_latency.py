"""What pruning to a part of the latency delivers on this machine, measured anew in another process."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import children, models

TOLERANCE = 0.07


def prune(text: str, part: float, target: str, samples: int, folder: str) -> dict[str, Any]:
    """Write the simplified model and the pruned one; what the pass says of its latency."""
    from benchmarks.pruning_zoo import run
    from tcc import frontends

    chosen = models.entry(text)
    path = models.file(chosen, Path(folder))
    if chosen.kind == "zoo":
        feeds = list(models.zoo_case(chosen.name).calibration(samples))
    else:
        feeds = models.feeds(chosen, path)
    plain, _ = run(frontends.load(path), feeds, "canonicalize,inline,fold,simplify", target=target, data=False)
    plain.save(Path(folder) / "before.onnx")
    started = time.perf_counter()
    data = chosen.kind == "zoo"
    small, facts = run(plain, feeds, f"prune{{latency={part}}}", target=target, data=data)
    seconds = time.perf_counter() - started
    small.save(Path(folder) / "after.onnx")
    return {"seconds": seconds, "latency": facts["latency"], "parameters": facts.get("parameters")}


def measure(text: str, target: str, folder: str) -> dict[str, float]:
    """The pruned model's latency over the other's, in new sessions: the median of three measurements."""
    from statistics import median, quantiles

    from tcc.backends import backend
    from tcc.targets import parse_target

    chosen = models.entry(text)
    (feed,) = models.feeds(chosen, Path(folder) / "before.onnx", count=2)[:1]
    threads = parse_target(target).threads
    # One thread is timed by its own clock, which stands still while other processes run.
    clock = time.thread_time if threads == 1 else time.perf_counter
    ratios, selves = [], []
    for _ in range(5):
        names = ("before", "before", "after")
        loaded = [backend("onnxruntime").load(Path(folder) / f"{name}.onnx", threads=threads) for name in names]
        seconds: list[list[float]] = [[], [], []]
        started = clock()
        while len(seconds[0]) < 20 or clock() - started < 1.0:
            for own, one in zip(seconds, loaded, strict=True):
                began = clock()
                one.run(feed)
                own.append(clock() - began)
        low = [quantiles(own, n=4)[0] for own in seconds]
        ratios.append(low[2] / low[0])
        selves.append(low[1] / low[0])
    return {"ratio": median(ratios), "noise": max(abs(r - 1) for r in selves)}


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line a model; 1 where one delivers something else than what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="parts of models' names; the labelled zoo without any")
    parser.add_argument("--part", type=float, default=0.7, help="the part of the latency (default: 0.7)")
    parser.add_argument("--target", default="native,threads=1", help="native, with its options")
    parser.add_argument("--samples", type=int, default=200, help="calibration samples (default: 200)")
    options = parser.parse_args(argv)
    chosen = models.entries(("zoo", "topologies") if options.patterns else ("zoo",), options.patterns)
    off = 0
    for one in chosen:
        with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
            arguments = (one.text, options.part, options.target, options.samples, folder)
            made = children.call("benchmarks.pruning_latency:prune", *arguments)
            if made.problem:
                print(f"{one.text:44} {made.problem[:200]}", flush=True)
                off += "E0502" not in made.problem
                continue
            found = children.call("benchmarks.pruning_latency:measure", one.text, options.target, folder)
        value, said = found.value or {"ratio": float("nan"), "noise": 0.0}, made.value["latency"]
        fits = abs(value["ratio"] / options.part - 1) <= TOLERANCE
        off += not fits
        print(
            f"{one.text:44} asked {options.part:.2f}, the pass says {said['measured']:.3f} (lanes of {said['align']}), "
            f"measured {value['ratio']:.3f}, noise {value['noise']:.1%}, {made.value['seconds']:.0f} s"
            f"{'' if fits else '  OFF'} {found.problem}".rstrip(),
            flush=True,
        )
    return int(off > 0)


if __name__ == "__main__":
    sys.exit(main())
