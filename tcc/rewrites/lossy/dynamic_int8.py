"""8-bit matrix products whose activations are scaled anew in every run: DynamicQuantizeLinear and MatMulInteger."""

# x·W + b  →  float(MatMulInteger(q(x), W8)) · (sx · sw) + b
#
# No range is fixed by calibration: outliers of one sample, in transformers above all, coarsen that sample only.

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir

from tcc.ir import attributes, calibration, facts
from tcc.ir.calibration import Range
from tcc.ir.model import tensor_type
from tcc.ir.types import TensorType
from tcc.rewrites.lossy import Alternative, Offer, _packing, _rows
from tcc.rewrites.lossy._measured import REDUCED, WHOLE, Known, known, relative, reweighted
from tcc.rewrites.lossy._nibbles import Nibbles
from tcc.rewrites.lossy._schemes import quantize_weight
from tcc.rewrites.lossy._units import constant_of, is_float, is_plain_product

FIRST_OPSET = 11
_UNSEEN = 2.0**-8
"""The relative error that rounding to 8 bits makes of an activation that was not observed."""
_TO_FLOAT = attributes.key_of({"to": onnx.TensorProto.FLOAT})


def offer(made: Offer) -> None:
    """Offer every product with a constant weight."""
    target = made.target
    reason = ""
    if target.kind != "cpu":
        reason = f"target {target.name} is no processor: its products want fixed ranges"
    elif made.opset < FIRST_OPSET:
        reason = f"opset {made.opset} has no DynamicQuantizeLinear, {FIRST_OPSET} is the first"
    else:
        reason = target.legality("", "MatMulInteger", ["uint8", "int8", "int32"]) or ""
    if reason:
        made.declined["dynamic-int8"] = reason
        return
    measured = known(made)
    for node in made.imported.graph:
        if not node.domain and node.op_type in {"MatMul", "Gemm"} and is_float(node.outputs[0]):
            _offer_product(made, node, measured.get(node.outputs[0].name or ""))


def _offer_product(made: Offer, node: onnx_ir.Node, found: Known | None) -> None:
    data, weight = node.inputs[0], constant_of(node.inputs[1])
    if data is None or data.const_value is not None or weight is None or weight.ndim != 2:
        return
    if not is_plain_product(node) or not np.isfinite(weight).all():
        made.declined[f"dynamic-int8:{node.name}"] = "is no plain product with finite weights"
        return
    site = f"dynamic-int8:{node.name or node.outputs[0].name}"
    levels = _levels(made)
    if found is None:
        if node.op_type == "Gemm" and (transposed := node.attributes.get("transB")) and transposed.as_int():
            weight = np.ascontiguousarray(weight.T)
        quantized = quantize_weight(weight, 1, levels=levels)
        error = math.sqrt(_noise(made, data) + quantized.error**2)
        _write(made, node, _Form(site, quantized.values, quantized.scale, error, steps=weight / quantized.scale))
        return
    plain, smooth = found.rounded[levels], found.smooth
    noise = _noise(made, data) * made.observed[data.name or ""].histogram.energy * found.norm
    error = relative(made, node.outputs[0], noise + plain.gap, found.columns)
    _write(made, node, _Form(site, plain.values, plain.scale, error, plain.shift, small=plain.small))
    made.weights[site] = reweighted(made, node.outputs[0], plain, str(levels))
    if smooth is not None:
        rounded = smooth.rounded
        error = relative(made, node.outputs[0], smooth.noise + rounded.gap, found.columns)
        form = _Form(
            f"{site}@smooth", rounded.values, rounded.scale, error, rounded.shift, smooth.factor, rounded.small
        )  # fmt: skip
        _write(made, node, form)
        made.weights[form.site] = reweighted(
            made, node.outputs[0], rounded, f"{levels}@smooth", factor=smooth.factor
        )  # fmt: skip


@dataclass(frozen=True)
class _Form:
    """One integer form of a product: its weight [K, N], what is added to its bias, what its input is divided by.

    ``small`` is the weight in 4 bits where it was fitted to the data, ``steps`` what it is before rounding elsewhere.
    """

    site: str
    values: np.ndarray
    scale: np.ndarray
    error: float
    shift: np.ndarray | None = None
    factor: np.ndarray | None = None
    small: Nibbles | None = None
    steps: np.ndarray | None = None


def _write(made: Offer, node: onnx_ir.Node, form: _Form) -> None:
    result, output = _product(made, node, form), node.outputs[0]
    if node.op_type == "Gemm" and len(node.inputs) > 2 and (bias := node.inputs[2]) is not None:
        shifted = _rows.typed(made, made.imported.fresh(f"{output.name}_biased"), "float32", output)
        made.tables.add("Add", shifted, result, _bias(made, bias, form), "{}")
        made.imported.operators.add("Add")
        result = shifted
    made.alternatives.append(Alternative(form.site, made.imported.numbers[output], result))
    made.error[form.site] = form.error
    made.where[form.site] = output.name or ""


def _bias(made: Offer, bias: onnx_ir.Value, form: _Form) -> int:
    """The number of a bias that keeps the mean of the outputs (bias correction, Nagel et al., ICCV 2019)."""
    array = constant_of(bias)
    if array is None or form.shift is None:
        return made.imported.numbers[bias]
    return _rows.constant(made, (array + form.shift).astype(np.float32), f"{bias.name}_corrected")


def _product(made: Offer, node: onnx_ir.Node, form: _Form) -> int:
    """The number of the product with an integer weight, without its bias."""
    imported, tables, output, data, scale = made.imported, made.tables, node.outputs[0], node.inputs[0], form.scale
    name = node.inputs[1].name if node.inputs[1] is not None else "weight"
    assert data is not None
    source = imported.numbers[data] if form.factor is None else _rows.divided(made, data, form.factor)
    integers, step, zero = _activation(made, data, source)
    weight = _rows.constant(made, form.values, f"{name}_int8")
    _pack(made, node, form, weight)
    scales = _rows.constant(made, scale, f"{name}_scale")
    whole = imported.fresh()
    key = _template(made, "MatMulInteger", 3, 1)
    tables.add("opaque", whole, key, tables.list_of((integers, weight, zero)))
    sums = _rows.typed(made, imported.fresh(f"{output.name}_i"), "int32", output)
    tables.add("project", sums, whole, 0)
    floats = _rows.typed(made, imported.fresh(f"{output.name}_f"), "float32", output)
    tables.add("Cast", floats, sums, _TO_FLOAT)
    both = imported.fresh(f"{output.name}_s")
    tables.add("type", both, facts.kind_text(TensorType("float32", scale.shape)))
    tables.add("Mul", both, step, scales, "{}")
    result = _rows.typed(made, imported.fresh(f"{output.name}_d"), "float32", output)
    tables.add("Mul", result, floats, both, "{}")
    imported.operators |= {"Cast", "Mul"}
    return result


def _pack(made: Offer, node: onnx_ir.Node, form: _Form, number: int) -> None:
    """State that the weight may lie in the file in 4 bits."""
    output, levels = node.outputs[0], _levels(made)
    constant = _packing.Constant(number, form.values.shape, levels, is_transposed=False, where=output.name or "")
    if form.steps is None:
        _packing.fitted(made, constant, form.small, output)
    else:
        _packing.rounded(made, constant, form.steps)


def _levels(made: Offer) -> int:
    return REDUCED if made.target.quantization.reduced_range else WHOLE


def _activation(made: Offer, v: onnx_ir.Value, number: int) -> tuple[int, int, int]:
    """The numbers of a value's integers, their scale and zero point, found when the model runs."""
    key = ("dynamic", number)
    if key not in made.memo:
        tables, whole = made.tables, made.imported.fresh()
        tables.add("opaque", whole, _template(made, "DynamicQuantizeLinear", 1, 3), tables.list_of((number,)))
        kind = tensor_type(v)
        kinds = [TensorType("uint8", kind.shape if kind else None), TensorType("float32", ()), TensorType("uint8", ())]
        numbers = []
        for i, (suffix, found) in enumerate(zip(("q", "scale", "zero"), kinds, strict=True)):
            numbers.append(made.imported.fresh(f"{v.name}_{suffix}"))
            tables.add("type", numbers[-1], facts.kind_text(found))
            tables.add("project", numbers[-1], whole, i)
        made.memo[key] = tuple(numbers)
    integers, step, zero = made.memo[key]
    return integers, step, zero


def _template(made: Offer, operator: str, inputs: int, outputs: int) -> str:
    """The key of an operator that no rule names, with the node that it stands for."""
    key = f"::{operator}:{'1' * outputs}:{{}}"
    if key not in made.imported.nodes:
        node = onnx_ir.Node("", operator, [None] * inputs, num_outputs=outputs, version=made.opset)
        for i, v in enumerate(node.outputs):
            v.name = f"{operator}_{i}"
        made.imported.nodes[key] = node
    return key


def _noise(made: Offer, v: onnx_ir.Value) -> float:
    """The square of an activation's relative error, over its widest range: each run's own is no wider."""
    seen = made.observed.get(v.name or "")
    if seen is None or not seen.histogram.energy:
        return _UNSEEN**2
    histogram = seen.histogram
    kept = Range(min(histogram.low, 0.0), max(histogram.high, 0.0))
    return calibration.noise(histogram, kept) / histogram.energy
