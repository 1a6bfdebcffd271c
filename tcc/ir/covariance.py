"""Second moments of values inside a model, accumulated feed by feed: memory does not grow with the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tcc.ir.execution import Runner
from tcc.ir.holding import held
from tcc.ir.model import Model

GROUP_BYTES = 256 * 2**20
"""Bytes of second moments that are held at once, or twice those of the model's weights where these are more.

What does not fit is measured in further passes over the data.
"""
FIRST_OPSET = 5
"""The first opset whose Reshape takes its shape as an input."""
_AXES_AS_INPUT = 13
_PREFIX = "tcc_tap"
Held = TypeVar("Held")
_HELD = 4
"""One feed in so many is held out."""
_GOLDEN = (5**0.5 - 1) / 2
_FEWEST_HELD = 2
"""Feeds that are held out, or none are."""


@dataclass(frozen=True)
class Patches:
    """The window of a 2-D convolution over [N, C, H, W]: what one output position sees (im2col)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]


@dataclass(frozen=True)
class Tap:
    """A floating-point value of the top-level graph whose rows are its vectors along ``axis``.

    ``width`` is the length of a row; with ``patches`` a row is a window's C x kh x kw values, in that order,
    and ``width`` its length.
    """

    value: str
    axis: int
    rank: int
    width: int
    dtype: str = "float32"
    patches: Patches | None = None


@dataclass(frozen=True)
class Moments:
    """Sums over all rows x of a tap: ``total`` is the sum of x, ``gram`` the sum of x xT, both in float64.

    ``samples`` counts the inputs that the rows come from: the rows of one sample are not independent.
    """

    rows: int
    samples: int
    total: np.ndarray
    gram: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mean row, [width]."""
        mean: np.ndarray = self.total / self.rows
        return mean

    @property
    def second(self) -> np.ndarray:
        """The mean of x xT, [width, width]."""
        second: np.ndarray = self.gram / self.rows
        return second

    @property
    def covariance(self) -> np.ndarray:
        """The covariance, [width, width]."""
        covariance: np.ndarray = self.second - np.outer(self.mean, self.mean)
        return covariance


@dataclass
class _Sum:
    """What was seen of a tap so far; it ``gathers`` rows, or is given their sums."""

    tap: Tap
    gathers: bool = False
    count: int = 0
    total: np.ndarray = field(init=False)
    gram: np.ndarray = field(init=False)
    _waiting: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total, self.gram = np.zeros(self.tap.width), np.zeros((self.tap.width, self.tap.width))

    def add(self, rows: np.ndarray, gram: np.ndarray | None = None, shape: Sequence[int] = ()) -> None:
        """Add a run's rows, or their sum and products."""
        if gram is None:
            self.count += len(rows)
            self._waiting.append(rows)
            if sum(map(len, self._waiting)) >= _AT_ONCE:
                self._multiply()
            return
        np.add(self.total, rows.reshape(-1), out=self.total)
        np.add(self.gram, gram, out=self.gram)
        self.count += int(shape[0])

    def _multiply(self) -> None:
        if self._waiting:
            rows = np.concatenate(self._waiting)
            self._waiting.clear()
            np.add(self.total, rows.sum(axis=0, dtype=np.float64), out=self.total)
            np.add(self.gram, rows.T @ rows, out=self.gram)

    def moments(self, samples: int) -> Moments | None:
        """The moments; None where there was nothing, or nothing finite."""
        self._multiply()
        known = self.count and np.isfinite(self.gram).all()
        return Moments(self.count, samples, self.total, self.gram) if known else None


def held_out(feeds: Sequence[Held]) -> Sequence[Held]:
    """Feeds (or what belongs to them) that nothing is fitted to, which say what a fit loses on new data.

    None where there are few feeds.

    Fewer rows than columns are reproduced exactly by as many directions, whatever the weight: on the data of a fit
    such a truncation seems to lose nothing.
    """
    if len(feeds) < _HELD * _FEWEST_HELD:
        return ()
    return [feed for feed, apart in zip(feeds, held(len(feeds), _HELD), strict=True) if apart]


def fitted(feeds: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """All other feeds."""
    if not held_out(feeds):
        return feeds
    return [feed for feed, apart in zip(feeds, held(len(feeds), _HELD), strict=True) if not apart]


def spread(feeds: Sequence[Held]) -> list[Held]:
    """Feeds in an order in which the first few are drawn from everywhere: data is often stored class by class."""
    # Multiples of the golden ratio divide the circle evenly, however many there are (Knuth, TAOCP 3, section 6.4).
    return [feeds[i] for i in sorted(range(len(feeds)), key=lambda i: i * _GOLDEN % 1.0)]


def stream(
    model: Model,
    taps: Iterable[Tap],
    feeds: Sequence[Mapping[str, Any]],
    *,
    rows: int | None = None,
    threads: int = 1,
) -> Iterator[tuple[Tap, Moments]]:
    """The moments of each tap over the feeds, in groups of ``GROUP_BYTES`` or the model's size; each once.

    The products are computed inside the model, in ONNX Runtime, so that no activation leaves it, but for few rows,
    which are smaller than their products; only nodes that the group needs are run. A tap without rows, or with values
    that are not finite, is left out.

    Args:
        model: whose values are tapped.
        taps: what to measure.
        feeds: the data.
        rows: rows for each column of the widest tap of a group that are enough, from feeds all over; None takes all.
        threads: how many runs there are at once.

    Raises:
        TccError: as ``Runner`` does.
    """
    for group in _groups(dict.fromkeys(taps), max(GROUP_BYTES, 2 * model.parameter_bytes)):
        found = _measure(model, group, feeds, rows, threads)
        for tap in group:
            if (moments := found.pop(tap)) is not None:
                yield tap, moments


def _groups(taps: Iterable[Tap], most: int) -> Iterator[list[Tap]]:
    group: list[Tap] = []
    together = 0
    for tap in taps:
        # The sum in double precision and the last feed's in single.
        nbytes = 12 * tap.width**2
        if group and together + nbytes > most:
            yield group
            group, together = [], 0
        group.append(tap)
        together += nbytes
    if group:
        yield group


def _measure(
    model: Model, taps: list[Tap], feeds: Sequence[Mapping[str, Any]], rows: int | None, threads: int
) -> dict[Tap, Moments | None]:
    sums = [_Sum(tap) for tap in taps]
    samples = 0
    enough = None if rows is None else min(rows * max(tap.width for tap in taps), _MOST_ROWS)
    if enough is not None:
        feeds = spread(feeds)
    for feed in _summed(model, sums, feeds, threads):
        samples += _samples(feed)
        if enough is not None and samples >= _FEWEST and min(each.count for each in sums) >= enough:
            break
    return {each.tap: each.moments(samples) for each in sums}


def _summed(
    model: Model, sums: list[_Sum], feeds: Sequence[Mapping[str, Any]], threads: int
) -> Iterator[Mapping[str, Any]]:
    """Each feed when it was added to the sums; the first one says where a feed has few rows."""
    for part in (feeds[:1], feeds[1:]):
        runner = _runner(model, sums)
        for feed, results in zip(part, runner.run_each(part, threads), strict=True):
            at = 0
            for each in sums:
                width = 1 if each.gathers else _OUTPUTS
                each.add(*results[at : at + width])
                at += width
            yield feed
        for each in sums:
            each.gathers = each.tap.patches is None and _FEW * each.count <= each.tap.width


def _runner(model: Model, sums: list[_Sum]) -> Runner:
    proto, weights = model.stripped_proto()
    _instrument(proto, sums, model.opset)
    kept = {initializer.name for initializer in proto.graph.initializer}
    return Runner(proto, weights={name: array for name, array in weights.items() if name in kept})


_OUTPUTS = 3
"""What a tap gives that is summed inside the model: total, gram, shape of the rows."""
_FEW = 2
"""How many times as wide as many rows are that leave the model."""
_AT_ONCE = 512
"""Rows that are then multiplied at once: to add up many small products takes longer than to make them."""
_MOST_ROWS = 8192
"""Rows that are enough, however wide they are: all of the widest taps, twice over."""
_FEWEST = 32
"""Samples that are looked at however many rows each has."""


def _samples(feed: Mapping[str, Any]) -> int:
    """The length of the first dimension that the inputs have in common; 1 where they have none."""
    lengths = {len(array) for array in feed.values() if isinstance(array, np.ndarray) and array.ndim}
    return lengths.pop() if len(lengths) == 1 else 1


def _instrument(proto: onnx.ModelProto, sums: list[_Sum], opset: int) -> None:
    """Make the taps' sums the graph's only outputs and drop what they do not need."""
    graph = proto.graph
    del graph.output[:]
    for i, each in enumerate(sums):
        _Probe(graph, each.tap, f"{_PREFIX}_{i}", opset).add(gathers=each.gathers)
    needed = {output.name for output in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(_read(node))
            nodes.append(node)
    kept = [initializer for initializer in graph.initializer if initializer.name in needed]
    del graph.node[:]
    del graph.initializer[:]
    del graph.value_info[:]
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(kept)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, those that its bodies may capture among them."""
    yield from node.input
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                yield from _read(inner)
            yield from (output.name for output in body.output)


@dataclass
class _Probe:
    """Adds the nodes of one tap."""

    graph: onnx.GraphProto
    tap: Tap
    name: str
    opset: int

    def add(self, *, gathers: bool) -> None:
        """Add nodes from the value to its rows, which ``gathers`` wants, or their sums: total, gram, shape."""
        tap, x = self.tap, self.tap.value
        if tap.dtype != "float32":
            x = self._node("Cast", [x], to=TensorProto.FLOAT)
        if tap.patches is not None:
            x = self._windows(x, tap.patches)
        if tap.axis != tap.rank - 1:
            order = [i for i in range(tap.rank) if i != tap.axis]
            x = self._node("Transpose", [x], perm=[*order, tap.axis])
        rows = self._node("Reshape", [x, self._constant(np.array([-1, tap.width], np.int64))])
        if gathers:
            self.graph.output.append(helper.make_tensor_value_info(rows, TensorProto.FLOAT, None))
            return
        if self.opset >= _AXES_AS_INPUT:
            axes = self._constant(np.array([0], np.int64))
            total = self._node("ReduceSum", [rows, axes], keepdims=0)
        else:
            total = self._node("ReduceSum", [rows], axes=[0], keepdims=0)
        columns = self._node("Transpose", [rows], perm=[1, 0])
        gram = self._node("MatMul", [columns, rows])
        shape = self._node("Shape", [rows])
        for output, kind in ((total, TensorProto.FLOAT), (gram, TensorProto.FLOAT), (shape, TensorProto.INT64)):
            self.graph.output.append(helper.make_tensor_value_info(output, kind, None))

    def _windows(self, x: str, patches: Patches) -> str:
        """[N, C, H, W] to [N, C kh kw, H', W'], by a convolution whose every filter picks one value."""
        size = int(np.prod(patches.kernel))
        channels = self.tap.width // size
        pick = np.tile(
            np.eye(size, dtype=np.float32).reshape(size, 1, *patches.kernel),
            (channels, 1, *(1 for _ in patches.kernel)),
        )
        return self._node(
            "Conv", [x, self._constant(pick)], group=channels, kernel_shape=list(patches.kernel),
            strides=list(patches.strides), pads=list(patches.pads), dilations=list(patches.dilations),
        )  # fmt: skip

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{self.name}_{len(self.graph.node)}"
        self.graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, array: np.ndarray) -> str:
        name = f"{self.name}_constant_{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name
