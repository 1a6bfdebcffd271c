"""Each repair of integers can be left out, and what it contributes shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.frontends import load
from tcc.ir.inference import annotate
from tcc.ir.projecting import Projection, Rows
from tcc.passes._attempt import Attempt
from tcc.passes._prepared import Prepared, prepare
from tcc.passes._sensitivity import Answers
from tcc.passes.base import Context
from tcc.rewrites.lossy import Offer
from tcc.rewrites.lossy._repairs import BIAS, REPAIRS, ROUNDING, SMOOTHING
from tcc.targets import parse_target

ROWS, WIDTH = 96, 64


def product() -> onnx.ModelProto:
    """A Gemm behind a sum."""
    drawn = np.random.default_rng(3)
    constants = {"b": np.zeros(WIDTH), "w": drawn.normal(size=(WIDTH, 48)), "c": np.zeros(48)}
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Gemm", ["a", "w", "c"], ["y"])]
    graph = helper.make_graph(
        nodes, "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [ROWS, 48])],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def samples() -> list[dict[str, np.ndarray]]:
    """Rows in a few directions that are far from zero; one channel is much larger than the others."""
    drawn = np.random.default_rng(4)
    mixed = drawn.normal(size=(12, WIDTH))
    made = [drawn.normal(size=(ROWS, 12)) @ mixed + 2.0 for _ in range(12)]
    for rows in made:
        rows[:, 5] *= 40.0
    return [{"x": rows.astype(np.float32)} for rows in made]


@pytest.fixture(scope="module")
def known() -> tuple[Prepared, Context]:
    model = load(product())
    annotate(model)
    context = Context(parse_target("x86-64-vnni"), calibration=tuple(samples()), max_loss=1.0)
    return prepare(model, context), context


def offer(known: tuple[Prepared, Context], *without: str) -> Offer:
    prepared, context = known
    return Attempt(
        prepared.model.clone(), context, prepared.found, prepared.observed, prepared.evidence,
        {"dynamic-int8": ()}, "latency", slower=True, without=frozenset(without),
    ).offer  # fmt: skip


def error(made: Offer, *, smooth: bool = False) -> float:
    (found,) = (size for site, size in made.error.items() if site.endswith("@smooth") == smooth)
    return found


def test_weights_fitted_to_the_data_err_less_than_those_rounded_to_nearest(known: tuple[Prepared, Context]) -> None:
    fitted, nearest = (
        next(each.square for site, each in made.weights.items() if each is not None and site.endswith("@smooth"))
        for made in (offer(known), offer(known, ROUNDING))
    )
    assert fitted < 0.9 * nearest


def test_smoothing_is_a_form_of_its_own(known: tuple[Prepared, Context]) -> None:
    assert error(offer(known), smooth=True) < 0.5 * error(offer(known))
    assert not any(site.endswith("@smooth") for site in offer(known, SMOOTHING).error)


def test_without_the_correction_of_biases_they_stay(known: tuple[Prepared, Context]) -> None:
    corrected, left = (
        [v.name for v in made.imported.values if v is not None and "corrected" in (v.name or "")]
        for made in (offer(known), offer(known, BIAS))
    )
    assert corrected
    assert len(left) <= len(corrected)
    assert compiled(BIAS)["loss"]["value"] > compiled()["loss"]["value"]


def compiled(*without: str) -> dict[str, Any]:
    result = tcc.compile(
        product(), passes=f"compress{{techniques=dynamic-int8,slower=true,without={'+'.join(without) or 'program'}}}",
        target="x86-64-vnni", calibration={"x": np.concatenate([feed["x"] for feed in samples()])}, max_loss=0.9,
        measure=False,
    )  # fmt: skip
    return dict(next(r for r in result.records if r.name == "compress").facts)


def test_truncations_of_which_nothing_was_measured_are_not_used(known: tuple[Prepared, Context]) -> None:
    made = offer(known)
    rows = Rows("y", 1, 2, "float32", np.zeros(48))
    made.projections["low-rank:w@8"] = Projection((rows,), np.eye(48)[None, :, :8], 0.1)
    made.error["low-rank:w@8"] = made.error["low-rank:v@8"] = 0.1
    losses = Answers({"y": 0.5}, untold=True).losses(made)
    assert losses["low-rank:w@8"] == losses["low-rank:v@8"] == np.inf
    assert all(np.isfinite(loss) for site, loss in losses.items() if not site.startswith("low-rank"))


def test_they_are_named_on_the_command_line() -> None:
    from tcc.compiler import ablation

    assert set(REPAIRS) <= set(ablation.known())
