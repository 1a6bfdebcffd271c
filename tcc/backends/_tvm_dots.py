"""Instructions that add up four products of bytes a lane, as TensorIR sees them and as LLVM calls them."""

# TVM's parser reads annotations that are calls, and its decorators have no types.
# mypy: disable-error-code="valid-type, untyped-decorator"

from __future__ import annotations

import contextlib
from typing import Any

from tcc.cost_models._tiles import SDOT, VNNI

# An extra: whoever calls has checked that it is there.
with contextlib.suppress(ModuleNotFoundError):
    from tvm.s_tir import TensorIntrin
    from tvm.script import tirx as T  # noqa: N812 - the name that TVM's own scripts use


def register() -> None:
    """Make the instructions known to TensorIR; again does no harm."""
    for made, implementation in ((VNNI, _vpdpbusd), (SDOT, _sdot)):
        TensorIntrin.register(made.name, _meaning(made.lanes, made.data), implementation(), override=True)


def _meaning(lanes: int, dtype: str) -> Any:
    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((4,), dtype, offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            for i in T.serial(0, lanes):
                for k in T.serial(0, 4):
                    with T.sblock("update"):
                        vi, vk = T.axis.remap("SR", [i, k])
                        C[vi] = C[vi] + T.cast(A[vk], "int32") * T.cast(B[vi, vk], "int32")

    return meaning


def _vpdpbusd() -> Any:
    @T.prim_func(s_tir=True)
    def vpdpbusd(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((16, 4), "int8", offset_factor=1),
        C: T.Buffer((16,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:16], A[0:4], B[0:16, 0:4])
            T.writes(C[0:16])
            four = A.vload([0], "uint8x4")
            weights = B.vload([0, 0], dtype="int8x64")
            C[T.ramp(T.int32(0), 1, 16)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id("llvm.x86.avx512.vpdpbusd.512"),
                C.vload([0], dtype="int32x16"),
                T.reinterpret(T.broadcast(T.reinterpret(four, dtype="int32"), 16), dtype="uint8x64"),
                weights,
                dtype="int32x16",
            )

    return vpdpbusd


def _sdot() -> Any:
    @T.prim_func(s_tir=True)
    def sdot(
        A: T.Buffer((4,), "int8", offset_factor=1),
        B: T.Buffer((4, 4), "int8", offset_factor=1),
        C: T.Buffer((4,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:4], A[0:4], B[0:4, 0:4])
            T.writes(C[0:4])
            four = T.broadcast(T.reinterpret(A.vload([0], "int8x4"), dtype="int32"), 4)
            C[T.ramp(T.int32(0), 1, 4)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.sdot.v4i32.v16i8"),
                C.vload([0], dtype="int32x4"),
                T.reinterpret(four, dtype="int8x16"),
                B.vload([0, 0], dtype="int8x16"),
                dtype="int32x4",
            )

    return sdot
