"""Tiles of the inner products: what fits the registers, what the padding wastes, what the caches must deliver."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from tcc.backends._tvm_dots import Dot, dot


@dataclass(frozen=True)
class Processor:
    """What tiles are chosen by.

    ``lanes`` are the float32 elements of a vector register, ``registers`` their number, ``fused`` the multiply-adds
    issued a clock, ``loads`` the vector loads a clock; ``l1`` and ``l2`` bytes of the caches of one core, and
    ``l2_rate``, ``l3_rate`` the bytes a clock that come from the second level and from beyond; ``ways`` is the
    associativity of the first; ``threads`` is how many of its cores a kernel is spread over; ``dot`` is its
    instruction for products of bytes.
    """

    lanes: int
    registers: int
    fused: int = 2
    loads: int = 2
    l1: int = 32 << 10
    l2: int = 1 << 20
    l2_rate: float = 40.0
    l3_rate: float = 12.0
    latency: int = 4
    ways: int = 8
    threads: int = 1
    dot: Dot | None = None


_PAGE = 4096
"""Bytes after which addresses fall into the same set of a first-level cache."""
_CONFLICT = 1.5
"""What a step costs whose rows evict each other; measured 1.3 to 1.5."""


@dataclass(frozen=True)
class Tile:
    """``rows`` × ``columns`` accumulators; columns are a multiple of the vector's lanes."""

    rows: int
    columns: int


WIDE = Processor(16, 32)
"""AVX-512."""
NARROW = Processor(8, 16)
"""AVX2."""
ARM = Processor(4, 32, l2=512 << 10, l2_rate=20.0, l3_rate=8.0)
"""NEON."""


def processor(mcpu: str, triple: str, features: Collection[str]) -> Processor:
    """What is known of the processor that LLVM calls ``mcpu`` and says to have ``features``."""
    if triple.startswith("aarch64") or mcpu.startswith(("cortex", "apple", "neoverse", "carmel")):
        chip = ARM
    else:
        chip = WIDE if "avx512f" in features else NARROW
    found = dot(chip.lanes, features)
    return replace(chip, dot=found) if found is not None else chip


def candidates(columns: int, chip: Processor) -> Iterator[Tile]:
    """The tiles whose accumulators, one row of operands and one broadcast fit the registers."""
    most = -(-columns // chip.lanes)
    for vectors in range(1, min(8, most) + 1):
        for rows in range(1, 17):
            if rows * vectors + vectors + 1 <= chip.registers:
                yield Tile(rows, vectors * chip.lanes)


def price(tile: Tile, rows: int, columns: int, depth: int, chip: Processor) -> float:
    """Clocks of ``rows`` × ``columns`` inner products of length ``depth``, in tiles; batches multiply it.

    Per step of ``depth`` a tile issues rows·vectors multiply-adds and loads one row of the packed operand and one
    broadcast a row; the slowest of issue, loads, the latency of a dependent addition, and the stream of the packed
    operand from the cache that holds it decides. What is padded is computed too.
    """
    vectors = tile.columns // chip.lanes
    across, down = math.ceil(columns / tile.columns), math.ceil(rows / tile.rows)
    panel = depth * tile.columns * 4
    streamed = 4 * tile.columns / (chip.l2_rate if panel <= chip.l2 // 2 else chip.l3_rate)
    step = max(
        tile.rows * vectors / chip.fused,
        (vectors + tile.rows) / chip.loads,
        chip.latency if tile.rows * vectors < chip.latency * chip.fused else 0.0,
        streamed if panel > chip.l1 // 2 or down == 1 else 0.0,
    )
    if depth * 4 % _PAGE == 0 and tile.rows > chip.ways:
        step *= _CONFLICT
    # A tile is entered and left: its accumulators are cleared and stored.
    return across * down * (depth * step + 2.0 * tile.rows * vectors + 20.0)


@dataclass(frozen=True)
class Plan:
    """A tile, and whether its rows run over all leading axes as one (``flat``) or over the last of them."""

    tile: Tile
    flat: bool


def _nested(rows: int, outer: Sequence[int]) -> bool:
    """Whether the tile divides the last axis, or holds it whole and divides the one before in turn.

    Other tiles lie across the ends of rows, where indices are no longer affine and TVM schedules nothing.
    """
    for size in reversed(outer):
        if size % rows == 0:
            return True
        if rows % size:
            return False
        rows //= size
    return False


def plan(outer: Sequence[int], columns: int, depth: int, chip: Processor) -> Plan:
    """The cheapest tile for rows along ``outer``; of equals the one with fewer columns.

    Tiles that run over several axes as one begin and end where rows of an axis do (see ``_nested``).
    """
    total, single = math.prod(outer), sum(size > 1 for size in outer) <= 1
    priced: list[tuple[float, int, int, Plan]] = []
    for tile in candidates(columns, chip):
        if single or _nested(tile.rows, outer):
            priced.append((price(tile, total, columns, depth, chip), tile.columns, tile.rows, Plan(tile, flat=True)))
        if not single:
            cost = total // outer[-1] * price(tile, outer[-1], columns, depth, chip)
            priced.append((cost, tile.columns, tile.rows, Plan(tile, flat=False)))
    return min(priced, key=lambda row: row[:3])[3]
