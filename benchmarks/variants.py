"""Compressed forms of a model: as ONNX Runtime's own tools make them, and pruned."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.models import Feed

NAMES = ("fp32", "u8s8", "s8s8", "dyn", "w4", "fp16", "pruned")
"""As it is; static INT8 with unsigned or symmetric signed activations; dynamic INT8 products; 4-bit weights; halves;
three tenths of all channels removed, in multiples of eight."""


def make(name: str, original: Path, feeds: Sequence[Feed], folder: Path) -> Path:
    """The file of a variant; raises what the tools raise."""
    if name == "fp32":
        return original
    output = folder / f"{name}.onnx"
    _MAKERS[name](original, feeds, output)
    return output


def _static(original: Path, feeds: Sequence[Feed], output: Path, *, signed: bool) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
        def __init__(self) -> None:
            self.left = iter(feeds)

        def get_next(self) -> Any:
            return next(self.left, None)

    prepared = output.with_name("prepared.onnx")
    with contextlib.suppress(Exception):  # a clean-up that not every model survives
        quant_pre_process(str(original), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared if prepared.exists() else original), str(output), Reader(), quant_format=QuantFormat.QDQ,
        per_channel=True, activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8, extra_options={"ActivationSymmetric": signed},
    )  # fmt: skip


def _unsigned(original: Path, feeds: Sequence[Feed], output: Path) -> None:
    _static(original, feeds, output, signed=False)


def _signed(original: Path, feeds: Sequence[Feed], output: Path) -> None:
    _static(original, feeds, output, signed=True)


def _dynamic(original: Path, _: Sequence[Feed], output: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(original), str(output), weight_type=QuantType.QInt8, per_channel=True,
        op_types_to_quantize=["MatMul", "Gemm"],
    )  # fmt: skip


def _weights4(original: Path, _: Sequence[Feed], output: Path) -> None:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    made = MatMulNBitsQuantizer(onnx.load(original), bits=4, block_size=32, is_symmetric=True, accuracy_level=4)
    made.process()
    onnx.save(made.model.model, output)


def _halves(original: Path, _: Sequence[Feed], output: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(original), keep_io_types=True), output)


def _pruned(original: Path, _: Sequence[Feed], output: Path) -> None:
    import tcc

    tcc.compile(original, passes="prune{ratio=0.3,align=8}", output=output)


_MAKERS: dict[str, Callable[[Path, Sequence[Feed], Path], None]] = {
    "u8s8": _unsigned, "s8s8": _signed, "dyn": _dynamic, "w4": _weights4, "fp16": _halves,
    "pruned": _pruned,
}  # fmt: skip
