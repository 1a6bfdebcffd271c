"""What a compilation changes in its process, and gives back."""

from __future__ import annotations

import contextlib
import gc
import pickle
from importlib import import_module
from typing import Any

import pytest

import tcc
from tcc.compiler.collecting import seldom
from tcc.ir import engine, heap
from tests.test_raising import _layer_normalization


@pytest.mark.parametrize(("own", "inside"), [((700, 10, 10), 10_000), ((0, 10, 10), 0), ((50_000, 5, 5), 50_000)])
def test_garbage_is_collected_as_before_afterwards(own: tuple[int, int, int], inside: int) -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(*own)
        with contextlib.suppress(ZeroDivisionError), seldom():
            assert gc.get_threshold() == (inside, *own[1:])
            raise ZeroDivisionError
        assert gc.get_threshold() == own
        tcc.compile(_layer_normalization(), 2)
        assert gc.get_threshold() == own
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize("value", ["", "float32[N,3]\x1f2", True, 2**70, ("a", 1), {"a": [1.5]}])
def test_values_are_pickled_as_cloudpickle_does_it(value: Any) -> None:
    engine.bindings()
    cloudpickle = import_module("cloudpickle")
    found = cloudpickle.dumps(value)
    assert pickle.loads(found) == value  # noqa: S301 - just written
    assert found == cloudpickle.dumps(value, protocol=cloudpickle.DEFAULT_PROTOCOL), "the slow way writes the same"


def test_memory_that_is_free_is_given_back() -> None:
    heap.give_back()
    if heap._trim() is None:
        pytest.skip("no GNU C library")
    # Small blocks, so that the library takes them from its heap; every second one stays.
    blocks = [bytearray(4000) for _ in range(20_000)]
    kept = blocks[::200]
    del blocks
    before = _resident()
    heap.give_back()
    assert before - _resident() > 30 << 20
    assert len(kept) == 100


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel's
        return int(file.read().split()[1]) * 4096
