"""Factored forms of a layer: chains of thinner operators, and the rows that add them to the e-graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from tcc.ir import attributes, facts
from tcc.ir.language import OPERATORS
from tcc.ir.model import tensor_type
from tcc.ir.projecting import Projection, Rows
from tcc.ir.tables import ABSENT
from tcc.ir.types import TensorType
from tcc.rewrites.lossy import Alternative, Offer
from tcc.rewrites.lossy._low_rank_factors import Spectrum
from tcc.rewrites.lossy._low_rank_layers import Layer, Use


@dataclass(frozen=True)
class Stage:
    """One operator of a chain with its constant: made when it is needed, of a shape known before.

    ``weight`` stands first in a Gather and where ``left`` says so, else second.
    """

    operator: str
    weight: Callable[[], np.ndarray]
    shape: tuple[int, ...]
    plain: Mapping[str, attributes.Plain] = field(default_factory=dict)
    left: bool = False

    @property
    def size(self) -> int:
        """Elements of the constant."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Form:
    """A chain that stands for a layer: ``biases`` [N] one a use, None where a use keeps what it has.

    ``error`` is the relative L2 error of the outputs; ``work`` the multiply-accumulates of one output position.
    """

    name: str
    stages: tuple[Stage, ...]
    biases: tuple[np.ndarray | None, ...]
    error: float
    work: float

    @property
    def size(self) -> int:
        """Elements of all factors."""
        return sum(stage.size for stage in self.stages)


def projected(layer: Layer, spectrum: Spectrum, rank: int, means: Sequence[np.ndarray | None]) -> Form:
    """The layer in its leading directions: W V and then V^T.

    Args:
        layer: to be factored.
        spectrum: its directions.
        rank: how many a group keeps.
        means: for each use the mean output without bias, [groups x N], whose lost part goes into the bias; None
            where there is no bias to take it.
    """
    vectors = np.ascontiguousarray(spectrum.vectors[:, :, :rank])
    biases = [
        None if use.bias is None else use.bias if mean is None else use.bias + lost(vectors, mean)
        for use, mean in zip(layer.uses, means, strict=True)
    ]
    stages = _pair(layer, vectors.astype(np.float32))
    return Form(f"{rank}", stages, tuple(biases), spectrum.error(rank), float(sum(s.size for s in stages)))


def projection(layer: Layer, spectrum: Spectrum, rank: int, means: Sequence[np.ndarray | None]) -> Projection | None:
    """What ``projected`` makes of the layer's outputs; None where something unknown was added to them."""
    if any(use.kept is not None for use in layer.uses):
        return None
    rows = []
    for use, mean in zip(layer.uses, means, strict=True):
        kind = tensor_type(use.result)
        assert kind is not None
        assert kind.rank is not None
        centre = (
            np.zeros(layer.groups * layer.size[1]) if use.bias is None else use.bias + (0 if mean is None else mean)
        )
        rows.append(Rows(use.result.name or "", layer.axis(kind.rank), kind.rank, kind.dtype, centre))
    return Projection(tuple(rows), spectrum.vectors[:, :, :rank], spectrum.error(rank))


def lost(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The part of a mean output [groups x N] outside the directions [groups, N, k]."""
    parts = mean.reshape(len(vectors), -1)
    kept = np.einsum("gnk,gk->gn", vectors, np.einsum("gnk,gn->gk", vectors, parts))
    outside: np.ndarray = (parts - kept).reshape(-1)
    return outside


def _pair(layer: Layer, vectors: np.ndarray) -> tuple[Stage, ...]:
    groups, columns, rank = vectors.shape
    shape = layer.shape

    def first() -> np.ndarray:
        made: np.ndarray = layer.matrix() @ vectors
        return made

    if layer.kind == "conv":
        ones = (1,) * (len(shape) - 2)
        group = {"group": groups} if groups > 1 else {}
        spread = (groups * columns, rank, *ones)
        return (
            Stage("Conv", lambda: first().transpose(0, 2, 1).reshape(groups * rank, *shape[1:]),
                  (groups * rank, *shape[1:]), layer.plain),
            Stage("Conv", lambda: vectors.reshape(spread), spread, group),
        )  # fmt: skip
    if layer.kind == "convtranspose":
        ones = (1,) * (len(shape) - 2)
        return (
            Stage("ConvTranspose", lambda: np.moveaxis(first()[0].reshape(shape[0], *shape[2:], rank), -1, 1),
                  (shape[0], rank, *shape[2:]), layer.plain),
            Stage("Conv", lambda: vectors[0].reshape(columns, rank, *ones), (columns, rank, *ones)),
        )  # fmt: skip
    inner = layer.size[0]
    if layer.kind == "left":
        return (
            Stage("MatMul", lambda: first()[0].T, (rank, inner), left=True),
            Stage("MatMul", lambda: vectors[0], (columns, rank), left=True),
        )
    plain = {"transA": layer.plain["transA"]} if layer.plain.get("transA", 0) else {}
    operator = "Gather" if layer.kind == "gather" else "Gemm" if plain else "MatMul"
    return (
        Stage(operator, lambda: first()[0], (inner, rank), plain, left=layer.kind == "gather"),
        Stage("MatMul", lambda: vectors[0].T, (rank, columns)),
    )


@dataclass(frozen=True)
class Typed:
    """A value of the e-graph by its number, and its type as facts write it."""

    number: int
    kind: str


@dataclass
class Writer:
    """Adds the rows of chains to an offer."""

    made: Offer
    layer: Layer

    def write(self, site: str, form: Form) -> None:
        """Offer a form for every use of the layer, its constants shared among them."""
        numbers = [self.constant(stage, f"{self.layer.name}_{form.name}_{i}") for i, stage in enumerate(form.stages)]
        for use, bias in zip(self.layer.uses, form.biases, strict=True):
            at = self.source(use)
            for stage, number in zip(form.stages[:-1], numbers, strict=False):
                at = self.apply(stage, number, at)
            self.offer(site, use, self.finish(use, form.stages[-1], numbers[-1], at, bias))
        self.made.error[site] = form.error
        if len(self.layer.uses) == 1:
            self.made.where[site] = self.layer.uses[0].result.name or ""

    def offer(self, site: str, use: Use, number: int) -> None:
        """Offer a value for what a use computes."""
        self.made.alternatives.append(Alternative(site, self.made.imported.numbers[use.result], number))

    def source(self, use: Use) -> Typed:
        """What a use multiplies."""
        return Typed(self.made.imported.numbers[use.source], facts.kind_text(tensor_type(use.source)))

    def constant(self, stage: Stage, name: str) -> int:
        """The number of a stage's constant, which is computed when it is chosen."""
        dtype = self.layer.dtype

        def content() -> onnx_ir.TensorProtocol:
            return onnx_ir.tensor(np.ascontiguousarray(stage.weight().astype(dtype)))

        kind, shape = onnx_ir.DataType[_DATA_TYPES[dtype]], onnx_ir.Shape(stage.shape)
        lazy = onnx_ir.LazyTensor(content, kind, shape, cache=True)
        return self.made.imported.constant(self.made.tables, lazy, name)

    def apply(self, stage: Stage, weight: int, at: Typed) -> Typed:
        """A stage's output, without a bias."""
        held = Typed(weight, facts.kind_text(TensorType(self.layer.dtype, stage.shape)))
        return self._node(stage.operator, [held, at] if stage.left else [at, held], stage.plain)

    def finish(self, use: Use, stage: Stage, weight: int, at: Typed, bias: np.ndarray | None) -> int:
        """The last stage's output, with the bias or with what the use adds instead."""
        kind = tensor_type(use.result)
        assert kind is not None
        extra = self._extra(use, bias)
        held = Typed(weight, facts.kind_text(TensorType(self.layer.dtype, stage.shape)))
        inputs = [held, at] if stage.left else [at, held]
        typed = facts.kind_text(kind)
        if extra is None:
            return self._node(stage.operator, inputs, stage.plain, typed).number
        if stage.operator == "Conv":
            return self._node("Conv", [*inputs, extra], stage.plain, typed).number
        if kind.rank == len("MN"):
            beta = self.layer.plain.get("beta", 1.0) if use.kept is not None else 1.0
            return self._node("Gemm", [*inputs, extra], {} if beta == 1.0 else {"beta": beta}, typed).number
        return self._node("Add", [self._node(stage.operator, inputs, stage.plain, typed), extra], {}, typed).number

    def _extra(self, use: Use, bias: np.ndarray | None) -> Typed | None:
        imported = self.made.imported
        if use.kept is not None:
            return Typed(imported.numbers[use.kept], facts.kind_text(tensor_type(use.kept)))
        if bias is None or not bias.any():
            return None
        number = imported.constant(self.made.tables, bias.astype(self.layer.dtype), f"{self.layer.name}_bias")
        return Typed(number, facts.kind_text(TensorType(self.layer.dtype, bias.shape)))

    def _node(
        self, operator: str, inputs: Sequence[Typed], plain: Mapping[str, attributes.Plain], kind: str = ""
    ) -> Typed:
        imported, tables, key = self.made.imported, self.made.tables, attributes.key_of(dict(plain))
        number = imported.fresh()
        absent = [ABSENT] * (OPERATORS[operator].inputs - len(inputs))
        tables.add(operator, number, *(i.number for i in inputs), *absent, key)
        kinds = "|".join([*(i.kind for i in inputs), *("" for _ in absent)])
        inferred = kind or next(iter(facts.infer(operator, self.made.opset, key, kinds, "")), "")
        if inferred:
            tables.add("type", number, inferred)
        imported.operators.add(operator)
        return Typed(number, inferred)


_DATA_TYPES = {"float32": "FLOAT", "float16": "FLOAT16", "float64": "DOUBLE"}
