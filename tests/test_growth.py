"""Rules come to an end on graphs whose constants could be written in ever new ways."""

from __future__ import annotations

import onnx
import onnx.parser
import pytest

from tcc import frontends
from tcc.passes.base import Context
from tcc.passes.simplify import Simplify
from tcc.targets import parse_target

WINDOW = """<ir_version: 8, opset_import: ["" : 17]>
window (int64[1] size) => (float[n] y)
<float zero = {0}, float one = {1}, float turn = {6.2831855}, float two = {2}, float a = {0.42}, float b = {0.5},
 float c = {0.08}, int64[1] axes = {0}> {
   scalar = Squeeze (size, axes)
   number = Cast <to = 1> (scalar)
   less = Sub (number, one)
   symmetric = Sub (one, one)
   first_part = Mul (number, one)
   second_part = Mul (less, symmetric)
   length = Add (first_part, second_part)
   step = Div (turn, length)
   index = Range (zero, number, one)
   angle = Mul (index, step)
   doubled = Mul (angle, two)
   wave = Cos (angle)
   first = Mul (wave, b)
   faster = Cos (doubled)
   second = Mul (faster, c)
   rest = Sub (a, first)
   y = Add (rest, second)
}"""
"""A Blackman window as ONNX defines it: one of two lengths is multiplied with 0 = 1 - 1."""
SCALED = """<ir_version: 8, opset_import: ["" : 17]>
scaled (float[n, 4] x, float[m, 4] z) => (float[k, 3] y)
<float one = {1}, float[4, 4] v = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
 float[4, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> {
   s = Add (x, z)
   q = MatMul (s, v)
   p = Mul (q, one)
   y = MatMul (p, w)
}"""
"""A product of unknown size that is multiplied with 1, as scores without a scale are."""


UNTRAINED = """<ir_version: 8, opset_import: ["" : 17]>
untrained (float[n, 2, 6, 6] x) => (float[n, 2, 6, 6] y)
<float one = {{1}}, float zero = {{0}}, float[2, 1, 1] ones = {{1, 1}}, float[2, 1, 1] zeros = {{0, 0}},
 float[2, 2, 1, 1] w = {{1, 2, 3, 4}}> {{
   conv = Conv (x, w)
   scaled = Mul ({scale})
   y = Add ({shift})
}}"""
"""What takes in a factor or a term, and a factor and a term that change nothing, as a layer has before its training."""
TENSORS = UNTRAINED.format(scale="conv, ones", shift="scaled, zeros")
NUMBERS = UNTRAINED.format(scale="conv, one", shift="scaled, zero")
LEFT = UNTRAINED.format(scale="ones, conv", shift="zeros, scaled")
GROUPS = """<ir_version: 10, opset_import: ["" : 21]>
groups (float[n, 4, 6, 6] x) => (float[n, 4, 6, 6] y)
<int64[3] parts = {0, 2, -1}, int64[4] whole = {0, 4, 6, 6}, float[2] one = {1, 1}, float[2] zero = {0, 0},
 float[4, 1, 1] ones = {1, 1, 1, 1}, float[4, 1, 1] zeros = {0, 0, 0, 0}> {
   groups = Reshape (x, parts)
   normal = InstanceNormalization (groups, one, zero)
   back = Reshape (normal, whole)
   scaled = Mul (back, ones)
   y = Add (scaled, zeros)
}"""
TEXTS = {
    "zeros": WINDOW, "ones": SCALED, "tensors": TENSORS, "numbers": NUMBERS, "left": LEFT, "groups": GROUPS
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_constants_do_not_make_ever_new_ones(text: str) -> None:
    model = frontends.load(onnx.parser.parse_model(text))
    (graph,) = Simplify(newer=False).run(model, Context(parse_target("native"))).facts["graphs"]
    assert graph["saturation"] == "saturated"
    assert graph["iterations"] <= 8
