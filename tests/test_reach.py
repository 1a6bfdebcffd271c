"""What is thought to be able to match is no less than what the engine matches."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper

from benchmarks import models
from tcc import frontends, rewrites
from tcc.ir import importing, queries, reading, translated
from tcc.ir.engine import RULESET
from tcc.ir.inference import annotate
from tcc.ir.model import Model
from tcc.ir.reach import Reach, reachable
from tcc.ir.saturation import Limits, Saturating, saturate
from tcc.rewrites import siblings

DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "digits.onnx"
ZOO = {entry.name: entry for entry in models.entries(("zoo",))}
LIMITS = Limits(nodes=20_000, iterations=5)


def imported_of(model: Model) -> importing.Imported:
    imported = importing.import_graph(model.graph, annotate(model))
    siblings.join_siblings(imported, model.opset)
    return imported


def written(text: str) -> Model:
    return frontends.load(onnx.parser.parse_model(text))


TEXTS = {
    "shapes": """<ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 4] x) => (float[m, k] y)
        <int64[1] two = {2}, int64[1] one = {1}, int64[1] all = {-1}> {
            s = Shape (x)
            i = Constant <value_int = 0> ()
            n = Gather <axis = 0> (s, i)
            o = Constant <value_ints = [0]> ()
            u = Unsqueeze (n, o)
            h = Concat <axis = 0> (u, two, all)
            r = Reshape (x, h)
            f = Concat <axis = 0> (u, all)
            y = Reshape (r, f)
        }""",
    "normalised": """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2, 3, 8, 8] x) => (float[2, 4, 6, 6] y)
        <float[4, 3, 3, 3] w = {0.5}, float[4] s = {1, 2, 3, 4}, float[4] b = {1, 2, 3, 4}, float[4] m = {0, 1, 0, 1},
         float[4] v = {1, 1, 2, 2}, float one = {1}> {
            c = Conv (x, w)
            d = BatchNormalization (c, s, b, m, v)
            e = Mul (d, one)
            f = Identity (e)
            y = Relu (f)
        }""".replace("float[4, 3, 3, 3] w = {0.5}", f"float[4, 3, 3, 3] w = {{{', '.join(['0.5'] * 108)}}}"),
    "gelu": """<ir_version: 8, opset_import: ["" : 20]>
        g (float[2, 8] x) => (float[2, 8] y)
        <float r = {1.4142135623730951}, float one = {1}, float half = {0.5}> {
            a = Div (x, r)
            b = Erf (a)
            c = Add (b, one)
            d = Mul (x, c)
            y = Mul (d, half)
        }""",
}


def every_query(opset: int) -> list[tuple[rewrites.Stored, queries.Query]]:
    return [(r, q) for r in rewrites.stored() if r.first_opset <= opset <= r.last_opset for q in r.queries]


def check(model: Model) -> None:
    """Every command that matches when all are run may match by what is known of the graph then."""
    opset = model.opset
    first, second = imported_of(model.clone()), imported_of(model)
    rules = [rule for rule in rewrites.stored() if rule.first_opset <= opset <= rule.last_opset]
    saturating = Saturating(second.egraph, second.tables, rules, opset, retype=True)
    saturating.run(LIMITS)
    operators = frozenset(translated.language().operators)
    given = {query.name.replace(RULESET, "checked"): query for _, query in every_query(opset)}
    analysis = translated.analysis_for(operators, operators, opset)
    saturate(first.egraph, [], analysis, LIMITS)
    first.egraph.extend("checked", [query.text for query in given.values()])
    reach = reading.reach_of(first.tables)
    facts = f"(saturate (run {first.egraph.ruleset(analysis)}))"
    for _ in range(LIMITS.iterations):
        changed, matched = first.egraph.matched(f"(seq (run checked) {facts})")
        for name in sorted(matched & given.keys()):
            assert reach.match(given[name]) is not None, name
        for name in sorted(matched & given.keys()):
            reach.apply(given[name])
        reach.settle()
        if not changed or first.egraph.size() > LIMITS.nodes:
            break


@pytest.mark.parametrize("name", TEXTS)
def test_what_matches_was_thought_to(name: str) -> None:
    check(written(TEXTS[name]))


@pytest.mark.parametrize("name", ["mlperf_ic_resnet8_bn", "llama_aidreams_282k", "ultraface_rfb320"])
def test_what_matches_in_real_models_was_thought_to(name: str) -> None:
    if name not in ZOO:
        pytest.skip("the zoo is not here: set TCC_ZOO to its folder")
    check(frontends.load(models.file(ZOO[name], Path())))


def test_digits_need_few_of_the_commands() -> None:
    model = frontends.load(DIGITS)
    imported = imported_of(model)
    rules = [rule for rule in rewrites.stored() if rule.first_opset <= model.opset <= rule.last_opset]
    saturating = Saturating(imported.egraph, imported.tables, rules, model.opset, retype=False)
    saturating.run(LIMITS)
    assert len(saturating.given) < len(every_query(model.opset)) / 4


def test_a_command_says_what_it_asks_for_and_adds() -> None:
    line = (
        '(rewrite (Mul (Conv _x _w (absent) _a) _c "{}") (Conv _x (Mul _w _c "{}") (absent) _a) '
        ':when ((constant _w) (= _k (known _c))) :ruleset %RULESET% :name "r.0.%RULESET%")'
    )
    read = queries.read(line, {"Conv", "Mul"}, set())
    assert set(read.reads) == {"Mul", "Conv", "absent"}
    assert set(read.writes) == {"Conv", "Mul"}
    assert len(read.unions) == len(read.constant) == len(read.known) == 1


def test_constants_alone_are_told_from_what_varies() -> None:
    reach = Reach()
    x, c = reach.leaf("value", constant_=False), reach.leaf("value", constant_=True)
    reach.add("Mul", [(0, c), (1, c)])
    line = '(rewrite (Mul (Relu _x "{}") _c "{}") _x :ruleset r :name "r.0.r")'
    read = queries.read(line, {"Relu", "Mul"}, set())
    assert reach.match(read) is None
    relu = reach.add("Relu", [(0, x)])
    assert reach.match(read) is None  # nothing multiplies it
    reach.add("Mul", [(0, relu), (1, c)])
    assert reach.match(read) is not None


def test_what_a_command_adds_lets_others_match() -> None:
    operators = {"Relu", "Abs", "Neg"}
    chain = [
        queries.read(f'(rewrite ({a} _x "{{}}") ({b} _x "{{}}") :ruleset r :name "{a}.0.r")', operators, set())
        for a, b in (("Relu", "Abs"), ("Abs", "Neg"), ("Neg", "Relu"))
    ]
    reach = Reach()
    reach.add("Relu", [(0, reach.leaf("value", constant_=False))])
    assert reach.match(chain[1]) is None
    assert reachable(chain, reach) == set(chain)
    assert reach.match(chain[1]) is None  # what was asked about was a copy


def test_a_model_without_typed_nodes_is_empty() -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Cosh", ["x"], ["y"])], "g", [x], [y])
    model = frontends.load(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]))
    assert isinstance(model.ir, onnx_ir.Model)
    imported = imported_of(model)
    saturating = Saturating(imported.egraph, imported.tables, rewrites.stored(), 17, retype=False)
    saturating.run(LIMITS)
    assert not saturating.given
