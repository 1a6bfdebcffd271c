"""Schedules: register accumulators for what ``_tvm_kernels`` made, vectors for the rest."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from tcc.backends._tvm_kernels import ACCUMULATE, COLUMNS, DEPTHWISE, DOT, FLAT, OUT, PACK, PAD, ROWS
from tcc.cost_models._tiles import Processor

# An extra: whoever calls has checked that it is there.
with contextlib.suppress(ModuleNotFoundError):
    import tvm
    from tvm.s_tir import Schedule
    from tvm.s_tir.schedule import ScheduleError

_REDUCES = 2
"""TVM's kind of an iteration variable that is reduced over."""


def scheduled(module: Any, chip: Processor, failed: list[str]) -> Any:
    """Every function of the module scheduled; those that cannot be stay as they are, named in ``failed``."""
    for variable, function in module.functions_items():
        if not isinstance(function, tvm.tirx.PrimFunc):
            continue
        try:
            module[variable] = _function(function, chip)
        except (ScheduleError, ValueError, RuntimeError, TypeError) as error:
            failed.append(f"{variable.name_hint}: {' '.join(str(error).split())[:700]}")
    return module


def _function(function: Any, chip: Processor) -> Any:
    schedule = Schedule(tvm.IRModule({"main": function}))
    names = _names(schedule)
    if ACCUMULATE in names:
        _anchored(schedule, chip)
    elif DEPTHWISE in names:
        _depthwise(schedule, chip)
    else:
        _plain(schedule, chip)
    return schedule.mod["main"]


def _blocks(schedule: Any) -> list[Any]:
    return list(schedule.get_child_blocks(schedule.get_sblock("root")))


def _last(schedule: Any) -> Any:
    """The block that writes the output, with what lies between it and the accumulators inlined."""
    block = schedule.get_sblock(OUT)
    while consumers := schedule.get_consumers(block):
        schedule.compute_inline(block)
        block = consumers[0]
    return block


def _vectorized(schedule: Any, loop: Any, chip: Processor) -> None:
    """The loop in whole vectors; one that has none stays as it is."""
    extent = int(schedule.get(loop).extent)
    if extent % chip.lanes:
        return
    _, lanes = schedule.split(loop, [None, chip.lanes])
    schedule.vectorize(lanes)


def _anchored(schedule: Any, chip: Processor) -> None:
    """Accumulators of one tile in registers; the packed operand is streamed once for each row of tiles."""
    accumulate = schedule.get_sblock(ACCUMULATE)
    block = schedule.get(accumulate)
    dot = str(block.annotations[DOT])
    rows, columns = int(block.annotations[ROWS]), int(block.reads[1].source.shape[-2 if dot else -1])
    reductions = sum(int(v.iter_type) == _REDUCES for v in block.iter_vars)
    last = _last(schedule)
    for helper in (PAD, PACK):
        if helper in _names(schedule):
            _vectorized(schedule, schedule.get_loops(schedule.get_sblock(helper))[-1], chip)
    inner = _tiled(schedule, last, rows, columns, is_flat=bool(block.annotations[FLAT]))
    schedule.compute_at(accumulate, inner, preserve_unit_loops=True)
    schedule.set_scope(accumulate, 0, "local")
    _spread(schedule, last, chip, len(schedule.get_loops(last)) - 2)
    loops = schedule.get_loops(accumulate)
    reduced = loops[-reductions:]
    row, column = loops[-2 - reductions : -reductions]
    outer, lanes = schedule.split(column, [None, chip.lanes])
    if dot:
        schedule.reorder(*reduced[:-1], row, outer, lanes, reduced[-1])
        _dotted(schedule, accumulate, reduced[0], dot)
    else:
        schedule.reorder(*reduced, row, outer, lanes)
        _registers(schedule, accumulate, reduced[0])
    *_, row, column = schedule.get_loops(last)
    if _extent(schedule, column) % chip.lanes == 0 and not _guarded(schedule, last):
        outer, lanes = schedule.split(column, [None, chip.lanes])
        schedule.vectorize(lanes)
        schedule.unroll(outer)
        schedule.unroll(row)
    for helper in sorted({PAD, PACK} & _names(schedule)):
        block = schedule.get_sblock(helper)
        _spread(schedule, block, chip, len(schedule.get_loops(block)) - 1)


_SPREAD = 16384
"""Elements of a result from which on a kernel is worth several threads: starting them takes some microseconds."""


def _spread(schedule: Any, block: Any, chip: Processor, most: int) -> None:
    """Spread the leading loops of a block over threads, ``most`` of them at most and as few as that takes."""
    loops = schedule.get_loops(block)
    if chip.threads == 1 or math.prod(_extent(schedule, loop) for loop in loops) < _SPREAD:
        return
    parts = 1
    for count, loop in enumerate(loops[:most], 1):
        parts *= _extent(schedule, loop)
        if parts >= _WAYS * chip.threads:
            schedule.parallel(schedule.fuse(*loops[:count]) if count > 1 else loop)
            return


_WAYS = 2
"""Parts for each thread at least, so that one that comes late does not keep the others waiting for all of its own."""


def _registers(schedule: Any, block: Any, reduced: Any) -> None:
    """Unroll the tile and use whole vectors, so that LLVM keeps it in registers; clear it before the reduction.

    The reduction is taken apart last: what is left of its block is no reduction for TVM, and could not be vectorised.
    """
    _unrolled(schedule, block)
    _unrolled(schedule, schedule.decompose_reduction(block, reduced))


def _unrolled(schedule: Any, block: Any) -> None:
    *_, row, outer, lanes = schedule.get_loops(block)
    schedule.vectorize(lanes)
    schedule.unroll(outer)
    schedule.unroll(row)


def _dotted(schedule: Any, block: Any, reduced: Any, dot: str) -> None:
    """As ``_registers``, with one instruction for the lanes and the four products of each."""
    _unrolled(schedule, schedule.decompose_reduction(block, reduced))
    *_, row, outer, lanes, _ = schedule.get_loops(block)
    schedule.tensorize(lanes, dot)
    schedule.unroll(outer)
    schedule.unroll(row)


def _tiled(schedule: Any, last: Any, rows: int, columns: int, *, is_flat: bool) -> Any:
    """Split the output into tiles; the loop over tiles in which the accumulators live."""
    *outer, row, column = schedule.get_loops(last)
    if is_flat and outer:
        row = schedule.fuse(*outer, row)
        outer = []
    down, inside = schedule.split(row, [None, rows])
    across, lanes = schedule.split(column, [None, columns])
    schedule.reorder(*outer, across, down, inside, lanes)
    return down


def _guarded(schedule: Any, block: Any) -> bool:
    """Whether columns of the last tile are computed and thrown away: a guard in the innermost loop stops vectors."""
    shape = schedule.get(block).writes[0].source.shape
    return int(shape[-1]) % _extent(schedule, schedule.get_loops(block)[-1]) != 0


def _depthwise(schedule: Any, chip: Processor) -> None:
    accumulate = schedule.get_sblock(DEPTHWISE)
    last = _last(schedule)
    if PAD in _names(schedule):
        _vectorized(schedule, schedule.get_loops(schedule.get_sblock(PAD))[-1], chip)
    *_, row, column = schedule.get_loops(last)
    marks = schedule.get(accumulate).annotations
    if ROWS not in marks:
        return
    down, inside = schedule.split(row, [None, int(marks[ROWS])])
    across, lanes = schedule.split(column, [None, int(marks[COLUMNS])])
    schedule.reorder(down, across, inside, lanes)
    schedule.compute_at(accumulate, across, preserve_unit_loops=True)
    schedule.set_scope(accumulate, 0, "local")
    _spread(schedule, last, chip, len(schedule.get_loops(last)) - 2)
    *_, row, column, high, wide = schedule.get_loops(accumulate)
    outer, lanes = schedule.split(column, [None, chip.lanes])
    schedule.reorder(high, wide, row, outer, lanes)
    schedule.unroll(wide)
    _registers(schedule, accumulate, high)
    *_, row, column = schedule.get_loops(last)
    outer, lanes = schedule.split(column, [None, chip.lanes])
    schedule.vectorize(lanes)
    schedule.unroll(outer)
    schedule.unroll(row)


def _plain(schedule: Any, chip: Processor) -> None:
    """Elementwise operators in one loop over vectors; reductions with one vector of partial results."""
    blocks = _blocks(schedule)
    if not any(_reduces(schedule, block) for block in blocks):
        for block in blocks:
            if schedule.get_consumers(block):
                schedule.compute_inline(block)
    for block in _blocks(schedule):
        if _reduces(schedule, block):
            _reduction(schedule, block, chip)
        elif loops := schedule.get_loops(block):
            _vectorized(schedule, loops[-1], chip)
            _spread(schedule, block, chip, len(loops) - 1)


def _reduction(schedule: Any, block: Any, chip: Processor) -> None:
    """Over leading axes: vectors along the last one. Over the last axis: a vector of partial results, then those."""
    loops = schedule.get_loops(block)
    kinds = [int(v.iter_type) for v in schedule.get(block).iter_vars]
    if len(loops) != len(kinds) or _REDUCES not in kinds:
        return
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != _REDUCES]
    reduced = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _REDUCES]
    read, written = schedule.get(block).reads[0].region[-1], schedule.get(block).writes[0].region[-1]
    if spatial and _extent(schedule, spatial[-1]) % chip.lanes == 0 and read.min.same_as(written.min):
        outer, lanes = schedule.split(spatial[-1], [None, chip.lanes])
        schedule.reorder(*spatial[:-1], outer, *reduced, lanes)
        schedule.vectorize(lanes)
        schedule.vectorize(schedule.get_loops(schedule.decompose_reduction(block, reduced[0]))[-1])
        return
    if _extent(schedule, reduced[-1]) % chip.lanes == 0 and len(schedule.get(block).writes) == 1:
        _, lanes = schedule.split(reduced[-1], [None, chip.lanes])
        partial = schedule.rfactor(lanes, factor_axis=len(spatial))
        schedule.vectorize(schedule.get_loops(partial)[-1])


def _reduces(schedule: Any, block: Any) -> bool:
    return any(int(v.iter_type) == _REDUCES for v in schedule.get(block).iter_vars)


def _extent(schedule: Any, loop: Any) -> int:
    return int(schedule.get(loop).extent)


def _names(schedule: Any) -> set[str]:
    return {schedule.get(block).name_hint for block in _blocks(schedule)}
