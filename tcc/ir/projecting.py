"""The probe model of truncation: values of which only some directions are kept, behind switches that are off."""

# Rounding puts an error of its own on every element; what truncation leaves out is alike in all rows of a sample. An
# output that averages over rows hardly sees the former, and a normalisation may see little else than the latter: of
# one size at one value, truncation was measured to lose 0.5 to 140 times as much. So it is measured by itself.

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tcc.ir import probing, suffixes
from tcc.ir.model import Model
from tcc.ir.suffixes import Switches

_BASIS, _CENTRE, _IS_ON = (f"tcc_probe_{word}:" for word in ("basis", "centre", "on"))
_BODIES_OPSET = 11
"""From this opset on ONNX's checker and runtimes agree on branches without inputs."""


@dataclass(frozen=True)
class Rows:
    """A floating-point value of ``rank`` dimensions whose rows lie along ``axis``, and the point they are seen from."""

    value: str
    axis: int
    rank: int
    dtype: str
    centre: np.ndarray


@dataclass(frozen=True)
class Projection:
    """Rows y become (y - centre) V Vᵀ + centre, a group of their elements at a time.

    Args:
        rows: what is projected, all at once.
        basis: V [groups, N, k], orthonormal columns.
        error: the relative L2 error that this makes.
    """

    rows: tuple[Rows, ...]
    basis: np.ndarray
    error: float

    @property
    def values(self) -> tuple[str, ...]:
        """The names of what is projected."""
        return tuple(rows.value for rows in self.rows)

    def switches(self) -> dict[str, np.ndarray]:
        """The probe model's inputs that put it on."""
        made: dict[str, np.ndarray] = {}
        for rows in self.rows:
            made |= _inputs(rows.value, _diagonal(self.basis), rows.centre, is_on=True)
        return made


def _inputs(value: str, basis: np.ndarray, centre: np.ndarray, *, is_on: bool) -> dict[str, np.ndarray]:
    return {
        _BASIS + value: np.ascontiguousarray(basis, np.float32),
        _CENTRE + value: np.ascontiguousarray(centre, np.float32),
        _IS_ON + value: np.array(is_on),
    }


def _diagonal(basis: np.ndarray) -> np.ndarray:
    """The groups' bases as one of the whole row."""
    groups, columns, rank = basis.shape
    whole = np.zeros((groups, columns, groups, rank), basis.dtype)
    whole[np.arange(groups), :, np.arange(groups), :] = basis
    return whole.reshape(groups * columns, groups * rank)


def losses(
    model: Model,
    projections: Sequence[Projection],
    feeds: Sequence[Mapping[str, Any]],
    varied: Sequence[float] = (),
    threads: int = 1,
) -> list[float]:
    """The unexplained variance of the outputs that each projection causes by itself; infinite where it is not known.

    Args:
        model: the original.
        projections: what to try, one after the other.
        feeds: inputs to measure on.
        varied: ``Judge.varied`` of more data, for feeds that are too few to tell.
        threads: how many runs there are at once.

    Raises:
        TccError: where the probe model does not run.
    """
    if not projections or model.opset < _BODIES_OPSET:
        return [math.inf] * len(projections)
    tapped = {rows.value: rows for projection in projections for rows in projection.rows}

    def which(numbers: Sequence[int]) -> dict[str, Rows]:
        return {name: tapped[name] for i in numbers for name in projections[i].values}

    def off(numbers: Sequence[int]) -> dict[str, np.ndarray]:
        given: dict[str, np.ndarray] = {}
        for name, rows in which(numbers).items():
            given |= _inputs(name, np.zeros((rows.centre.size, 1)), rows.centre, is_on=False)
        return given

    switches = Switches(
        [projection.values for projection in projections], lambda proto, numbers: _put(proto, which(numbers)), off,
        lambda i: projections[i].switches(),
    )  # fmt: skip
    return suffixes.unexplained(model, switches, feeds, varied, threads)


def _put(proto: onnx.ModelProto, found: Mapping[str, Rows]) -> None:
    """Put the switches of these values into a graph."""

    def made(name: str, after: str) -> list[onnx.NodeProto]:
        rows = found[name.removesuffix(":before")]
        nodes = _projected(name, after, rows)
        return [probing.switch(name, after, _IS_ON + rows.value, nodes, _DATA_TYPES[rows.dtype])]

    probing.insert(proto, found, made)
    for name, rows in found.items():
        width = rows.centre.size
        proto.graph.input.extend(
            [
                helper.make_tensor_value_info(_BASIS + name, TensorProto.FLOAT, [width, None]),
                helper.make_tensor_value_info(_CENTRE + name, TensorProto.FLOAT, [width]),
                helper.make_tensor_value_info(_IS_ON + name, TensorProto.BOOL, []),
            ]
        )


def _projected(name: str, after: str, rows: Rows) -> list[onnx.NodeProto]:
    """The projection of ``name`` as nodes; rows lie along the last axis in between, in single precision."""
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    last = [i for i in range(rows.rank) if i != rows.axis] + [rows.axis]
    basis, centre = _BASIS + rows.value, _CENTRE + rows.value
    if rows.dtype != "float32":
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
    if rows.axis != rows.rank - 1:
        steps.append(("Transpose", [], {"perm": last}))
    steps += [("Sub", [centre], {}), ("MatMul", [basis], {}), ("MatMul", [f"{after}:back"], {}), ("Add", [centre], {})]
    if rows.axis != rows.rank - 1:
        steps.append(("Transpose", [], {"perm": [last.index(i) for i in range(rows.rank)]}))
    if rows.dtype != "float32":
        steps.append(("Cast", [], {"to": _DATA_TYPES[rows.dtype]}))
    nodes, at = [helper.make_node("Transpose", [basis], [f"{after}:back"], perm=[1, 0])], name
    for number, (operator, others, plain) in enumerate(steps):
        nodes.append(helper.make_node(operator, [at, *others], [f"{after}:on{number}"], **plain))
        at = f"{after}:on{number}"
    return nodes


_DATA_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}


@dataclass(frozen=True)
class Curve:
    """The loss of values' truncation by its relative error: ``points`` are (error, loss), by error."""

    points: tuple[tuple[float, float], ...]

    def loss(self, error: float) -> float:
        """At an error: the ratio of the loss to the error's square changes little, and is taken between the points."""
        if not error:
            return 0.0
        errors = [math.log(e) for e, _ in self.points]
        ratios = [math.log(max(loss, 1e-30) / e**2) for e, loss in self.points]
        return float(math.exp(np.interp(math.log(error), errors, ratios)) * error**2)


_MIDDLE = 0.12
"""The error at which one point has to stand for all: below it programs are cheap to take, far above they are no use."""
_PAIR = (0.07, 0.2)


def chosen(projections: Sequence[Projection], *, pairs: bool) -> list[Projection]:
    """For each set of values the projections that are worth measuring: two, or one."""
    options: dict[tuple[str, ...], list[Projection]] = {}
    for projection in projections:
        if projection.error > 0:
            options.setdefault(projection.values, []).append(projection)
    found: list[Projection] = []
    for each in options.values():
        near = [min(each, key=functools.partial(_distance, wanted)) for wanted in (_PAIR if pairs else (_MIDDLE,))]
        found += near[:1] if near[0] is near[-1] else near
    return found


def _distance(wanted: float, projection: Projection) -> float:
    return abs(math.log(projection.error / wanted))


def curves(projections: Sequence[Projection], found: Sequence[float]) -> dict[tuple[str, ...], Curve]:
    """The measured losses of projections as curves, by the values that are projected; infinite ones are left out."""
    points: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for projection, loss in zip(projections, found, strict=True):
        if math.isfinite(loss):
            points.setdefault(projection.values, []).append((projection.error, loss))
    return {values: Curve(tuple(sorted(each))) for values, each in points.items()}
