"""Inputs that exercise a model: they run, respect the graph, and what comes out depends on them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper, parser

from tcc.diagnostics import Exit, TccError
from tcc.ir.execution import Runner
from tcc.ir.feeds import depends_on_inputs, exercise_feeds

SAMPLE = [
    "hand_bilstm_tagger", "hand_diffusion_unet_dynamo", "hand_fcn_dynamic_hw", "hand_gat", "hand_moe",
    "hand_quartznet", "hand_script_loop_rnn", "hf_albert", "hf_bart", "hf_decision_transformer",
    "hf_gpt_neox_past", "hf_llama_past", "hf_marian_decoder", "hf_sew", "timm_lcnet_035", "tv_squeezenet1_1",
]  # fmt: skip
ZOO = [
    "imagenet_squeezenet11", "llama_aidreams_282k", "minilm_l6_v2_trim", "mlperf_kws_dscnn", "mnist_cntk_cnn",
    "ultraface_rfb320",
]  # fmt: skip


@pytest.fixture(scope="session")
def topologies() -> ModuleType:
    """The collection of architectures whose weights are drawn on loading."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "topologies"
    folder = Path(os.environ.get("TCC_TOPOLOGIES") or beside)
    spec = importlib.util.spec_from_file_location("topologies", folder / "topologies.py")
    if not folder.is_dir() or spec is None or spec.loader is None:
        pytest.skip("the collection of architectures is not here; set TCC_TOPOLOGIES to its folder")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed(text: str, **constants: Any) -> ModelProto:
    model: ModelProto = parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21, "ai.onnx.ml" : 3, "local" : 1]> g {text}'
    )
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    return model


def check(model: ModelProto, **arguments: Any) -> list[dict[str, Any]]:
    """The model's feeds, after checking that they run, are finite, and make a difference."""
    runner = Runner(model)
    feeds = exercise_feeds(model, runner, **arguments)
    for feed in feeds:
        for output in runner.run(feed):
            assert output.dtype.kind != "f" or np.isfinite(output).all()
    assert depends_on_inputs(runner, feeds)
    return feeds


TABLE = np.random.default_rng(0).standard_normal((37, 4)).astype(np.float32)
SQUARE = np.random.default_rng(1).standard_normal((8, 8)).astype(np.float32)


@pytest.mark.parametrize("name", SAMPLE)
def test_real_architectures(topologies: ModuleType, name: str) -> None:
    check(topologies.load(name))


@pytest.mark.parametrize("name", ZOO)
def test_pretrained_models(zoo: Path, name: str) -> None:
    check(onnx.load(zoo / name / "model.onnx"))


def test_the_same_seed_gives_the_same_feeds() -> None:
    model = parsed("(float[n,8] x) => (float[n,8] y) { y = MatMul(x, w) }", w=SQUARE)
    one, two, other = (exercise_feeds(model, seed=seed) for seed in (0, 0, 1))
    assert [feed["x"].tobytes() for feed in one] == [feed["x"].tobytes() for feed in two]
    assert one[0]["x"].tobytes() != other[0]["x"].tobytes()
    assert one[0]["x"].tobytes() != one[1]["x"].tobytes()


def test_count_and_symbols_are_obeyed() -> None:
    model = parsed("(float[n,8] x) => (float[n,8] y) { y = MatMul(x, w) }", w=SQUARE)
    feeds = check(model, count=3, symbols={"n": 5})
    assert [feed["x"].shape for feed in feeds] == [(5, 8)] * 3


def test_indices_stay_within_their_table_through_moves_and_offsets() -> None:
    model = parsed(
        """(int64[n,t] ids) => (float[n,t,c] y) {
            a = Add(ids, two)
            b = Cast<to = 6>(a)
            c = Reshape(b, flat)
            y = Gather(table, c)
        }""",
        two=np.int64(2), flat=np.array([0, -1]), table=TABLE,
    )  # fmt: skip
    for feed in check(model, symbols={"n": 50, "t": 50}):
        assert feed["ids"].min() == 0
        assert feed["ids"].max() == 34


def test_the_smallest_table_bounds_the_index() -> None:
    model = parsed(
        "(int64[50,50] ids) => (float[50,50,4] y) { a = Gather(large, ids) b = Gather(small, ids) y = Add(a, b) }",
        large=TABLE, small=TABLE[:5],
    )  # fmt: skip
    assert {int(feed["ids"].max()) for feed in check(model)} == {4}


def test_an_index_bound_by_another_input_and_by_a_subgraph() -> None:
    model = parsed("(float[6,4] x, int64[40] i) => (float[40,4] y) { y = Gather(x, i) }")
    assert max(int(feed["i"].max()) for feed in check(model)) == 5
    inner = parsed(
        """(bool c, int64[40] i) => (float[40,4] y) {
            y = If (c) <then_branch = t () => (float[40,4] a) { a = Gather(table, i) },
                        else_branch = e () => (float[40,4] b) { d = Gather(table, i) b = Neg(d) }>
        }""",
        table=TABLE[:7],
    )
    assert max(int(feed["i"].max()) for feed in check(inner)) == 6


def test_an_index_inside_a_local_function() -> None:
    model = parser.parse_model("""<ir_version: 10, opset_import: ["" : 21, "local" : 1]>
        g (int64[40] i) => (float[40,4] y) <float[9,4] t = {
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
            19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36}> { y = local.Embed(t, i) }
        <opset_import: ["" : 21], domain: "local"> Embed (table, index) => (out) { out = Gather(table, index) }
    """)
    assert max(int(feed["i"].max()) for feed in check(model)) == 8


def test_masks_end_with_zeros_in_one_feed() -> None:
    model = parsed(
        """(int64[n,t] ids, int64[n,t] keep) => (float[n,t] y) {
            e = Gather(table, ids) f = Cast<to = 1>(keep) g = Sub(one, f) h = Mul(g, low) y = Add(e, h)
        }""",
        table=TABLE[:, 0].copy(), one=np.float32(1), low=np.float32(-10),
    )  # fmt: skip
    first, second = check(model)
    assert first["keep"].all()
    assert second["keep"].shape == (2, 8)
    assert (second["keep"] == np.array([1] * 6 + [0] * 2)).all()


def test_equal_symbols_agree_and_expressions_are_computed() -> None:
    model = parsed("""(float[b,s,8] x, float[b,p,8] past, float[b,"p + s",8] bias) => (float[b,q,8] y) {
        a = Concat<axis = 1>(past, x) y = Add(a, bias)
    }""")
    feed = check(model, symbols={"s": 3})[0]
    batch, past, _ = feed["past"].shape
    assert batch == 2, "a batch of more than one shows a rewrite that fixes it"
    assert feed["x"].shape == (2, 3, 8)
    assert feed["bias"].shape == (2, past + 3, 8)


def test_sizes_that_weights_fix_are_read_from_them() -> None:
    kernel = np.ones((2, 5, 3, 3), np.float32)
    images = parsed("(float[n,c,h,w] x) => (float[n,2,a,b] y) { t = Relu(x) y = Conv(t, k) }", k=kernel)
    assert check(images)[0]["x"].shape == (2, 5, 64, 64)
    last = parsed("(float[n,h,w,c] x) => (float[n,2,a,b] y) { t = Transpose<perm = [0,3,1,2]>(x) y = Conv(t, k) }",
                  k=kernel)  # fmt: skip
    assert check(last)[0]["x"].shape == (2, 64, 64, 5)
    rows = parsed("(float[n,k] x) => (float[n,8] y) { y = Gemm<transB = 1>(x, w) }", w=SQUARE)
    assert check(rows)[0]["x"].shape == (2, 8)


def test_a_batch_that_the_model_fixes_silently_is_found() -> None:
    model = parsed("(float[n,8] x) => (float[1,8] y) { y = Reshape(x, s) }", s=np.array([1, 8]))
    assert check(model)[0]["x"].shape == (1, 8)


def test_undeclared_rank() -> None:
    model = parsed("(float[n,8] x) => (float[n,8] y) { y = MatMul(x, w) }", w=SQUARE)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert check(model)[0]["x"].shape == (2, 8)


def test_values_outside_a_functions_range_are_avoided() -> None:
    model = parsed("(float[4,8] x) => (float[4,8] y) { a = Sqrt(x) y = Neg(a) }")
    assert all((feed["x"] >= 0).all() for feed in check(model))


def test_small_integers_and_bytes_cover_their_range() -> None:
    model = parsed("(uint8[1,3,16,16] x) => (float[1,3,16,16] y) { y = Cast<to = 1>(x) }")
    feed = check(model)[0]
    assert feed["x"].dtype == np.uint8
    assert feed["x"].max() > 200


def test_strings_sequences_and_categories() -> None:
    words = parsed('(string[4] s) => (int64[4] y) { y = ai.onnx.ml.LabelEncoder<keys_strings = ["u", "v", "w"], '
                   "values_int64s = [1, 2, 3], default_int64 = -1>(s) }")  # fmt: skip
    feeds = check(words)
    assert {word for feed in feeds for word in feed["s"]} <= {"u", "v", "w"}
    chain = parsed("(seq(float[2,3]) s) => (float[a,3] y) { y = ConcatFromSequence<axis = 0>(s) }")
    assert isinstance(check(chain)[0]["s"], list)


def test_initialisers_are_not_fed() -> None:
    model = parsed("(float[2,8] x, float[8,8] w) => (float[2,8] y) { y = MatMul(x, w) }", w=SQUARE)
    assert list(check(model)[0]) == ["x"]


def test_a_model_without_inputs() -> None:
    assert exercise_feeds(parsed("() => (float[8,8] y) { y = Neg(w) }", w=SQUARE), count=3) == [{}, {}, {}]


def test_outputs_that_ignore_the_input_are_noticed() -> None:
    model = parsed(
        "(float[2,8] x) => (float[2,8] y) { z = Mul(x, zero) y = Add(z, w) }", zero=np.float32(0), w=SQUARE[:2]
    )
    runner = Runner(model)
    assert not depends_on_inputs(runner, exercise_feeds(model, runner))


def test_a_model_that_nothing_runs_through_says_so() -> None:
    model = parsed(
        "(float[2,8] x, int64[2] s) => (float[a,b] y) { p = Abs(s) t = Add(p, five) y = Reshape(x, t) }",
        five=np.int64(5),
    )
    with pytest.raises(TccError) as caught:
        exercise_feeds(model)
    (diagnostic,) = caught.value.diagnostics
    assert caught.value.exit_code is Exit.DATA
    assert diagnostic.code == "E0603"
    assert "cannot be reshaped" in diagnostic.notes[0]
    assert diagnostic.notes[1] == "its inputs are x: [2, 8], s: [2]"
    assert "--inputs" in diagnostic.help
