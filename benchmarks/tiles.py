"""The tiles of some products, timed: how far the chosen one is from the best and from the median.

The space is what the cost model chooses among: every tile up to a size, whether registers hold it or not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tcc.cost_models._tiles import Kernel, Plan, Processor, processor

PRODUCTS = (
    (128, 384, 384), (128, 1536, 384), (128, 384, 1536), (197, 576, 192), (197, 192, 192), (197, 768, 192),
    (197, 192, 768), (64, 64, 512), (49, 512, 2048), (49, 2048, 512), (196, 1024, 256), (196, 256, 1024),
    (784, 512, 128), (784, 128, 512), (3136, 64, 64), (3136, 256, 64), (3136, 16, 96), (784, 32, 192), (1, 1000, 512),
    (1, 4096, 1024), (16, 3072, 768), (196, 512, 1024), (3136, 64, 256), (49, 1280, 320), (197, 1152, 384),
    (197, 384, 1536), (384, 768, 768),
)  # fmt: skip
"""Rows, columns, depth: of BERT-, ViT-, ResNet- and MobileNet-like layers, and of single rows."""
_RUNS = 7


def measure(shape: tuple[int, int, int], chosen: Plan, mcpu: str, chip: Processor) -> float:
    """Seconds of the processor's time: the fewest of some runs, so that other work on the machine counts least."""
    import tvm
    from tvm import te

    from tcc.backends import _tvm_kernels, _tvm_schedules

    rows, columns, depth = shape
    tile = chosen.tile
    a = te.placeholder((rows, depth), name="a")
    w = te.placeholder((-(-columns // tile.columns), depth, tile.columns), name="w")
    function = te.create_prim_func([a, w, _tvm_kernels.product(a, w, columns, chosen)])
    failed: list[str] = []
    module = _tvm_schedules.scheduled(tvm.IRModule({"main": function}), chip, failed)
    if failed:
        raise RuntimeError(failed[0])
    built = tvm.compile(module, tvm.target.Target({"kind": "llvm", "mcpu": mcpu}))
    draw = np.random.default_rng(0)
    values = [draw.normal(size=[int(s) for s in t.shape]).astype(np.float32) for t in (a, w)]
    arguments = [*map(tvm.runtime.tensor, values), tvm.runtime.empty((rows, columns), "float32")]
    run = built["main"]
    seconds = []
    for _ in range(_RUNS):
        started = time.thread_time()
        repeats = 0
        while repeats < 1 or time.thread_time() - started < 2e-3:
            run(*arguments)
            repeats += 1
        seconds.append((time.thread_time() - started) / repeats)
    return min(seconds)


def table(shape: tuple[int, int, int], mcpu: str, chip: Processor, most: int) -> dict[str, Any]:
    """The chosen tile of one product and ``most`` others, spread evenly over all of them; 0: all."""
    rows, columns, depth = shape
    space = [plan for _, plan in Kernel("matmul", (rows,), columns, depth).plans(chip)]
    chosen = space[0]
    others = sorted(space[1:], key=lambda plan: (plan.tile.columns, plan.tile.rows))
    count = min(most or len(others), len(others))
    tiles = [chosen, *(others[k * len(others) // count] for k in range(count))]
    seconds = {tile: measure(shape, tile, mcpu, chip) for tile in tiles}
    best = min(seconds, key=lambda tile: seconds[tile])
    return {
        "shape": list(shape), "tiles": len(tiles), "space": len(space), "chosen": _text(chosen), "best": _text(best),
        "over_best": seconds[chosen] / seconds[best],
        "under_median": statistics.median(seconds.values()) / seconds[chosen],
        "gflops": 2e-9 * rows * columns * depth / seconds[chosen],
        "seconds": {_text(tile): value for tile, value in seconds.items()},
    }  # fmt: skip


def _text(chosen: Plan) -> str:
    return f"{chosen.tile.rows}x{chosen.tile.columns}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line a product; 1 where fewer than 20 are within 10 % of the best and take half of the median's time."""
    import tvm

    options = _parser().parse_args(argv)
    mcpu = str(tvm.get_global_func("target.llvm_get_system_cpu")())
    features = tvm.get_global_func("target.llvm_get_cpu_features")(tvm.target.Target({"kind": "llvm", "mcpu": mcpu}))
    chip = processor(mcpu, "", set(map(str, features)))
    made = []
    for shape in PRODUCTS[: options.first]:
        made.append(table(shape, mcpu, chip, options.tiles))
        found = made[-1]
        print(
            f"{'x'.join(map(str, shape)):16} {found['tiles']:3} of {found['space']:3} tiles, {found['chosen']:>6} takes"
            f" ×{found['over_best']:.2f} of the best's time ({found['best']}), the median ×{found['under_median']:.2f}"
            f" of its own, {found['gflops']:.1f} GFLOPS", flush=True,
        )  # fmt: skip
    near = sum(found["over_best"] <= _OF_BEST for found in made)
    ahead = sum(found["under_median"] >= _OF_MEDIAN for found in made)
    print(f"\n{len(made)} products: {near} within 10 % of the best tile, {ahead} at least twice as fast as the median")
    if options.json:
        options.json.write_text(json.dumps(made, indent=2) + "\n")
    held = sum(found["over_best"] <= _OF_BEST and found["under_median"] >= _OF_MEDIAN for found in made)
    return int(held < min(_HELD, len(made)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=len(PRODUCTS), help="only that many products")
    parser.add_argument("--tiles", type=int, default=48, help="tiles of each, spread evenly; 0: all (default: 48)")
    parser.add_argument("--json", type=Path, help="write the tables")
    return parser


_OF_BEST, _OF_MEDIAN, _HELD = 1.1, 2.0, 20

if __name__ == "__main__":
    sys.exit(main())
