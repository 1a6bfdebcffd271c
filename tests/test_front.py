"""The front: programs that no other one beats, as figures and as files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tcc
from tcc import backends
from tcc.compiler import levels, search
from tcc.compiler.budgets import Cost
from tcc.compiler.search import Point

TARGET = "x86-64-vnni"


@pytest.fixture(autouse=True)
def unpruned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruning takes long."""
    monkeypatch.setattr(levels, "PRUNED", ())


def point(loss: float, nbytes: float, seconds: float) -> Point:
    unused: Any = None  # only costs are compared
    return Point("", unused, None, Cost(loss, nbytes, seconds))


COSTS = st.tuples(*[st.one_of(st.integers(0, 4).map(float), st.floats(0, 4))] * 3)


@given(st.lists(COSTS, min_size=1, max_size=12))
def test_the_front_holds_what_nothing_beats(costs: list[tuple[float, float, float]]) -> None:
    kept = [search._values(p.cost, energy=False) for p in search.front([point(*cost) for cost in costs])]
    assert kept == sorted(set(kept))
    for one in kept:
        assert not any(_beats(other, one) for other in costs)
    for cost in costs:
        rounded = [(round(loss, 6), *(float(f"{value:.3g}") for value in rest)) for loss, *rest in (*kept, cost)]
        assert any(one == rounded[-1] or _beats(one, rounded[-1]) for one in rounded[:-1]), "something is left for it"


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def test_differences_that_nobody_can_use_are_no_trade_off_and_energy_counts_where_it_is_asked_for() -> None:
    def made(nbytes: float, seconds: float, joules: float) -> Point:
        bare = point(0.0, nbytes, seconds)
        return dataclasses.replace(bare, cost=dataclasses.replace(bare.cost, joules=joules))

    small, no_faster, frugal = made(50e3, 1.0002e-4, 2.0), made(90e3, 1.0001e-4, 2.0), made(50.4e3, 2e-4, 1.0)
    assert list(search.front([no_faster, small, frugal])) == [small]
    assert list(search.front([no_faster, small, frugal], energy=True)) == [small, frugal]


def test_the_front_is_written_as_models_that_run(digits: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    made = tcc.compile(
        digits / "digits.onnx", "z", TARGET, calibration=digits / "digits_calib.npz", output=output, pareto=3,
        max_loss=0.05,
    )  # fmt: skip
    entries = made.report["pareto"]
    assert 2 <= len(entries) <= 3
    fewer = [d.message for d in made.diagnostics if d.code == "N0708"]
    said = f"the front has {len(entries)} programs that keep the budgets and that no other beats, 3 were asked for"
    assert fewer == ([said] if len(entries) < 3 else [])
    assert {f.name for f in tmp_path.iterdir()} == {"out.onnx", *(entry["file"] for entry in entries)}
    losses = [entry["loss"] for entry in entries]
    assert losses == sorted(losses)
    for entry in entries:
        path = tmp_path / entry["file"]
        assert path.stat().st_size == entry["bytes"]
        with np.load(digits / "digits_test.npz") as loaded:
            (scores,) = backends.backend("onnxruntime").load(path).run({"image": loaded["image"][:8]})
        assert scores.shape == (8, 10)


def test_the_ends_of_the_front_are_tried(digits: Path) -> None:
    given: dict[str, Any] = {"target": TARGET, "calibration": digits / "digits_calib.npz", "jobs": 1}
    made = tcc.compile(digits / "digits.onnx", 3, pareto=2, time_limit=1e-3, **given)
    late = [d.message for d in made.diagnostics if d.code == "N0706"]
    assert any("compress{objective=size}" in message for message in late)
    assert sum("compress is not tried" in message for message in late) == 4, "one for each share of the budget"
