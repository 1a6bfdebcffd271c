"""8-bit integers for activations and weights, ranges fixed by calibration: Q/DQ around the target's integer kernels."""

# An operator on integers is Q(op(DQ(x), DQ(w))). Two edges lead to it: from its output's Q (the next kernel reads
# integers) and, through a DQ, from its output. So a chain of kernels pays for a conversion only where it begins and
# ends, and extraction finds the chains.

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from tcc.ir import calibration
from tcc.ir.calibration import Range
from tcc.ir.tables import ABSENT
from tcc.ir.weight_probing import Reweighted
from tcc.rewrites.lossy import Alternative, Offer, _packing, _rows
from tcc.rewrites.lossy._measured import REDUCED, WHOLE, known, products, relative, reweighted, to_nearest
from tcc.rewrites.lossy._ranges import KEY, Chosen
from tcc.rewrites.lossy._schemes import Scheme, Weight, activation_scheme, least_scale, quantize_weight
from tcc.rewrites.lossy._units import (
    CURVED,
    FLOAT_OUTPUT,
    FUSED,
    METHOD,
    WEIGHTED,
    Unit,
    Values,
    feeds_softmax,
    is_float,
    is_moving,
    is_plain_product,
    units,
)

_SIDES = 2
"""Who rounds a value: the kernel that makes it, and those that read it."""
FIRST_OPSET = 10
PER_AXIS_OPSET = 13


def offer(made: Offer) -> None:
    """Offer every operator that the target has an integer kernel for."""
    recipe, target = made.target.quantization, made.target
    reason = ""
    if not made.evidence.calibrated:
        reason = "the ranges of activations need calibration data"
    elif made.opset < FIRST_OPSET:
        reason = f"opset {made.opset} has no QuantizeLinear, {FIRST_OPSET} is the first"
    elif illegal := target.legality("", "QuantizeLinear", [recipe.activation]):
        reason = illegal
    if reason:
        made.declined["static-int8"] = reason
        return
    graph = made.imported.graph
    found = units(graph, recipe)
    able = frozenset(unit.node for unit in found if unit.node.op_type not in CURVED)
    able |= {node for node in graph if is_moving(node)}
    kernels = _Kernels(made, _values(made), able, _readers(found))
    for unit in found:
        if refusal := kernels.offer(unit):
            made.declined[f"static-int8:{unit.node.name}"] = refusal
    for node in graph:
        if is_moving(node):
            kernels.move(node)


def _values(made: Offer) -> Values:
    """The schemes by the method that was asked for, or where none was by what the outputs were seen to lose."""
    if made.options:
        return Values(made.imported.graph, made.observed, made.target.quantization, made.options[0])
    methods = {name: chosen.method for name, chosen in _chosen(made).items()}
    return Values(made.imported.graph, made.observed, made.target.quantization, METHOD, methods)


def _chosen(made: Offer) -> Mapping[str, Chosen]:
    found: Mapping[str, Chosen] = {} if made.options else made.evidence.kept.get(KEY, {})
    return found


def _readers(found: Sequence[Unit]) -> Counter[onnx_ir.Value]:
    """How many operators read each value."""
    return Counter(v for unit in found for v in dict.fromkeys(unit.node.inputs) if v is not None)


@dataclass
class _Kernels:
    """Makes the rows of one graph's integer kernels."""

    made: Offer
    values: Values
    integer: frozenset[onnx_ir.Node]
    """The nodes that may run on integers."""
    readers: Counter[onnx_ir.Value]
    lost: float = 0.0
    """What the outputs were measured to lose by roundings of the unit that is being offered."""
    weight: Reweighted | None = None
    """The unit's rounded weight, where it was fitted to the data."""
    offered: set[onnx_ir.Node] = field(default_factory=set)
    """The nodes that have an integer form."""

    def offer(self, unit: Unit) -> str:
        """Offer one unit; why not, where it cannot be."""
        node, output = unit.node, unit.output
        scheme = self._scheme(output)
        if scheme is None:
            return f"no finite range of {output.name} was seen"
        if node.op_type == "Softmax" and self.made.target.quantization.symmetric:
            return "probabilities have no symmetric range"
        if node.op_type in {"Add", "Mul"} and feeds_softmax(output):
            return "the Softmax behind it answers differences that a mask's range rounds away"
        self.lost, self.weight = 0.0, None
        inputs, error = self._inputs(unit)
        if inputs is None:
            return "its inputs have no integer form"
        result = _rows.operator(self.made, node, inputs)[0]
        if unit.activation is not None and not _is_done_by_rounding(unit.activation, scheme):
            if not self.made.target.quantization.symmetric:
                return f"no kernel does {unit.activation.op_type} on the way"
            result = self._activate(unit.activation, result)
        site = f"static-int8:{node.name or output.name}"
        number = self.made.imported.numbers[output]
        self.made.where[site] = output.name or ""
        if node.op_type in FLOAT_OUTPUT and unit.activation is None and not self._is_read_as_integers(output):
            self.made.alternatives.append(Alternative(site, number, result))
            self._known(site, error)
            return ""
        integers = _rows.rounded(self.made, result, output, scheme)
        back = _rows.dequantized(self.made, integers, output, scheme)
        whole = _rows.quantized(self.made, output, scheme)
        self.made.alternatives += [Alternative(site, number, back), Alternative(site, whole, integers)]
        self.offered |= {node} if unit.activation is None else {node, unit.activation}
        part = 1.0 / _SIDES if self._is_read_as_integers(output) else 1.0
        self._known(site, error + self._noise(output, scheme, part))
        return ""

    def _known(self, site: str, square: float) -> None:
        self.made.error[site] = math.sqrt(square)
        if self.weight is not None:
            self.made.weights[site] = self.weight
        if self.lost:
            self.made.measured[site] = self.lost

    def _is_read_as_integers(self, v: onnx_ir.Value) -> bool:
        """Whether all that reads a value may run on integers: then rounding it saves them the pass."""
        readers = [node for node, _ in v.uses()]
        return not v.is_graph_output() and all(node in self.integer for node in readers)

    def move(self, node: onnx_ir.Node) -> None:
        """State that moving integers gives the integers of what is moved: exact, since the scheme is one."""
        source = node.inputs[0]
        assert source is not None
        scheme = self._scheme(source)
        if scheme is None:
            return
        rest = [ABSENT if v is None else self.made.imported.numbers[v] for v in node.inputs[1:]]
        inside = _rows.dequantized(self.made, _rows.quantized(self.made, source, scheme), source, scheme)
        moved = _rows.operator(self.made, node, [inside, *rest])
        for v, number in zip((v for v in node.outputs if v.name), moved, strict=True):
            if self._scheme(v) == scheme:
                _rows.rounded(self.made, number, v, scheme, into=_rows.quantized(self.made, v, scheme))

    def _scheme(self, v: onnx_ir.Value) -> Scheme | None:
        producer = v.producer()
        if producer is not None and producer.op_type == "Softmax" and not self.values.recipe.symmetric:
            # The one scheme that the kernel gives.
            info = np.iinfo(self.values.recipe.activation)
            return Scheme(self.values.recipe.activation, 1 / 256, int(info.min))
        return self.values.scheme(v)

    def _noise(self, v: onnx_ir.Value, scheme: Scheme, part: float) -> float:
        """A unit's part of the mean square error of a value's scheme, relative to the value's own mean square.

        It is 0 where what the outputs lose by it was measured.
        """
        chosen = _chosen(self.made)
        known = [chosen[name].loss for name in self.values.sources(v) if name in chosen]
        if known:
            self.lost += part * sum(known)
            return 0.0
        seen = self.made.observed[v.name or ""].histogram
        return part * calibration.noise(seen, scheme.kept) / seen.energy if seen.energy else 0.0

    def _activate(self, activation: onnx_ir.Node, number: int) -> int:
        rest = [ABSENT if v is None else self.made.imported.numbers[v] for v in activation.inputs[1:]]
        return _rows.operator(self.made, activation, [number, *rest])[0]

    def _inputs(self, unit: Unit) -> tuple[list[int] | None, float]:
        """The numbers of a node's inputs as its kernel reads them, and the square of the error they bring."""
        node = unit.node
        if node.op_type in WEIGHTED and (w := node.inputs[1]) is not None and w.const_value is not None:
            return self._weighted(node, unit.output.name or "")
        numbers, error = [], 0.0
        for v in node.inputs if node.op_type not in FUSED else node.inputs[:1]:
            if v is None or not is_float(v):
                return None, 0.0
            number, added = self._constant(v) if v.const_value is not None else self._activation(v)
            if number is None:
                return None, 0.0
            numbers.append(number)
            error += added
        numbers += [self.made.imported.numbers[v] for v in node.inputs[1:] if v is not None and node.op_type in FUSED]
        # Of constants alone nothing is left to compute.
        return (numbers if any(v is not None and v.const_value is None for v in node.inputs) else None), error

    def _activation(self, v: onnx_ir.Value) -> tuple[int | None, float]:
        scheme = self._scheme(v)
        if scheme is None:
            return None, 0.0
        inside = _rows.dequantized(self.made, _rows.quantized(self.made, v, scheme), v, scheme)
        # One rounding serves the kernel that makes a value and all that read it, each of which may be chosen alone.
        sides = _SIDES if self._is_rounded_by_producer(v) else 1
        return inside, self._noise(v, scheme, 1.0 / (sides * max(1, self.readers[v])))

    def _is_rounded_by_producer(self, v: onnx_ir.Value) -> bool:
        """Whether a kernel may give a value as integers, so that a part of the error is that one's."""
        while (producer := v.producer()) is not None and is_moving(producer) and producer.inputs[0] is not None:
            v = producer.inputs[0]
        return producer is not None and producer in self.offered

    def _constant(self, v: onnx_ir.Value) -> tuple[int | None, float]:
        """A constant operand in the activations' type."""
        assert v.const_value is not None
        array = v.const_value.numpy()
        if not array.size or not np.isfinite(array).all():
            return None, 0.0
        kept = Range(min(float(array.min()), 0.0), max(float(array.max()), 0.0))
        if kept.high <= kept.low:
            return None, 0.0
        scheme = activation_scheme(kept, self.values.recipe)
        low, high = scheme.limits
        integers = np.clip(np.rint(array / np.float32(scheme.scale)) + scheme.zero, low, high).astype(scheme.dtype)
        gap = (integers.astype(np.float32) - scheme.zero) * np.float32(scheme.scale) - array
        number = _rows.constant_as_float(
            self.made, integers, np.array(scheme.scale, np.float32), zero=np.array(scheme.zero, scheme.dtype),
            axis=None, name=v.name or "constant",
        )  # fmt: skip
        return number, float(np.square(gap).sum() / np.square(array).sum())

    def _weighted(self, node: onnx_ir.Node, where: str) -> tuple[list[int] | None, float]:
        data, weight = node.inputs[0], node.inputs[1]
        assert data is not None
        assert weight is not None
        axis = _channel_axis(node)
        if data.const_value is not None or axis is None:
            return None, 0.0
        scheme = self._scheme(data)
        inside, error = self._activation(data)
        if scheme is None or inside is None or weight.const_value is None:
            return None, 0.0
        array = weight.const_value.numpy()
        bias = _bias(node, array.shape[axis])
        if not np.isfinite(array).all() or (bias is None and len(node.inputs) > 2 and node.inputs[2] is not None):
            return None, 0.0
        made = self._weight(node, array, axis, bias, scheme)
        name = weight.name or "weight"
        # QGemm alone asks for zero points that are written out.
        zero = np.zeros(made.scale.shape, np.int8) if node.op_type == "Gemm" else None
        numbers = [inside, _rows.constant_as_float(
            self.made, made.values, made.scale, zero=zero, axis=made.axis, name=name
        )]  # fmt: skip
        self._pack(node, array, made, _rows.constant(self.made, made.values, f"{name}_int8"), where)
        if bias is not None:
            numbers.append(self._bias(node, bias, scheme, made))
        return numbers, error + made.error**2

    def _pack(self, node: onnx_ir.Node, array: np.ndarray, weight: Weight, number: int, where: str) -> None:
        """State that the weight may lie in the file in 4 bits."""
        if weight.axis is None:
            return
        constant = _packing.Constant(number, array.shape, self._levels, weight.axis == 0, where)
        if weight.shift is not None:  # it was fitted
            output = node.outputs[0]
            small = known(self.made)[output.name or ""].rounded[self._levels].small
            _packing.fitted(self.made, constant, small, output)
        else:
            wide = [-1 if i == weight.axis else 1 for i in range(array.ndim)]
            _packing.rounded(self.made, constant, array / weight.scale.reshape(wide))

    @property
    def _levels(self) -> int:
        return REDUCED if self.values.recipe.reduced_range else WHOLE

    def _weight(
        self, node: onnx_ir.Node, array: np.ndarray, axis: int, bias: np.ndarray | None, scheme: Scheme
    ) -> Weight:
        recipe = self.values.recipe
        least = 0.0 if bias is None else least_scale(bias, scheme.scale)
        levels = self._levels
        if recipe.per_channel and self.made.opset >= PER_AXIS_OPSET:
            if (fitted := self._fitted(node, axis, levels, least)) is not None:
                return fitted
            rounded = quantize_weight(array, axis, levels=levels, least=least)
        else:
            rounded = quantize_weight(array, None, levels=levels, least=np.max(least))
        assert node.inputs[1] is not None
        self.weight = to_nearest(self.made, node.inputs[1], f"static {levels}", rounded.error, rounded.wide)
        return rounded

    def _fitted(self, node: onnx_ir.Node, axis: int, levels: int, least: np.ndarray | float) -> Weight | None:
        """The weight that was fitted to the data, where a bias leaves it its scales."""
        output = node.outputs[0]
        if (found := known(self.made).get(output.name or "")) is None:
            return None
        rounded = found.rounded[levels]
        if not (rounded.scale >= least).all():
            return None
        each = products(self.made)[output.name or ""]
        error = relative(self.made, output, rounded.gap, found.columns)
        self.weight = reweighted(self.made, output, rounded, str(levels))
        return Weight(each.stored(rounded.values), rounded.scale, axis, error, rounded.shift)

    def _bias(self, node: onnx_ir.Node, bias: np.ndarray, scheme: Scheme, weight: Weight) -> int:
        """The bias as the kernel wants it: integers of the accumulator's scale, or floats as it is."""
        value = node.inputs[2]
        assert value is not None
        if weight.shift is not None:
            bias = bias + weight.shift
        if not self.values.recipe.quantized_bias:
            if weight.shift is None:
                return self.made.imported.numbers[value]
            return _rows.constant(self.made, bias.astype(np.float32), f"{value.name}_corrected")
        scale = np.asarray(weight.scale * np.float32(scheme.scale), dtype=np.float32)
        integers = np.rint(bias.astype(np.float64) / scale).astype(np.int32)
        axis = None if weight.axis is None else 0
        zero = np.zeros(scale.shape, np.int32) if node.op_type == "Gemm" else None
        return _rows.constant_as_float(self.made, integers, scale, zero=zero, axis=axis, name=value.name or "bias")


def _channel_axis(node: onnx_ir.Node) -> int | None:
    """The axis of the weight that holds the output channels; None where the kernel has no form for the node."""
    weight = node.inputs[1]
    rank = weight.const_value.numpy().ndim if weight is not None and weight.const_value is not None else 0
    if node.op_type == "Conv":
        return 0
    if node.op_type == "MatMul":
        return 1 if rank == 2 else None
    if not is_plain_product(node):
        return None
    transposed = node.attributes.get("transB")
    return 0 if transposed is not None and transposed.as_int() else 1


def _bias(node: onnx_ir.Node, channels: int) -> np.ndarray | None:
    """The constant bias of a node as one number a channel; None where there is none of that form."""
    v = node.inputs[2] if len(node.inputs) > 2 else None
    if v is None or v.const_value is None:
        return None
    array = v.const_value.numpy()
    if array.ndim > 1 and array.size != array.shape[-1]:
        return None
    return np.broadcast_to(array.reshape(-1), channels) if array.size in {1, channels} else None


def _is_done_by_rounding(activation: onnx_ir.Node, scheme: Scheme) -> bool:
    """Whether cutting off at the ends of the integers' range does what the activation does."""
    kept = scheme.kept
    if activation.op_type == "Relu":
        return kept.low >= 0.0
    limits = [_limit(activation, 1, "min", -math.inf), _limit(activation, 2, "max", math.inf)]
    if None in limits:
        return False
    low, high = (limit for limit in limits if limit is not None)
    return kept.low >= low - scheme.scale / 2 and kept.high <= high + scheme.scale / 2


def _limit(clip: onnx_ir.Node, index: int, name: str, default: float) -> float | None:
    """A limit of a Clip: an attribute before opset 11, an input since; None where it is computed."""
    if (attribute := clip.attributes.get(name)) is not None:
        return float(attribute.as_float())
    v = clip.inputs[index] if index < len(clip.inputs) else None
    if v is None:
        return default
    return None if v.const_value is None else float(v.const_value.numpy().item())
