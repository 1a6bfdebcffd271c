"""Makes values of onnx_ir: constants, and types as onnx_ir writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir

from tcc.ir.facts import proto_type
from tcc.ir.types import TensorType

if TYPE_CHECKING:
    import numpy as np


def constant_value(name: str, tensor: onnx_ir.TensorProtocol) -> onnx_ir.Value:
    """A value that holds a tensor, to become an initialiser."""
    shape = onnx_ir.Shape([int(size) for size in tensor.shape.dims if isinstance(size, int)])
    return onnx_ir.Value(name=name, type=onnx_ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)


def array_tensor(array: np.ndarray) -> onnx_ir.TensorProtocol:
    """A tensor that holds an array; ``onnx_ir.tensor`` takes longer to find out that it is one."""
    return onnx_ir.Tensor(array)


def ir_type(kind: TensorType) -> tuple[onnx_ir.TensorType, onnx_ir.Shape | None]:
    """A tensor type as onnx_ir writes it."""
    dtype = onnx_ir.DataType(proto_type(kind.dtype))
    return onnx_ir.TensorType(dtype), None if kind.shape is None else onnx_ir.Shape(kind.shape)
