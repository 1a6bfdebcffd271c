"""Who reads channels: operators that sum over them with constant weights, as matrix products over rows of data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tcc.ir.channels import Groups
from tcc.ir.channels.links import End, Reduction, Tie
from tcc.ir.channels.site import Site

if TYPE_CHECKING:
    import onnx_ir

_OPERATORS = frozenset({"Conv", "MatMul", "Gemm"})
_WIDEST = 2304
"""Columns of a convolution's patches up to which they are taken whole; wider ones channel by channel."""


@dataclass(frozen=True)
class Consumer:
    """One operator that multiplies channels of data with a weight and sums over them.

    Args:
        site: the node.
        data: where its data has the channels.
        weight: where its weight has them.
        patches: whether a row is a convolution's whole patch, [channels · taps], rather than one place's channels.
    """

    site: Site
    data: End
    weight: End
    patches: bool

    @property
    def name(self) -> str:
        """The weight's name: the consumer's too, in a clone of the model."""
        return self.weight.value.name or ""

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """A weight as [rows' columns, outputs], or [channels, outputs · taps] without patches; float64."""
        array = np.moveaxis(weight.astype(np.float64), self.weight.axis, 0)
        if not self.patches:
            return array.reshape(len(array), -1)
        return array.transpose(0, *range(2, array.ndim), 1).reshape(-1, array.shape[1])

    def weights(self, matrix: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The weight that a matrix stands for, of the shape of ``like``."""
        moved = np.moveaxis(like, self.weight.axis, 0)
        if not self.patches:
            array = matrix.reshape(moved.shape)
        else:
            array = matrix.reshape(moved.shape[0], *moved.shape[2:], moved.shape[1])
            array = np.moveaxis(array, -1, 1)
        return np.ascontiguousarray(np.moveaxis(array, 0, self.weight.axis)).astype(like.dtype)

    def rows(self, data: np.ndarray, limit: int, seed: int) -> np.ndarray:
        """Rows of data, float64 [at most ``limit``, columns]; which ones depends on the places' number and the seed."""
        if self.patches:
            return self._patches(data, limit, seed)
        flat = np.moveaxis(data, self.data.axis, -1).reshape(-1, data.shape[self.data.axis])
        return np.asarray(flat[_picked(len(flat), limit, seed)], np.float64)

    def results(self, data: np.ndarray, limit: int, seed: int) -> np.ndarray:
        """The rows of the operator's result, float64 [at most ``limit``, outputs], that ``rows`` of its data give."""
        flat = np.moveaxis(data, self._outputs, -1)
        flat = flat.reshape(-1, flat.shape[-1])
        return np.asarray(flat[_picked(len(flat), limit, seed)], np.float64)

    @property
    def _outputs(self) -> int:
        return 1 if self.site.node.op_type == "Conv" else -1

    def _patches(self, data: np.ndarray, limit: int, seed: int) -> np.ndarray:
        kernel = (self.site.shape(1) or ())[2:]
        strides = self.site.attribute("strides") or [1] * len(kernel)
        dilations = self.site.attribute("dilations") or [1] * len(kernel)
        begins, ends = _padding(self.site, data.shape[2:], kernel, strides, dilations)
        padded = np.pad(data, [(0, 0), (0, 0), *zip(begins, ends, strict=True)])
        extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
        axes = tuple(range(2, data.ndim))
        windows = np.lib.stride_tricks.sliding_window_view(padded, extents, axis=axes)
        steps = tuple(slice(None, None, s) for s in strides)
        taps = tuple(slice(None, None, d) for d in dilations)
        windows = windows[(slice(None), slice(None), *steps, *taps)]
        places = np.moveaxis(windows, 1, len(kernel) + 1)
        count = math.prod(places.shape[: len(kernel) + 1])
        picked = np.unravel_index(_picked(count, limit, seed), places.shape[: len(kernel) + 1])
        return places[picked].reshape(len(picked[0]), -1).astype(np.float64)


def consumers(groups: Groups) -> Iterator[Consumer]:
    """Every operator of the graph that sums over channels with a constant weight of its own, in order."""
    for site, _ in groups.network.sites:
        if site.node.graph is not groups.network.model.graph:
            continue  # what a body reads cannot be looked at from outside
        if site.node.domain or site.node.op_type not in _OPERATORS or site.attribute("group", 1) != 1:
            continue
        for link in groups.network.links.get(site.node, ()):
            if isinstance(link, Tie) and link.reduced and (found := _consumer(site, link)) is not None:
                yield found


def _consumer(site: Site, tie: Tie) -> Consumer | None:
    inputs = [e for e in tie.ends if e.port >= 0 and Reduction.SUM in tie.reduced.values()]
    weights = [e for e in inputs if e.value.const_value is not None]
    data = [e for e in inputs if e.value.const_value is None]
    if len(weights) != 1 or len(data) != 1 or len(weights[0].value.uses()) != 1:
        return None
    tensor = weights[0].value.const_value
    assert tensor is not None
    if not tensor.dtype.is_floating_point() or (site.node.op_type == "MatMul" and len(tensor.shape) != 2):
        return None
    if site.attribute("alpha", 1.0) != 1.0:
        return None
    shape = site.port_shape(weights[0].port) or ()
    taps = math.prod(shape[2:])
    patches = site.node.op_type == "Conv" and shape[1] * taps <= _WIDEST
    return Consumer(site, data[0], weights[0], patches)


def _padding(
    site: Site, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Zeros before and after each axis of places."""
    mode = site.attribute("auto_pad", "NOTSET")
    if mode in {"NOTSET", ""}:
        pads = site.attribute("pads") or [0] * (2 * len(kernel))
        return pads[: len(kernel)], pads[len(kernel) :]
    if mode == "VALID":
        return [0] * len(kernel), [0] * len(kernel)
    totals = [
        max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _picked(count: int, limit: int, seed: int) -> np.ndarray:
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))


def bias_of(consumer: Consumer, node: onnx_ir.Node) -> tuple[onnx_ir.Node, int] | None:
    """The node and input that hold the consumer's bias, one number an output; None where there is none.

    Args:
        consumer: the operator.
        node: it, or its copy in another model.
    """
    if consumer.site.node.op_type in {"Conv", "Gemm"}:
        value = node.inputs[2] if len(node.inputs) > 2 else None
        return (node, 2) if value is not None and _is_own_vector(value, 1) else None
    users = list(node.outputs[0].uses())
    if len(users) != 1 or users[0].node.op_type != "Add":
        return None
    other = 1 - users[0].idx
    value = users[0].node.inputs[other]
    # Outputs are columns, or rows where the weight stands on the left.
    from_right = 1 if consumer.weight.port else 2
    return (users[0].node, other) if value is not None and _is_own_vector(value, from_right) else None


def added_to(consumer: Consumer, node: onnx_ir.Node) -> onnx_ir.Value | None:
    """What data the consumer's result is added to, after the bias, as in a residual; None where it is not.

    Args:
        consumer: the operator.
        node: it, or its copy in another model.
    """
    if not consumer.weight.port:
        return None
    place = bias_of(consumer, node)
    result = (node if place is None else place[0]).outputs[0]
    users = list(result.uses())
    if len(users) != 1 or users[0].node.op_type != "Add" or users[0].node.domain:
        return None
    other = users[0].node.inputs[1 - users[0].idx]
    if other is None or other is result or other.const_value is not None or other.shape is None:
        return None
    return other if other.shape == result.shape else None


def _is_own_vector(value: onnx_ir.Value, from_right: int) -> bool:
    tensor = value.const_value
    if tensor is None or len(value.uses()) != 1 or tensor.size < 2:
        return False
    shape = tensor.numpy().shape
    return len(shape) >= from_right and shape[-from_right] == tensor.size
