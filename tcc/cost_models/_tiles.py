"""Tiles of the inner products: what fits the registers, what the padding wastes, what the caches must deliver."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tcc.cost_models.roofline import GRAIN

if TYPE_CHECKING:
    from tcc.targets import Target

TILE, REGION = "tcc.tile", "tcc.region"
"""The keys under which a node says its tile (``matmul 1x197 x 768 x 192 in 8x48 flat``) and what is fused behind it."""
WIDTH = 4
"""Bytes of a lane whose products are added up."""


@dataclass(frozen=True)
class Dot:
    """One instruction: ``lanes`` of int32, each plus the sum of four products of ``data``'s type and int8.

    ``name`` is that under which TensorIR knows it.
    """

    name: str
    lanes: int
    data: str


VNNI = Dot("tcc_vpdpbusd_16", 16, "uint8")
"""AVX512-VNNI: unsigned data, signed weights, no saturation."""
SDOT = Dot("tcc_sdot_4", 4, "int8")
"""Arm's dot product of version 8.2."""


def dot(lanes: int, features: Collection[str]) -> Dot | None:
    """What a processor with these of LLVM's features has; None where products of bytes are none of its own."""
    if lanes == VNNI.lanes and "avx512vnni" in features:
        return VNNI
    return SDOT if lanes == SDOT.lanes and "dotprod" in features else None


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
"""What a step costs whose rows evict each other; measured 1.3 to 1.6."""


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


_MOST_VECTORS = 8


def candidates(columns: int, chip: Processor) -> Iterator[Tile]:
    """All tiles up to 8 vectors and as many rows as there are registers; what does not fit is a matter of price."""
    most = -(-columns // chip.lanes)
    for vectors in range(1, min(_MOST_VECTORS, most) + 1):
        for rows in range(1, chip.registers + 1):
            yield Tile(rows, vectors * chip.lanes)


def _spilled(rows: int, vectors: int, chip: Processor) -> float:
    """Clocks of a step for what the registers do not hold of accumulators, a row of operands and a broadcast.

    Each such accumulator is stored and loaded again in every step; measured 0.8 to 2.2 clocks of it on AVX-512, with 5
    to 71 of them, the most where there are few.
    """
    return _SPILL * max(0, rows * vectors + vectors + 1 - chip.registers)


_SPILL = 2.0


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
    if tile.rows * math.gcd(depth * 4, _PAGE) > chip.ways * _PAGE:
        step *= _CONFLICT
    step += _spilled(tile.rows, vectors, chip)
    # A tile is entered and left: its accumulators are cleared and stored.
    return across * down * (depth * step + 2.0 * tile.rows * vectors + 20.0)


@dataclass(frozen=True)
class Plan:
    """A tile, and whether its rows run over all leading axes as one (``flat``) or over the last of them."""

    tile: Tile
    flat: bool

    @property
    def text(self) -> str:
        """``8x48``, with `` flat`` behind it where it is."""
        return f"{self.tile.rows}x{self.tile.columns}{' flat' if self.flat else ''}"

    @staticmethod
    def parse(text: str) -> Plan | None:
        """The plan that ``text`` gives; None for anything else."""
        if (found := re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})( flat)?", text)) is None:
            return None
        return Plan(Tile(int(found[1]), int(found[2])), flat=found[3] is not None)


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


@dataclass(frozen=True)
class Kernel:
    """Inner products that run as one kernel: a result of ``outer`` × ``columns``, each a sum over ``depth``.

    ``what`` names it for reports, how its rows lie and, by its last word, what it computes in: a ``matmul`` or
    ``convolution 1x1`` may be tiled over all of ``outer``, a ``batched matmul`` and other convolutions along its last
    axis, each after ``taps`` positions of a window; a ``depthwise`` convolution has ``taps`` and no depth. Where the
    columns come in groups of ``group`` with operands of their own, tiles lie within them.
    """

    what: str
    outer: tuple[int, ...]
    columns: int
    depth: int = 1
    taps: int = 1
    group: int = 0

    @property
    def is_integer(self) -> bool:
        """Whether it adds up products of bytes."""
        return "int8" in self.what

    @property
    def text(self) -> str:
        """``matmul 1x197 x 768 x 192``: what it is known by where several are compiled."""
        size = "x".join(map(str, self.outer))
        return f"{self.what} {size}x{self.columns}" if self._is_depthwise else (
            f"{self.what} {size} x {self.columns} x {self.depth}"
        )  # fmt: skip

    @property
    def _is_depthwise(self) -> bool:
        return self.what.startswith("depthwise")

    def plans(self, chip: Processor, epilogue: float = 0.0) -> list[tuple[float, Plan]]:
        """Every tile that can be scheduled with the clocks it takes, the cheapest first; of equals fewer columns.

        Args:
            chip: what it runs on.
            epilogue: vector instructions for each element that are done to the result as it is written.
        """
        if self._is_depthwise:
            found = list(_depthwise_plans(self, chip))
        else:
            steps = self.taps * (-(-self.depth // WIDTH) if self.is_integer else self.depth)
            flat = self.what.startswith("matmul") or self.what.endswith(" 1x1")
            found = list(_plans(self.outer if flat else self.outer[-1:], self.columns, steps, chip))
            over = 1 if flat else math.prod(self.outer[:-1])
            found = [(over * cost, made if flat else Plan(made.tile, flat=False)) for cost, made in found]
            if self.group:
                found = [row for row in found if self.group % row[1].tile.columns == 0]
        results = math.prod(self.outer) * self.columns
        priced = [(cost + results * _writing(made.tile, self.columns, epilogue, chip), made) for cost, made in found]
        return sorted(priced, key=lambda row: (row[0], row[1].tile.columns, row[1].tile.rows, not row[1].flat))

    def shortlist(self, chip: Processor, epilogue: float = 0.0) -> list[tuple[float, Plan]]:
        """The tiles that are worth an alternative each: the best few, none much dearer than the best."""
        priced = self.plans(chip, epilogue)
        return [row for row in priced[:MOST] if row[0] <= _WORTH * priced[0][0]]


MOST = 4
"""Tiles of one kernel that become alternatives at most."""
_WORTH = 1.25
"""What a tile may take of the best one's time to become one: the model is right to about a tenth."""
_GUARDED = 0.35
"""Clocks for each result that is written behind a guard (columns that the tile computes and throws away); profiles of
six products, tiles of 16 to 128 columns."""
_SCALARS = 2.0
"""Scalar instructions issued a clock."""


def _writing(tile: Tile, columns: int, epilogue: float, chip: Processor) -> float:
    """Clocks for each result of what is done to it as it is written: in vectors, one by one behind a guard."""
    if columns % tile.columns:
        return _GUARDED + epilogue / _SCALARS
    return epilogue / (chip.lanes * chip.fused)


def _plans(outer: Sequence[int], columns: int, depth: int, chip: Processor) -> Iterator[tuple[float, Plan]]:
    total, single = math.prod(outer), sum(size > 1 for size in outer) <= 1
    for tile in candidates(columns, chip):
        # Tiles that run over several axes as one begin and end where rows of an axis do.
        if single or _nested(tile.rows, outer):
            yield price(tile, total, columns, depth, chip), Plan(tile, flat=True)
        if not single:
            yield total // outer[-1] * price(tile, outer[-1], columns, depth, chip), Plan(tile, flat=False)


def plan(outer: Sequence[int], columns: int, depth: int, chip: Processor) -> Plan:
    """The cheapest tile for rows along ``outer``; of equals the one with fewer columns."""
    found = _plans(outer, columns, depth, chip)
    return min(found, key=lambda row: (row[0], row[1].tile.columns, row[1].tile.rows))[1]


_DEPTHWISE_ROWS, _DEPTHWISE_VECTORS = 8, 4


def _depthwise_plans(kernel: Kernel, chip: Processor) -> Iterator[tuple[float, Plan]]:
    """Tiles of pixels × channels that divide both: each tap loads a vector of weights, and one for each accumulator."""
    width, channels = kernel.outer[-1], kernel.columns
    pixels = math.prod(kernel.outer)
    for vectors in range(1, _DEPTHWISE_VECTORS + 1):
        for rows in range(1, _DEPTHWISE_ROWS + 1):
            held = rows * vectors + vectors + 1
            if width % rows or channels % (vectors * chip.lanes) or held > chip.registers:
                continue
            step = max(
                rows * vectors / chip.fused, (rows * vectors + vectors) / chip.loads,
                chip.latency if rows * vectors < chip.latency * chip.fused else 0.0,
            )  # fmt: skip
            tiles = pixels // rows * (channels // (vectors * chip.lanes))
            yield tiles * (kernel.taps * step + 2.0 * rows * vectors + 20.0), Plan(
                Tile(rows, vectors * chip.lanes), flat=False
            )  # fmt: skip


def of_target(target: Target) -> Processor | None:
    """What tiles for a target are chosen by: its registers and its own caches; None where it does not state them."""
    found = target.vectors
    if found is None:
        return None
    base = {WIDE.lanes: WIDE, NARROW.lanes: NARROW}.get(found.lanes, ARM)
    sizes = [cache.nbytes for cache in target.caches]
    return replace(
        base, lanes=found.lanes, registers=found.registers, dot=dot(found.lanes, {found.dot}),
        l1=sizes[0] if sizes else base.l1, l2=sizes[1] if len(sizes) > 1 else base.l2,
    )  # fmt: skip


def seconds(clocks: float, target: Target, chip: Processor) -> float:
    """What a kernel takes of ``clocks`` on one core: its first grain there, the rest on all that the target has."""
    each = 2 * chip.lanes * chip.fused
    alone = min(clocks, GRAIN / each)
    return (alone + (clocks - alone) * target.single_thread) * each / (target.peak["float32"] * target.single_thread)
