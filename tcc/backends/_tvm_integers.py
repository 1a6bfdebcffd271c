"""Quantised products and convolutions in integers: what ONNX writes as floats between Q and DQ."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tcc.cost_models._tiles import Dot

# An extra: whoever calls has checked that it is there.
with contextlib.suppress(ModuleNotFoundError):
    import tvm
    from tvm import relax, te, tirx
    from tvm.ir import GenericConst
    from tvm.relax import PyExprMutator, expr_functor

_SIGN = 128
"""What lies between a byte read as unsigned and as signed."""
_EXACT = 512
"""Products of two bytes whose sum a float32 holds exactly."""
_BYTES = {"uint8": (0, 255), "int8": (-128, 127)}


def in_integers(module: Any, dot: Dot | None) -> Any:
    """Products of bytes become integer products where the processor has an instruction for them.

    What scales and zero points do to the result (Jacob et al., Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference, 2018, section 2.2), quantising and dequantising are written out as
    elementwise operators, which join the kernel before them.
    """
    if dot is not None:
        module = mutated(module, lambda builder, call: _product(builder, call, dot))
    return mutated(module, _elementwise)


def mutated(module: Any, rewrite: Callable[[Any, Any], Any]) -> Any:
    """The module, each call for which ``rewrite`` gives an expression replaced by it."""

    @expr_functor.mutator
    class Mutator(PyExprMutator):  # type: ignore[misc]  # TVM is an extra, untyped
        def visit_call_(self, call: Any) -> Any:
            call = super().visit_call_(call)
            made = rewrite(self.builder_, call)
            return call if made is None else made

    mutator = Mutator(module)
    for variable, function in module.functions_items():
        if isinstance(function, relax.Function):
            mutator.builder_.update_func(variable, mutator.visit_expr(function))
    return relax.transform.DeadCodeElimination()(mutator.builder_.get())


@dataclass(frozen=True)
class _Bytes:
    """Real numbers as ``scale`` · (``value`` - ``zero``).

    ``value`` is an expression of bytes; ``scale`` and ``zero`` are arrays along ``axis``, or hold one element.
    """

    value: Any
    scale: np.ndarray
    zero: np.ndarray
    axis: int

    @property
    def array(self) -> np.ndarray | None:
        """The bytes of a constant."""
        return self.value.value.numpy() if isinstance(self.value, GenericConst) else None

    @property
    def is_uniform(self) -> bool:
        """Whether one scale and zero point hold for all elements."""
        return self.scale.size == self.zero.size == 1


def operator(call: Any) -> str:
    """The name of the operator that is called; '' for what is no such call."""
    return str(call.op.name) if isinstance(call, relax.Call) and isinstance(call.op, tvm.ir.Op) else ""


def _bytes(builder: Any, value: Any) -> _Bytes | None:
    """What a value was dequantised from, also where it was transposed since."""
    made = builder.lookup_binding(value) if isinstance(value, relax.Var) else value
    if operator(made) == "relax.dequantize":
        given, scale, zero = made.args
        given = _constant(builder, given)
        scale, zero = (_constant(builder, v) for v in (scale, zero))
        if not all(isinstance(v, GenericConst) for v in (scale, zero)) or str(given.ty.dtype) not in _BYTES:
            return None
        return _Bytes(given, np.atleast_1d(scale.value.numpy()), np.atleast_1d(zero.value.numpy()), made.attrs.axis)
    if operator(made) == "relax.permute_dims":
        found = _bytes(builder, made.args[0])
        if found is None:
            return None
        axes = made.attrs.axes
        order = list(reversed(range(len(made.ty.shape)))) if axes is None else [int(axis) for axis in axes]
        axis = order.index(found.axis % len(order)) if not found.is_uniform else 0
        if (array := found.array) is not None:
            return replace(found, value=relax.const(np.ascontiguousarray(array.transpose(order))), axis=axis)
        return replace(found, value=builder.emit(relax.op.permute_dims(found.value, order)), axis=axis)
    if operator(made) == "relax.expand_dims":
        return _expanded(builder, made, _bytes(builder, made.args[0]))
    return None


def _expanded(builder: Any, made: Any, found: _Bytes | None) -> _Bytes | None:
    if found is None:
        return None
    (at,) = (int(axis) % len(made.ty.shape) for axis in made.attrs.axis)
    axis = found.axis % (len(made.ty.shape) - 1)
    axis += int(axis >= at)
    if (array := found.array) is not None:
        return replace(found, value=relax.const(np.expand_dims(array, at)), axis=axis)
    return replace(found, value=builder.emit(relax.op.expand_dims(found.value, at)), axis=axis)


def real(builder: Any, value: Any) -> np.ndarray | None:
    """A constant, computed from its bytes where it is stored so; None for anything else."""
    value = _constant(builder, value)
    if isinstance(value, GenericConst):
        return np.asarray(value.value.numpy())
    found = _bytes(builder, value)
    if found is None or found.array is None:
        return None
    shape = [-1 if i == found.axis % found.array.ndim else 1 for i in range(found.array.ndim)]
    scale, zero = (v if v.size == 1 else v.reshape(shape) for v in (found.scale, found.zero))
    return np.asarray((found.array.astype(np.float32) - zero) * scale, np.float32)


def _constant(builder: Any, value: Any) -> Any:
    """The constant that a variable is bound to; the value itself otherwise."""
    made = builder.lookup_binding(value) if isinstance(value, relax.Var) else None
    return made if isinstance(made, GenericConst) else value


def _product(builder: Any, call: Any, dot: Dot) -> Any:
    """A convolution or matrix product of dequantised bytes in int32; None for others."""
    name = operator(call)
    if name not in {"relax.nn.conv2d", "relax.matmul"} or str(call.ty.dtype) != "float32":
        return None
    data, weight = (_bytes(builder, value) for value in call.args)
    if data is None or weight is None or not data.is_uniform:
        return None
    data = _as(builder, data, dot.data)
    weight = _as(builder, weight, "int8")
    if name == "relax.nn.conv2d":
        return _convolution(builder, call, data, weight)
    return _matmul(builder, data, weight)


def _as(builder: Any, given: _Bytes, dtype: str) -> _Bytes:
    """The same numbers in bytes of the other sign."""
    if str(given.value.ty.dtype) == dtype:
        return replace(given, zero=given.zero.astype(np.int32))
    by = _SIGN if dtype == "uint8" else -_SIGN
    if (array := given.array) is not None:
        value = relax.const((array.astype(np.int32) + by).astype(dtype))
    else:
        wide = builder.emit(relax.op.astype(given.value, "int32"))
        value = builder.emit(relax.op.astype(relax.op.add(wide, relax.const(by, "int32")), dtype))
    return replace(given, value=value, zero=given.zero.astype(np.int32) + by)


def _convolution(builder: Any, call: Any, data: _Bytes, weight: _Bytes) -> Any:
    attributes, array = call.attrs, weight.array
    if array is None or weight.zero.any() or attributes.data_layout != "NCHW" or attributes.kernel_layout != "OIHW":
        return None
    groups, channels = int(attributes.groups), int(call.args[0].ty.shape[1])
    depthwise = groups == channels == array.shape[0] and array[0].size <= _EXACT
    if groups != 1 and not depthwise:
        return None
    if not (weight.scale.size == 1 or weight.axis % array.ndim == 0):
        return None
    total = relax.op.nn.conv2d(
        _widened(builder, data), relax.const(array.astype(np.int32)), strides=attributes.strides,
        padding=attributes.padding, dilation=attributes.dilation, groups=groups, data_layout="NCHW",
        kernel_layout="OIHW", out_dtype="int32",
    )  # fmt: skip
    scale = data.scale * weight.scale * np.ones(array.shape[0], np.float32)
    return _rescaled(builder, total, scale.reshape(1, -1, 1, 1))


def _widened(builder: Any, given: _Bytes) -> Any:
    """The bytes less their zero point in int32: what ``widened`` finds again."""
    wide = builder.emit(relax.op.astype(given.value, "int32"))
    zero = int(given.zero[0])
    return builder.emit(relax.op.subtract(wide, relax.const(zero, "int32"))) if zero else wide


def _rescaled(builder: Any, total: Any, scale: np.ndarray) -> Any:
    """``total`` · ``scale`` in float32."""
    wide = builder.emit(relax.op.astype(builder.emit(total), "float32"))
    return relax.op.multiply(wide, relax.const(scale.astype(np.float32)))


def _matmul(builder: Any, data: _Bytes, weight: _Bytes) -> Any:
    """[..., M, K] times [..., K, N]; of two operands that are computed, zero points are taken off the sums over K."""
    array, dimensions = weight.array, len(weight.value.ty.shape)
    if len(data.value.ty.shape) < 2 or dimensions < 2:
        return None
    if weight.scale.size > 1 and weight.axis % dimensions != dimensions - 1:
        return None
    scale = data.scale * weight.scale
    if array is not None:
        if array.ndim != 2 or weight.zero.any():
            return None
        columns = relax.const(array.astype(np.int32))
        return _rescaled(builder, relax.op.matmul(_widened(builder, data), columns, out_dtype="int32"), scale)
    if not weight.is_uniform:
        return None
    left, right = (builder.emit(relax.op.astype(given.value, "int32")) for given in (data, weight))
    total = builder.emit(relax.op.matmul(left, right, out_dtype="int32"))
    depth, (za,), (zb,) = int(data.value.ty.shape[-1]), data.zero, weight.zero
    for value, zero, axis in ((right, za, -2), (left, zb, -1)):
        if zero:
            sums = builder.emit(relax.op.sum(value, axis=[axis], keepdims=True))
            total = builder.emit(relax.op.subtract(total, relax.op.multiply(sums, relax.const(int(zero), "int32"))))
    if za and zb:
        total = builder.emit(relax.op.add(total, relax.const(int(depth * za * zb), "int32")))
    return _rescaled(builder, total, scale)


def kept(builder: Any, call: Any) -> Any:
    """What is done to widened bytes stays as it is until the kernels have been made; to constants it is folded."""
    stays = str(call.ty.dtype) == "int32" and not isinstance(call.args[0], GenericConst)
    return call if stays else call.op.get_attr("FLegalize")(builder, call)


def widened(builder: Any, value: Any) -> tuple[Any, int] | None:
    """The bytes and the zero point of what is (astype(bytes) - zero) in int32.

    The layout may have been changed since.
    """
    made = builder.lookup_binding(value) if isinstance(value, relax.Var) else value
    name = operator(made)
    if name == "relax.permute_dims":
        found = widened(builder, made.args[0])
        if found is None:
            return None
        given, zero = found
        return builder.emit(relax.op.permute_dims(given, made.attrs.axes)), zero
    if name == "relax.subtract":
        inner, zero = widened(builder, made.args[0]), _constant(builder, made.args[1])
        if inner is None or not isinstance(zero, GenericConst) or zero.value.numpy().size > 1:
            return None
        return inner[0], inner[1] + int(zero.value.numpy().reshape(()))
    if name == "relax.astype" and str(made.args[0].ty.dtype) in _BYTES:
        return made.args[0], 0
    return None


def _elementwise(builder: Any, call: Any) -> Any:
    """Quantising to bytes and dequantising as arithmetic; None for other operators and open scales."""
    name = operator(call)
    if name not in {"relax.quantize", "relax.dequantize"}:
        return None
    value, scale, zero = (_constant(builder, v) for v in call.args)
    dtype = str(call.ty.dtype)
    if not all(isinstance(v, GenericConst) for v in (scale, zero)) or isinstance(value, GenericConst):
        return None
    dimensions, axis = len(call.ty.shape), int(call.attrs.axis)
    scales, zeros = (
        v.value.numpy().reshape([-1 if i == axis % dimensions else 1 for i in range(dimensions)])
        if v.value.numpy().size > 1 else v.value.numpy().reshape(())
        for v in (scale, zero)
    )  # fmt: skip
    if name == "relax.quantize":
        if dtype not in _BYTES or str(value.ty.dtype) != "float32":
            return None
        return _quantised(builder, value, scales.astype(np.float32), zeros.astype(np.float32), dtype)
    if dtype != "float32" or str(value.ty.dtype) not in {*_BYTES, "int32"}:
        return None
    wide = builder.emit(relax.op.astype(value, "float32"))
    if zeros.any():
        wide = builder.emit(relax.op.subtract(wide, relax.const(zeros.astype(np.float32))))
    return relax.op.multiply(wide, relax.const(scales.astype(np.float32)))


def _quantised(builder: Any, value: Any, scale: np.ndarray, zero: np.ndarray, dtype: str) -> Any:
    """Rounded to the nearest, ties to even (``rounded``), then moved by the zero point; saturated before."""
    if zero.size > 1:
        return None
    low, high = (float(bound - zero) for bound in _BYTES[dtype])
    made = builder.emit(relax.op.multiply(value, relax.const(np.float32(1) / scale)))
    made = builder.emit(relax.op.maximum(made, relax.const(low, "float32")))
    made = builder.emit(relax.op.minimum(made, relax.const(high, "float32")))
    made = builder.emit(relax.op.astype(builder.emit(relax.op.round(made)), "int32"))
    if zero.any():
        made = builder.emit(relax.op.add(made, relax.const(int(zero), "int32")))
    return relax.op.astype(made, dtype)


def rounded(builder: Any, call: Any) -> Any:
    """How relax's round becomes a function: ties go to even, as ONNX's Round and QuantizeLinear say; TVM's go up.

    LLVM's own function, since TVM takes its nearbyint apart into scalars.
    """

    def to_even(x: Any) -> Any:
        return te.compute(
            x.shape, lambda *i: tirx.call_llvm_pure_intrin(str(x.dtype), "llvm.roundeven", x(*i)), name="round"
        )

    return builder.call_te(to_even, call.args[0])


KEPT = ["relax.astype", "relax.subtract", "relax.permute_dims"]
"""What kernels look for in front of them, and so what is made into functions after them."""
LEGALIZERS = {"relax.round": rounded} | dict.fromkeys(KEPT, kept)
"""What comes before the kernels."""
