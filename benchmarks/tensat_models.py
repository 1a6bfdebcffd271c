"""Builds the seven networks that tensor superoptimisers are judged on, at their published sizes, with seeded weights.

BERT, NasRNN, NasNet-A and ResNeXt-50 are built as TASO (SOSP 2019) and Tensat (MLSys 2021) build them: without
biases, and BERT without softmax; the others as their own papers give them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IMAGE = 224


@dataclass
class Network:
    """A graph that is being built; shapes are followed as far as the weights ask for it."""

    name: str
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def input(self, name: str, *shape: int) -> str:
        """An input of the graph."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.shapes[name] = shape
        return name

    def weight(self, *shape: int, gain: float = 2.0) -> str:
        """A weight whose variance is ``gain`` over the number of summands: what it multiplies keeps its size."""
        fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
        array = self.rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(gain / fan_in))
        return self.constant(array)

    def constant(self, array: np.ndarray) -> str:
        """An initialiser."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        self.shapes[name] = array.shape
        return name

    def add(self, operator: str, inputs: Sequence[str], shape: Sequence[int], **attributes: Any) -> str:
        """A node; returns its output, of this shape."""
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], f"{name}/{operator}", **attributes))
        self.shapes[name] = tuple(shape)
        return name

    def unary(self, operator: str, x: str) -> str:
        """An elementwise node."""
        return self.add(operator, [x], self.shapes[x])

    def binary(self, operator: str, x: str, y: str) -> str:
        """An elementwise node of two values of one shape."""
        return self.add(operator, [x, y], self.shapes[x])

    def matmul(self, x: str, y: str) -> str:
        """A matrix product."""
        return self.add("MatMul", [x, y], (*self.shapes[x][:-1], self.shapes[y][-1]))

    def convolve(
        self, x: str, channels: int, kernel: int | tuple[int, int], stride: int = 1, *, pad: str = "same",
        groups: int = 1, bias: bool = False, gain: float = 2.0,
    ) -> str:  # fmt: skip
        """A convolution; ``pad`` is ``same`` or ``valid`` as TensorFlow means them, or a number on each side."""
        _, width, *_ = self.shapes[x]
        window = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        weight = self.weight(channels, width // groups, *window, gain=gain)
        inputs = [x, weight]
        if bias:
            inputs.append(self.constant(self.rng.standard_normal(channels, np.float32) * np.float32(0.1)))
        pads, sizes = self._window(x, window, stride, pad)
        return self.add(
            "Conv", inputs, (1, channels, *sizes), kernel_shape=window, strides=[stride] * 2, pads=pads, group=groups
        )

    def pool(self, operator: str, x: str, kernel: int, stride: int, pad: str = "same") -> str:
        """A pooling."""
        pads, sizes = self._window(x, (kernel, kernel), stride, pad)
        return self.add(
            operator, [x], (*self.shapes[x][:2], *sizes), kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads
        )

    def _window(self, x: str, window: tuple[int, int], stride: int, pad: str) -> tuple[list[int], list[int]]:
        starts, ends, sizes = [], [], []
        for size, kernel in zip(self.shapes[x][2:], window, strict=True):
            if pad == "same":
                total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
                starts.append(total // 2)
                ends.append(total - total // 2)
            else:
                starts.append(0 if pad == "valid" else int(pad))
                ends.append(starts[-1])
            sizes.append((size + starts[-1] + ends[-1] - kernel) // stride + 1)
        return starts + ends, sizes

    def concat(self, *values: str) -> str:
        """Images joined along their channels."""
        first = self.shapes[values[0]]
        return self.add("Concat", values, (1, sum(self.shapes[v][1] for v in values), *first[2:]), axis=1)

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The finished model."""
        infos = [helper.make_tensor_value_info(v, TensorProto.FLOAT, self.shapes[v]) for v in outputs]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, infos, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def bert() -> onnx.ModelProto:
    """8 layers, 64 tokens, 1024 features, 16 heads; each layer's attention is an output, as Tensat has it."""
    net, length, width, heads = Network("bert"), 64, 1024, 16
    split = net.constant(np.array([length, heads, width // heads]))
    joined = net.constant(np.array([length, width]))
    current, outputs = net.unary("Relu", net.input("x", length, width)), []
    for _ in range(8):
        parts = []
        for _ in "qkv":
            product = net.matmul(current, net.weight(width, width, gain=1.0))
            part = net.add("Reshape", [product, split], (length, heads, width // heads))
            parts.append(net.add("Transpose", [part], (heads, length, width // heads), perm=[1, 0, 2]))
        made = net.matmul(net.matmul(parts[0], parts[1]), parts[2])
        turned = net.add("Transpose", [made], (length, heads, width // heads), perm=[1, 0, 2])
        outputs.append(net.add("Reshape", [turned, joined], (length, width)))
        current = net.matmul(current, net.weight(width, width, gain=1.0))
    return net.model(*outputs, current)


def nasrnn() -> onnx.ModelProto:
    """5 steps of the cell that the search of Zoph and Le (2017) found, 512 features."""
    net, width = Network("nasrnn"), 512
    steps = [net.input(f"x{i}", 1, width) for i in range(5)]
    state = net.weight(1, width, gain=0.01)
    for x in steps:
        t = [
            net.binary("Add", net.matmul(x, net.weight(width, width, gain=0.5)),
                       net.matmul(state, net.weight(width, width, gain=0.5)))
            for _ in range(8)
        ]  # fmt: skip
        pairs = (
            ("Add", "Relu", t[0], "Sigmoid", t[3]), ("Add", "Sigmoid", t[1], "Tanh", t[2]),
            ("Mul", "Sigmoid", t[4], "Tanh", t[5]), ("Mul", "Sigmoid", t[6], "Relu", t[7]),
        )  # fmt: skip
        m = [net.binary(op, net.unary(f, a), net.unary(g, b)) for op, f, a, g, b in pairs]
        m.append(net.binary("Add", net.unary("Sigmoid", m[1]), net.unary("Tanh", m[2])))
        m.append(net.binary("Mul", net.unary("Tanh", m[0]), net.unary("Tanh", m[3])))
        m.append(net.binary("Mul", net.unary("Tanh", m[4]), net.unary("Tanh", m[5])))
        state = net.unary("Tanh", m[6])
    return net.model(state)


def resnext50() -> onnx.ModelProto:
    """32 groups, 224 pixels (Xie et al., 2017)."""
    net = Network("resnext50")
    x = net.unary("Relu", net.convolve(net.input("x", 1, 3, IMAGE, IMAGE), 64, 7, 2))
    x = net.pool("MaxPool", x, 3, 2)
    for blocks, width, first in ((3, 128, 1), (4, 256, 2), (6, 512, 2), (3, 1024, 2)):
        for i in range(blocks):
            stride = first if i == 0 else 1
            made = net.unary("Relu", net.convolve(x, width, 1))
            made = net.unary("Relu", net.convolve(made, width, 3, stride, groups=32))
            made = net.convolve(made, 2 * width, 1, gain=0.5)
            if stride > 1 or net.shapes[x][1] != 2 * width:
                x = net.unary("Relu", net.convolve(x, 2 * width, 1, stride, gain=1.0))
            x = net.unary("Relu", net.binary("Add", x, made))
    return net.model(x)


class _NasNet(Network):
    """The cells of NASNet-A (Zoph et al., 2018)."""

    def squeezed(self, x: str, channels: int) -> str:
        return self.unary("Relu", self.convolve(x, channels, 1))

    def fitted(self, current: str, x: str) -> str:
        channels, size = self.shapes[current][1:3]
        if self.shapes[x][2] == size:
            return self.squeezed(x, channels)
        return self.unary("Relu", self.convolve(x, channels, 3, 2))

    def separable(self, x: str, channels: int, kernel: int, stride: int = 1) -> str:
        return self.convolve(
            self.convolve(x, channels, kernel, stride, groups=channels, gain=1.0), channels, 1, gain=0.5
        )

    def normal(self, before: str, x: str, channels: int) -> str:
        x = self.squeezed(x, channels)
        before = self.fitted(x, before)
        pairs = (
            (self.separable(x, channels, 3), x),
            (self.separable(before, channels, 3), self.separable(x, channels, 3)),
            (self.pool("AveragePool", x, 3, 1), before),
            (self.pool("AveragePool", before, 3, 1), self.pool("AveragePool", before, 3, 1)),
            (self.separable(before, channels, 3), self.separable(before, channels, 3)),
        )
        return self.concat(*(self.binary("Add", a, b) for a, b in pairs))

    def reduction(self, before: str, x: str, channels: int) -> str:
        x = self.squeezed(x, channels)
        before = self.fitted(x, before)
        made = [self.binary("Add", self.separable(before, channels, 7, 2), self.separable(x, channels, 5, 2))]
        made.append(self.binary("Add", self.pool("MaxPool", x, 3, 2), self.separable(before, channels, 7, 2)))
        made.append(self.binary("Add", self.pool("AveragePool", x, 3, 2), self.separable(before, channels, 5, 2)))
        made.append(self.binary("Add", self.pool("MaxPool", x, 3, 2), self.separable(made[0], channels, 3)))
        made.append(self.binary("Add", self.pool("AveragePool", made[0], 3, 1), made[1]))
        return self.concat(*made)


def nasnet_a() -> onnx.ModelProto:
    """3 times 5 normal cells and a reduction, from 128 channels on, 224 pixels."""
    net, channels = _NasNet("nasnet_a"), 128
    x = net.unary("Relu", net.convolve(net.input("x", 1, 3, IMAGE, IMAGE), 64, 7, 2))
    x = net.pool("MaxPool", x, 3, 2)
    for _ in range(3):
        before = current = x
        for _ in range(5):
            before, current = current, net.normal(before, current, channels)
        channels *= 2
        x = net.reduction(before, current, channels)
    return net.model(x)


class _Inception(Network):
    """The blocks of Inception-v3 (Szegedy et al., 2016): every convolution with a normalization of its own."""

    def block(self, x: str, channels: int, kernel: int | tuple[int, int], stride: int = 1, pad: str = "same") -> str:
        made = self.convolve(x, channels, kernel, stride, pad=pad)
        statistics = [self.rng.uniform(0.8, 1.2, channels), *self.rng.standard_normal((2, channels)) * 0.1]
        statistics.append(self.rng.uniform(0.8, 1.2, channels))
        names = [self.constant(array.astype(np.float32)) for array in statistics]
        return self.unary("Relu", self.add("BatchNormalization", [made, *names], self.shapes[made], epsilon=1e-3))

    def chain(self, x: str, *steps: tuple[int, int | tuple[int, int]]) -> str:
        for channels, kernel in steps:
            x = self.block(x, channels, kernel)
        return x

    def a(self, x: str, pooled: int) -> str:
        pool = self.block(self.pool("AveragePool", x, 3, 1), pooled, 1)
        return self.concat(
            self.block(x, 64, 1), self.chain(x, (48, 1), (64, 5)), self.chain(x, (64, 1), (96, 3), (96, 3)), pool
        )

    def b(self, x: str) -> str:
        long = self.block(self.chain(x, (64, 1), (96, 3)), 96, 3, 2, "valid")
        return self.concat(self.block(x, 384, 3, 2, "valid"), long, self.pool("MaxPool", x, 3, 2, "valid"))

    def c(self, x: str, n: int) -> str:
        pool = self.block(self.pool("AveragePool", x, 3, 1), 192, 1)
        row, column = (1, 7), (7, 1)
        long = self.chain(x, (n, 1), (n, column), (n, row), (n, column), (192, row))
        return self.concat(self.block(x, 192, 1), self.chain(x, (n, 1), (n, row), (192, column)), long, pool)

    def d(self, x: str) -> str:
        short = self.block(self.block(x, 192, 1), 320, 3, 2, "valid")
        long = self.block(self.chain(x, (192, 1), (192, (1, 7)), (192, (7, 1))), 192, 3, 2, "valid")
        return self.concat(short, long, self.pool("MaxPool", x, 3, 2, "valid"))

    def e(self, x: str) -> str:
        short, long = self.block(x, 384, 1), self.chain(x, (448, 1), (384, 3))
        pool = self.block(self.pool("AveragePool", x, 3, 1), 192, 1)
        sides = [self.block(part, 384, kernel) for part in (short, long) for kernel in ((1, 3), (3, 1))]
        return self.concat(self.block(x, 320, 1), *sides, pool)


def inception_v3() -> onnx.ModelProto:
    """299 pixels, 1000 classes."""
    net = _Inception("inception_v3")
    x = net.block(net.input("x", 1, 3, 299, 299), 32, 3, 2, "valid")
    x = net.block(net.block(x, 32, 3, 1, "valid"), 64, 3)
    x = net.block(net.pool("MaxPool", x, 3, 2, "valid"), 80, 1)
    x = net.pool("MaxPool", net.block(x, 192, 3, 1, "valid"), 3, 2, "valid")
    x = net.a(net.a(net.a(x, 32), 64), 64)
    x = net.c(net.c(net.c(net.c(net.b(x), 128), 160), 160), 192)
    x = net.e(net.e(net.d(x)))
    return net.model(_classified(net, net.add("GlobalAveragePool", [x], (1, 2048, 1, 1)), 2048))


def _classified(net: Network, x: str, features: int) -> str:
    flat = net.add("Flatten", [x], (1, features))
    return _dense(net, flat, 1000)


def _dense(net: Network, x: str, width: int) -> str:
    weight = net.weight(net.shapes[x][1], width, gain=1.0)
    bias = net.constant(net.rng.standard_normal(width, np.float32) * np.float32(0.1))
    return net.add("Gemm", [x, weight, bias], (1, width))


def squeezenet() -> onnx.ModelProto:
    """Version 1.0 (Iandola et al., 2016), 224 pixels."""
    net = Network("squeezenet")

    def convolved(x: str, channels: int, kernel: int, stride: int = 1, pad: str = "same") -> str:
        return net.unary("Relu", net.convolve(x, channels, kernel, stride, pad=pad, bias=True))

    x = convolved(net.input("x", 1, 3, IMAGE, IMAGE), 96, 7, 2, "valid")
    for place, (narrow, wide) in enumerate(((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256),
                                            (64, 256))):  # fmt: skip
        if place in (0, 3, 7):
            x = net.pool("MaxPool", x, 3, 2, "valid")
        x = convolved(x, narrow, 1)
        x = net.concat(convolved(x, wide, 1), convolved(x, wide, 3))
    x = convolved(x, 1000, 1)
    flat = net.add("Flatten", [net.add("GlobalAveragePool", [x], (1, 1000, 1, 1))], (1, 1000))
    return net.model(net.add("Softmax", [flat], (1, 1000), axis=1))


def vgg19() -> onnx.ModelProto:
    """16 convolutions and three layers behind them (Simonyan and Zisserman, 2015), 224 pixels."""
    net = Network("vgg19")
    x = net.input("x", 1, 3, IMAGE, IMAGE)
    for count, channels in ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)):
        for _ in range(count):
            x = net.unary("Relu", net.convolve(x, channels, 3, bias=True))
        x = net.pool("MaxPool", x, 2, 2, "valid")
    x = net.add("Flatten", [x], (1, 512 * 7 * 7))
    for _ in range(2):
        x = net.unary("Relu", _dense(net, x, 4096))
    return net.model(_dense(net, x, 1000))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "bert": bert, "resnext50": resnext50, "nasnet_a": nasnet_a, "nasrnn": nasrnn, "inception_v3": inception_v3,
    "squeezenet": squeezenet, "vgg19": vgg19,
}  # fmt: skip
"""How each is built, by its name."""


def write(name: str, path: str) -> None:
    """Build a network into a file."""
    onnx.save(NETWORKS[name](), path)


def main() -> None:
    """Write the networks that are named, or all, into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="all without any")
    options = parser.parse_args()
    for name in options.names or NETWORKS:
        write(name, str(options.folder / f"{name}.onnx"))


if __name__ == "__main__":
    main()
