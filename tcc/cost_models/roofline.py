"""The roofline: a kernel takes the longer of computing and moving its bytes, and its launch (Williams et al., 2009)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tcc.cost_models import _operations as operations
from tcc.cost_models._fusions import NARROW, Cost, fusions_of
from tcc.cost_models._operations import Count, Node, Sized
from tcc.ir.attributes import plain
from tcc.ir.model import tensor_type
from tcc.ir.types import BITS, TensorType
from tcc.targets import FrozenMapping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir

    from tcc.targets import Target

SLOWER = {
    "float64": ("float32", 0.5), "float16": ("float32", 0.5), "bfloat16": ("float32", 0.5),
    "float8e4m3fn": ("float16", 1.0), "float8e4m3fnuz": ("float16", 1.0), "float8e5m2": ("float16", 1.0),
    "float8e5m2fnuz": ("float16", 1.0), "float8e8m0": ("float16", 1.0), "float4e2m1": ("float16", 1.0),
    "uint2": ("int8", 1.0), "int2": ("int8", 1.0), "uint4": ("int8", 1.0), "int4": ("int8", 1.0),
    "uint8": ("int8", 1.0), "int8": ("float32", 1.0), "bool": ("int8", 1.0),
    "uint16": ("float32", 1.0), "int16": ("float32", 1.0), "uint32": ("float32", 1.0), "int32": ("float32", 1.0),
    "uint64": ("float32", 0.5), "int64": ("float32", 0.5), "complex64": ("float32", 0.25),
    "complex128": ("float64", 0.25), "string": ("float32", 0.05),
}  # fmt: skip
"""Where a target states no rate for an element type: the type that stands in, and the part of its rate that is left.

Half precision without hardware is computed in float32 between casts; 64-bit lanes hold half as many elements.
"""

_SMALLEST_WINDOW, _BLOCKED = 3, 4
"""Dimensions of a convolution's weight: at least, and for kernels on channel blocks."""
VIEW = 0.1
"""A view's part of a launch: nothing is computed, but an executor still steps over it."""
FOLDED = 1e-9
"""Seconds for a node whose inputs are all constant: it is folded before the model runs, and yet one fewer is better."""
SMALL_KERNEL = 32_768
"""Float operations that one thread does in a small kernel's launch, where the kernels' fixed parts were fitted.

A kernel's fixed part is work of the processor: a target's launch, which may be an engineer's estimate or measured on
several threads, says what dispatch takes and would multiply its own error.
"""
GRAIN = 131_072
"""Operations that one thread does before a second one starts (MLAS: 64 Ki multiply-accumulates a thread)."""
CACHED = 3.0
"""How much faster than main memory the last cache level is, for what fits into half of it."""
WARM, COLD = 0.25, 8.0
"""What is left of a kernel's fixed part where all weights stay in a core's own cache, and how many times more than that
cache holds make the whole of it: code, packed weights and operands then come from farther away (profiles of models of
27 kB to 61 MB; a dense convolution's fixed part is 1.5 µs below 1 MiB and 7 µs from 8 MiB on).
"""


@dataclass(frozen=True)
class Price:
    """What a node costs: seconds (always positive), operations (two a multiply-accumulate), bytes moved."""

    seconds: float
    operations: float
    nbytes: float


def unaware(target: Target) -> Target:
    """The target with prices that know no hardware: bit operations, the bits of both factors multiplied.

    Nothing but work costs time then: no bytes, no launches, no caches. Source: BOPs, as in van Baalen et al.,
    Bayesian Bits, 2020, section 2.3.
    """
    rates = {dtype: 1e12 * (32 / bits) ** 2 for dtype, bits in BITS.items() if bits}
    return replace(
        target, peak=FrozenMapping(rates), bandwidth=1e30, launch_overhead=1e-12, single_thread=1.0, caches=(),
        composed=FrozenMapping(), alignment=1,
    )  # fmt: skip


class Roofline:
    """Prices nodes for one target.

    Args:
        target: whose kernels run.
        symbols: sizes of symbolic dimensions.
        default_dimension: that of dimensions which have no name.
        weights: bytes of all constants of the model that the nodes are part of. What stays in the caches from one run
            to the next is read from there; without a number nothing does.
    """

    def __init__(
        self,
        target: Target,
        symbols: Mapping[str, int] | None = None,
        default_dimension: int = 1,
        weights: float = math.inf,
    ) -> None:
        self.target = target
        self._symbols = dict(symbols or {})
        self._default = default_dimension
        self._rates = {dtype: self._rate(dtype) for dtype in BITS}
        self._slowest = min(self._rates.values())
        self._cached = target.caches[-1].nbytes / 2 if target.caches else 0.0
        self._near = CACHED if weights <= self._cached else 1.0
        self._fixed_part = _fixed_part(target, weights)
        self._single = target.single_thread
        self._sizes: dict[TensorType, Sized] = {}
        self._costs = fusions_of(target).costs
        # Where a launch is worth nothing, because it is not time that is counted, nor is this.
        self.folded = min(FOLDED, target.launch_overhead)

    def price(
        self,
        operator: str,
        attributes: Mapping[str, object],
        inputs: Sequence[TensorType | None],
        outputs: Sequence[TensorType | None],
        constant_inputs: Sequence[bool] = (),
    ) -> Price:
        """The price of one node; never raises for shapes that are unknown (each counts as one element).

        ``constant_inputs`` says which inputs are initialisers: they stream from main memory, where activations
        that fit stay in the cache. A node with subgraphs is priced without what they do.
        """
        if constant_inputs and all(constant_inputs) and operator not in operations.RANDOM:
            return Price(self.folded, 0.0, 0.0)
        launch = self.target.launch_overhead
        if operator in operations.VIEWS:
            return Price(VIEW * launch, 0.0, 0.0)
        sized = self._sizes.get
        node = Node(
            attributes,
            [operations.ABSENT if t is None else sized(t) or self._size(t) for t in inputs],
            [operations.ABSENT if t is None else sized(t) or self._size(t) for t in outputs],
        )
        count = operations.COUNTS.get(operator, operations.UNKNOWN)
        work = count.operations(node)
        streamed, kept = _traffic(operator, node, constant_inputs)
        dtype = "int8" if count.integer else _dtype(inputs, outputs)
        speed = self._rates.get(dtype, self._slowest)
        padded = _padded(work, count, node, self.target.alignment)
        moving = streamed / self._near + kept / (CACHED if kept <= self._cached else 1.0)
        moving /= self.target.bandwidth
        kernels = self.target.composed.get(operator, 1)
        if (cost := self._costs.get(_kernel(operator, node, constant_inputs, self.target.alignment))) is not None:
            if not count.integer and "float" not in dtype:
                speed = self._rates["float32"]  # what is done to integers one by one is done in floating point
            computing = self._computing(_weighed(cost, operator, padded, node, constant_inputs), speed)
            seconds = max(computing, moving / operations.STREAMING) + self._fixed(cost)
            return Price(kernels * seconds, work, streamed + kept)
        computing = self._computing(padded, speed)
        efficiency = count.efficiency
        if _is_grouped(count, attributes):
            efficiency *= operations.GROUPED / operations.DENSE
        return Price(kernels * (max(computing, moving) / efficiency + launch), work, streamed + kept)

    def price_of(self, node: onnx_ir.Node) -> Price:
        """The price of a model's node as it stands, whose values have their types (``tcc.ir.inference.annotate``)."""
        return self.price(
            node.op_type, plain(node) or {}, [None if v is None else tensor_type(v) for v in node.inputs],
            [tensor_type(v) for v in node.outputs], [v is not None and v.const_value is not None for v in node.inputs],
        )  # fmt: skip

    def _size(self, tensor: TensorType) -> Sized:
        shape = tensor.sizes(self._symbols, self._default)
        elements = tensor.elements(self._symbols, self._default)
        self._sizes[tensor] = sized = Sized(shape, elements, elements * BITS.get(tensor.dtype, 32) / 8)
        return sized

    def _computing(self, work: float, speed: float) -> float:
        """Seconds: the first grain of work runs on one thread, the rest on all."""
        alone = min(work, GRAIN)
        return alone / (speed * self._single) + (work - alone) / speed

    def _fixed(self, cost: Cost) -> float:
        """Seconds that a kernel takes whatever its size."""
        launch = self.target.launch_overhead
        small = min(launch, SMALL_KERNEL / (self._rates["float32"] * self._single))
        return launch + max(0.0, cost.launches * self._fixed_part - 1) * small

    def _rate(self, dtype: str) -> float:
        """Operations per second in ``dtype``, that of a slower type where the target states none."""
        part = 1.0
        while dtype not in self.target.peak:
            if dtype not in SLOWER:
                return part * min(self.target.peak.values())
            dtype, left = SLOWER[dtype]
            part *= left
        return part * self.target.peak[dtype]


class Summed(Roofline):
    """The prices of several targets added up: energy is what computing takes and what moving takes."""

    def __init__(
        self, targets: Sequence[Target], symbols: Mapping[str, int] | None = None, weights: float = math.inf
    ) -> None:
        super().__init__(targets[0], symbols, weights=weights)
        self._each = [Roofline(target, symbols, weights=weights) for target in targets]
        self.folded = sum(each.folded for each in self._each)

    def price(
        self,
        operator: str,
        attributes: Mapping[str, object],
        inputs: Sequence[TensorType | None],
        outputs: Sequence[TensorType | None],
        constant_inputs: Sequence[bool] = (),
    ) -> Price:
        """The sum of the prices of one node."""
        found = [each.price(operator, attributes, inputs, outputs, constant_inputs) for each in self._each]
        return replace(found[0], seconds=sum(price.seconds for price in found))


def _dtype(inputs: Sequence[TensorType | None], outputs: Sequence[TensorType | None]) -> str:
    """The type that a node computes in: that of its first float input, else of its first tensor."""
    first = ""
    for tensor in (*inputs, *outputs):
        if tensor is not None:
            if "float" in tensor.dtype:
                return tensor.dtype
            first = first or tensor.dtype
    return first


def _traffic(operator: str, node: Node, constant: Sequence[bool]) -> tuple[float, float]:
    """Bytes of initialisers, which come from main memory, and of activations."""
    kept = sum([tensor.nbytes for tensor in node.outputs])
    streamed = 0.0
    for index, tensor in enumerate(node.inputs):
        read = tensor.nbytes
        if index == 0 and operator in operations.READS_RESULTS:
            read = min(read, kept)
        if index < len(constant) and constant[index]:
            streamed += read
        else:
            kept += read
    return streamed, kept


def _fixed_part(target: Target, weights: float) -> float:
    """What a kernel's fixed part is multiplied by in a model with so many bytes of weights."""
    if not target.caches:
        return 1.0
    own = target.caches[min(1, len(target.caches) - 1)].nbytes
    grown = math.log(max(weights, own) / own) / math.log(COLD) if math.isfinite(weights) else 1.0
    return WARM + (1.0 - WARM) * min(1.0, grown)


def _kernel(operator: str, node: Node, constant: Sequence[bool], alignment: int) -> str:
    """What a kernel's measured cost goes by.

    Convolutions on blocks of channels want weights that are known when the model is loaded, and two dimensions;
    grouped ones run on whole vectors of channels, one by one, or as narrow products.
    Pools of integers have kernels of their own.
    """
    if operator.endswith("Pool"):
        pooled = node.input(0)
        return f"{operator}/integer" if pooled.elements == pooled.nbytes > 0 else operator
    weight = _weight(operator, node).shape
    if not operator.endswith("Conv") or len(weight) < _SMALLEST_WINDOW:
        return operator
    integer = operator.startswith("QLinear")
    computed = any(not held and node.input(i).elements for i, held in enumerate(constant) if i)
    known = integer or (len(weight) == _BLOCKED and not computed)
    if node.attributes.get("group", 1) == 1:
        return operator if known else f"{operator}/computed"
    if known and weight[0] % alignment == 0 and (weight[1] == 1 or weight[1] % alignment == 0):
        return f"{operator}/grouped"
    return f"{operator}/{'scattered' if weight[1] == 1 else 'narrow'}"


def _weight(operator: str, node: Node) -> Sized:
    """The second factor of a product or convolution."""
    return node.input(3 if operator.startswith(("QLinear", "QGemm")) else 1)


def _weighed(cost: Cost, operator: str, work: float, node: Node, constant: Sequence[bool]) -> float:
    """All that a kernel does, in operations of the peak rate; ``work`` is its arithmetic, as its lanes do it."""
    total = cost.operation * work + cost.result * node.results + cost.read * node.input(0).elements
    second = 3 if operator.startswith(("QLinear", "QGemm")) else 1
    if cost.packed and not (second < len(constant) and constant[second]):
        total += cost.packed * node.input(second).elements
    weight = node.input(second).shape
    if cost.rows:
        total += cost.rows * node.results / max(1, weight[0] if weight else 1)
    if cost.groups:
        group = node.attributes.get("group", 1)
        total += cost.groups * (node.outputs[0].shape or (1,))[0] * (group if isinstance(group, int) else 1)
    if cost.gathered and len(weight) > 1 and weight[1] < NARROW and math.prod(weight[2:]) > 1:
        total += cost.gathered * node.results / max(1, weight[0]) * math.prod(weight[1:])
    return total


def _is_grouped(count: Count, attributes: Mapping[str, object]) -> bool:
    """Whether a convolution is split into groups, whose short inner products leave multipliers idle."""
    return count.width in {operations.channels, operations.filters} and attributes.get("group", 1) != 1


def _padded(work: float, count: Count, node: Node, alignment: int) -> float:
    """The work that the lanes do: a dense kernel computes its last, partly filled vector in full."""
    if count.width is None or not work:
        return work
    width = count.width(node)
    return work * (-(-width // alignment) * alignment / width) if width else work
