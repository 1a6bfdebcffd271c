"""How much each ONNX operator computes: operation counts by name, two for each multiply-accumulate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple


class Sized(NamedTuple):
    """A tensor with concrete sizes; what is absent or unknown has no dimensions."""

    shape: tuple[int, ...]
    elements: int
    nbytes: float


class Node(NamedTuple):
    """An operator's attributes and its tensors, absent optional inputs included."""

    attributes: Mapping[str, object]
    inputs: Sequence[Sized]
    outputs: Sequence[Sized]

    def input(self, index: int) -> Sized:
        """The input at ``index``, or an empty one."""
        return self.inputs[index] if index < len(self.inputs) else ABSENT

    @property
    def results(self) -> int:
        """The elements of the first output."""
        return self.outputs[0].elements if self.outputs else 0


class Count(NamedTuple):
    """What an operator computes.

    ``efficiency`` is the part of the roof that its kernels reach; ``width`` gives the dimension that is padded to
    the target's alignment (0: none is); ``integer`` says that it computes in int8 whatever its float inputs.
    """

    operations: Callable[[Node], float]
    efficiency: float
    width: Callable[[Node], int] | None = None
    integer: bool = False


ABSENT = Sized((), 0, 0.0)

# Parts of the roof that well-made kernels reach, by the kind of their inner loop. They rank programs; they do not
# predict a run to better than a factor of two, which is what measuring is for. Compared with onnxruntime 1.31 on one
# AVX512-VNNI core (SqueezeNet, two MobileNets, DS-CNN, all optimisations on): totals 0.6 to 1.2 of the measured
# ones, rank correlation over the nodes 0.84 to 0.94. Without the channel-blocked kernels of that highest level
# (a model saved at EXTENDED and run as it is), onnxruntime's depthwise convolutions take 3 to 12 times as long.
DENSE, GROUPED, RECURRENT, STREAMING, SCATTERED = 0.7, 0.2, 0.35, 0.7, 0.35
# Integer products rescale and clamp each result. Static INT8 forms of eight networks, profiled with onnxruntime 1.31 on
# one AVX512-VNNI core, take 1.3 to 1.7 times what the floating-point kernels' part of the roof would give.
INTEGER = 0.48


def _last(shape: tuple[int, ...]) -> int:
    return shape[-1] if shape else 1


def _integer(value: object, default: int) -> int:
    return int(value) if isinstance(value, int | float) else default


def _taps(node: Node, weight: int) -> int:
    """Multiply-accumulates of one result: of a weight [M, C/group, k...], all but its first dimension."""
    shape = node.input(weight).shape
    if len(shape) > 1:
        return math.prod(shape[1:])
    return _kernel(node)


def _kernel(node: Node) -> int:
    """The positions that a window covers."""
    kernel = node.attributes.get("kernel_shape")
    if not isinstance(kernel, Iterable) or isinstance(kernel, str | bytes):
        return 1
    return math.prod(_integer(size, 1) for size in kernel)


def convolution(weight: int) -> Callable[[Node], float]:
    """Each result gathers its taps; a bias is what its sum begins with, in place of zero."""

    def operations(node: Node) -> float:
        return node.results * 2.0 * _taps(node, weight)

    return operations


def transposed_convolution(node: Node) -> float:
    """Each input element is scattered through the weight [C, M/group, k...]."""
    return 2.0 * node.input(0).elements * _taps(node, 1)


def product(node: Node) -> float:
    """Each result sums over the last dimension of the left side."""
    left = node.input(0).shape
    transposed = node.attributes.get("transA") and len(left) > 1
    return 2.0 * node.results * (left[-2] if transposed else _last(left))


def affine_product(node: Node) -> float:
    """A product [M, K] x [K, N] and its third input, added to each result."""
    return product(node) + node.results * (node.input(2).elements > 0)


def attention(node: Node) -> float:
    """Scores and their weighted sum, Q Kᵀ and P V; the contrib form multiplies by its packed weight [D, 3D] first."""
    queries, second = node.input(0), node.input(1)
    if len(queries.shape) == 3 and len(second.shape) == 2:
        length, hidden = queries.shape[1], second.shape[1] // 3
        tokens = queries.shape[0] * length
        return 2.0 * tokens * second.elements + 4.0 * tokens * length * hidden
    length = second.shape[-2] if len(second.shape) > 1 else 1
    past = node.input(4).shape
    length += past[-2] if len(past) == 4 else 0
    return 2.0 * length * (queries.elements + node.results) + 10.0 * queries.elements


def recurrence(node: Node) -> float:
    """Every step of X [T, B, I] multiplies by W [D, G·H, I] and R [D, G·H, H]."""
    steps = math.prod(node.input(0).shape[:2])
    return 2.0 * steps * (node.input(1).elements + node.input(2).elements) + 10.0 * node.results


def einsum(node: Node) -> float:
    """One multiply-accumulate for each point of the index space and each operand after the first."""
    equation = node.attributes.get("equation", "")
    text = equation.decode() if isinstance(equation, bytes) else str(equation)
    sizes: dict[str, int] = {}
    for term, operand in zip(text.replace(" ", "").partition("->")[0].split(","), node.inputs, strict=False):
        before, dots, after = term.partition("...")
        batch = len(operand.shape) - len(before) - len(after) if dots else 0
        # Batch dimensions broadcast from the right, so they are numbered from there.
        labels = [*before, *(f"...{i}" for i in range(batch, 0, -1)), *after]
        for label, size in zip(labels, operand.shape, strict=False):
            sizes[label] = max(sizes.get(label, 1), size)
    points = float(math.prod(sizes.values()))
    return points * max(1, 2 * (len(node.inputs) - 1))


def each_result(cost: float) -> Callable[[Node], float]:
    """A fixed number of operations for each element of the first output."""
    return lambda node: cost * node.results


def each_input(cost: float) -> Callable[[Node], float]:
    """A fixed number of operations for each element of the first input."""
    return lambda node: cost * node.input(0).elements


def chain(node: Node) -> float:
    """Two operations for each result and each of the operators that ``count`` says a kernel runs in a chain."""
    count = node.attributes.get("count", 1)
    return 2.0 * node.results * (count if isinstance(count, int) else 1)


def window(node: Node) -> float:
    """One operation for each position of the window and each result."""
    return float(node.results * _kernel(node))


def selection(node: Node) -> float:
    """Comparison sort of the first input."""
    count = node.input(0).elements
    return 2.0 * count * math.log2(count + 2)


def nothing(_: Node) -> float:
    """Moves data, computes nothing."""
    return 0.0


def channels(node: Node) -> int:
    """The channels of the result [N, C, ...]; 0 where it has none."""
    shape = node.outputs[0].shape if node.outputs else ()
    return shape[1] if len(shape) > 1 else 0


def filters(node: Node) -> int:
    """The filters of an integer convolution's weight [M, C/group, ...], whose result may have its channels last."""
    shape = node.input(3).shape
    return shape[0] if shape else channels(node)


def columns(node: Node) -> int:
    """The columns of the result [..., N]; 0 where it has none."""
    shape = node.outputs[0].shape if node.outputs else ()
    return shape[-1] if len(shape) > 1 else 0


def _all(names: str, count: Count) -> dict[str, Count]:
    return dict.fromkeys(names.split(), count)


COUNTS: dict[str, Count] = {
    **_all("Conv FusedConv NhwcFusedConv", Count(convolution(1), DENSE, channels)),
    **_all("ConvInteger", Count(convolution(1), INTEGER, channels, integer=True)),
    **_all("QLinearConv", Count(convolution(3), INTEGER, filters, integer=True)),
    **_all("ConvTranspose", Count(transposed_convolution, DENSE, channels)),
    **_all("DeformConv", Count(convolution(1), GROUPED)),
    **_all("MatMul FusedMatMul MatMulNBits", Count(product, DENSE, columns)),
    **_all("Gemm FusedGemm", Count(affine_product, DENSE, columns)),
    **_all("MatMulInteger QLinearMatMul DynamicQuantizeMatMul MatMulIntegerToFloat QGemm",
           Count(product, INTEGER, columns, integer=True)),
    **_all("Einsum", Count(einsum, DENSE)),
    **_all("Attention MultiHeadAttention GroupQueryAttention", Count(attention, DENSE)),
    **_all("QAttention", Count(attention, DENSE, integer=True)),
    **_all("LSTM GRU RNN", Count(recurrence, RECURRENT)),
    **_all("DynamicQuantizeLSTM", Count(recurrence, RECURRENT, integer=True)),
    **_all("MaxPool AveragePool LpPool NhwcMaxPool QLinearAveragePool MaxRoiPool", Count(window, STREAMING)),
    **_all("GlobalAveragePool GlobalMaxPool GlobalLpPool QLinearGlobalAveragePool ReduceSum ReduceMean ReduceMax "
           "ReduceMin ReduceProd ReduceL1 ReduceSumSquare ArgMax ArgMin CumSum", Count(each_input(1), STREAMING)),
    **_all("ReduceL2 ReduceLogSum LpNormalization MeanVarianceNormalization", Count(each_input(4), STREAMING)),
    **_all("ReduceLogSumExp", Count(each_input(12), STREAMING)),
    **_all("BatchNormalization", Count(each_input(2), STREAMING)),
    **_all("LayerNormalization InstanceNormalization GroupNormalization RMSNormalization SimplifiedLayerNormalization "
           "SkipLayerNormalization SkipSimplifiedLayerNormalization", Count(each_input(8), STREAMING)),
    **_all("LRN", Count(each_input(12), STREAMING)),
    **_all("Softmax LogSoftmax QLinearSoftmax Hardmax", Count(each_input(12), STREAMING)),
    **_all("Exp Log Tanh Sigmoid Erf Softplus Mish Elu Selu Celu Gelu BiasGelu FastGelu QuickGelu Swish Pow Sin Cos "
           "Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh QLinearSigmoid", Count(each_result(12), STREAMING)),
    **_all("Div Sqrt Reciprocal Mod Softsign RotaryEmbedding", Count(each_result(4), STREAMING)),
    **_all("HardSwish HardSigmoid QuantizeLinear DynamicQuantizeLinear QLinearAdd QLinearMul Round",
           Count(each_result(3), STREAMING)),
    **_all("Clip LeakyRelu PRelu ThresholdedRelu Shrink Where DequantizeLinear", Count(each_result(2), STREAMING)),
    **_all("Add Sub Mul Neg Abs Max Min Mean Sum Relu Sign Floor Ceil Not And Or Xor Equal Less Greater LessOrEqual "
           "GreaterOrEqual IsNaN IsInf Cast CastLike BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot",
           Count(each_result(1), STREAMING)),
    **_all("PointWise", Count(chain, STREAMING)),
    **_all("Resize Upsample GridSample RoiAlign AffineGrid", Count(each_result(8), SCATTERED)),
    **_all("TopK Unique NonMaxSuppression", Count(selection, SCATTERED)),
    **_all("Transpose DepthToSpace SpaceToDepth ScatterElements ScatterND Scatter OneHot ReverseSequence Compress "
           "NonZero Col2Im Gather GatherElements GatherND EmbedLayerNormalization", Count(nothing, SCATTERED)),
    **_all("Concat Split Slice Pad Expand Tile ConstantOfShape Range EyeLike Trilu", Count(nothing, STREAMING)),
}  # fmt: skip
"""What each operator computes; one that is not here computes an operation for each element of its outputs."""

UNKNOWN = Count(each_result(1), STREAMING)

VIEWS = frozenset({
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Shape", "Size", "Constant", "Optional",
    "OptionalHasElement", "OptionalGetElement", "SequenceConstruct", "SequenceLength", "SequenceAt",
})  # fmt: skip
"""Operators that give their input under another shape, or a fact about it: no element is read."""

READS_RESULTS = frozenset({"Gather", "GatherElements", "GatherND", "Slice", "EmbedLayerNormalization"})
"""Operators that read of their first input no more than they write: an embedding's table is not streamed."""

RANDOM = frozenset({
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli",
})  # fmt: skip
"""Operators whose result is not constant though all their inputs are."""
