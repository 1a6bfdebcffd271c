"""Small models, one for each way in which channels go together; weights are drawn by seed."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Feed = dict[str, Any]

HEAD = '<ir_version: 8, opset_import: ["" : {opset}]>\n'

CASES: dict[str, str] = {
    "residual": """g (float[1,3,8,8] x, float[8,3,3,3] w0, float[8] b0, float[8,8,3,3] w1, float[8] s,
        float[8] b, float[8] m, float[8] v, float[4,8,1,1] w2) => (float[1,4,8,8] y) {
        a = Conv<pads=[1,1,1,1]>(x, w0, b0)  r = Relu(a)  c = Conv<pads=[1,1,1,1]>(r, w1)
        n = BatchNormalization(c, s, b, m, v)  d = Add(n, a)  e = Relu(d)  y = Conv(e, w2) }""",
    "grouped": """g (float[1,3,6,6] x, float[16,3,1,1] w0, float[24,4,3,3] w1, float[24] b1, float[5,24,1,1] w2)
        => (float[1,5,4,4] y) {
        a = Conv(x, w0)  r = Sigmoid(a)  c = Conv<group=4>(r, w1, b1)  t = Tanh(c)  y = Conv(t, w2) }""",
    "depthwise": """g (float[1,3,6,6] x, float[12,3,1,1] w0, float[12,1,3,3] w1, float[4,12,1,1] w2)
        => (float[1,4,4,4] y) { a = Conv(x, w0)  r = Clip(a)  c = Conv<group=12>(r, w1)  y = Conv(c, w2) }""",
    "transposed": """g (float[1,3,5,5] x, float[8,3,1,1] w0, float[8,3,2,2] w1, float[6] b1, float[4,6,1,1] w2)
        => (float[1,4,10,10] y) { a = Conv(x, w0)  r = Relu(a)
        c = ConvTranspose<group=2, strides=[2,2]>(r, w1, b1)  t = Relu(c)  y = Conv(t, w2) }""",
    "shuffle": """g (float[1,3,4,4] x, float[16,3,1,1] w0, float[4,16,1,1] w2, int64[5] apart, int64[4] back)
        => (float[1,4,4,4] y) { a = Conv(x, w0)  r = Relu(a)  s = Reshape(r, apart)
        t = Transpose<perm=[0,2,1,3,4]>(s)  u = Reshape(t, back)  y = Conv(u, w2) }""",
    "concat_slice_split": """g (float[1,3,4,4] x, float[6,3,1,1] w0, float[10,3,1,1] w1, float[4,8,1,1] w2,
        int64[1] from, int64[1] to, int64[1] axis, int64[2] parts) => (float[1,4,4,4] y) {
        a = Conv(x, w0)  b = Conv(x, w1)  c = Concat<axis=1>(a, b)  r = Relu(c)
        s, t = Split<axis=1>(r, parts)  u = Mul(s, t)  d = Slice(c, from, to, axis)  e = Add(u, d)
        y = Conv(e, w2) }""",
    "reversed_gather_pad": """g (float[1,3,4,4] x, float[6,3,1,1] w0, float[4,10,1,1] w2, int64[1] last, int64[1] first,
        int64[1] axis, int64[1] minus, int64[8] order, int64[8] pads) => (float[1,4,4,4] y) {
        a = Conv(x, w0)  r = Slice(a, last, first, axis, minus)  s = Gather<axis=1>(r, order)
        p = Pad(s, pads)  t = Tanh(p)  y = Conv(t, w2) }""",
    "strided_view": """g (float[B,3] x, float[3,8] w0, float[4,8,1,1] w1, int64[1,8,2,1] table, float[1] one)
        => (float[B,1,4,2,1] y) { a = MatMul(x, w0)  r = Relu(a)  v = Gather<axis=1>(r, table)
        n = Squeeze<axes=[1]>(v)  p = Conv(n, w1)  y = Unsqueeze<axes=[1]>(p) }""",
    "squeeze_excite": """g (float[1,3,4,4] x, float[8,3,1,1] w0, float[2,8,1,1] w1, float[8,2,1,1] w2,
        float[4,8,1,1] w3)
        => (float[1,4,4,4] y) { a = Conv(x, w0)  p = GlobalAveragePool(a)  q = Conv(p, w1)  r = Relu(q)
        s = Conv(r, w2)  t = HardSigmoid(s)  u = Mul(a, t)  y = Conv(u, w3) }""",
    "flattened": """g (float[2,3,4,4] x, float[8,3,3,3] w0, float[32,10] w1, float[10] c, float[3,10] w2)
        => (float[2,3] y) { a = Conv(x, w0)  r = Relu(a)  f = Flatten(r)  h = Gemm(f, w1, c)
        e = Elu(h)  y = Gemm<transB=1>(e, w2) }""",
    "attention": """g (float[B,T,12] x, float[12,12] wq, float[12,12] wk, float[12,12] wv, float[12] bv, float[12,6] wo,
        int64[4] heads, float r, int64[3] merged) => (float[B,T,6] y) {
        q = MatMul(x, wq)  k = MatMul(x, wk)  v0 = MatMul(x, wv)  v = Add(v0, bv)
        qh = Reshape(q, heads)  kh = Reshape(k, heads)  vh = Reshape(v, heads)
        qt = Transpose<perm=[0,2,1,3]>(qh)  kt = Transpose<perm=[0,2,3,1]>(kh)  vt = Transpose<perm=[0,2,1,3]>(vh)
        s = MatMul(qt, kt)  d = Div(s, r)  p = Softmax<axis=-1>(d)  o = MatMul(p, vt)
        ot = Transpose<perm=[0,2,1,3]>(o)  m = Reshape(ot, merged)  y = MatMul(m, wo) }""",
    "computed_shapes": """g (float[B,T,12] x, float[12,12] wv, float[12,6] wo, int64 zero, int64 one, int64 two,
        int64[1] n4, int64[1] axis) => (float[B,T,6] y) {
        v = MatMul(x, wv)  sh = Shape(v)  b = Gather(sh, zero)  t = Gather(sh, one)  c = Gather(sh, two)
        n0 = Squeeze(n4)  d = Div(c, n0)  bu = Unsqueeze(b, axis)  tu = Unsqueeze(t, axis)  du = Unsqueeze(d, axis)
        target = Concat<axis=0>(bu, tu, n4, du)  h = Reshape(v, target)  q = Transpose<perm=[0,2,3,1]>(h)
        df = Cast<to=1>(d)  e = Div(q, df)  p = Transpose<perm=[0,3,1,2]>(e)  cu = Unsqueeze(c, axis)
        back = Concat<axis=0>(bu, tu, cu)  m = Reshape(p, back)  y = MatMul(m, wo) }""",
    "grouped_queries": """g (float[B,T,8] x, float[8,24] wq, float[8,8] wk, float[24,6] wo, int64[4] qs, int64[4] ks,
        int64[1] two, int64[5] wide, int64[4] joined, int64[3] merged) => (float[B,T,6] y) {
        q = MatMul(x, wq)  k = MatMul(x, wk)  qh = Reshape(q, qs)  kh = Reshape(k, ks)
        qt = Transpose<perm=[0,2,1,3]>(qh)  kt = Transpose<perm=[0,2,1,3]>(kh)  ku = Unsqueeze(kt, two)
        ke = Expand(ku, wide)  kj = Reshape(ke, joined)  kx = Transpose<perm=[0,1,3,2]>(kj)
        s = MatMul(qt, kx)  p = Softmax<axis=-1>(s)  o = MatMul(p, kj)
        ot = Transpose<perm=[0,2,1,3]>(o)  m = Reshape(ot, merged)  y = MatMul(m, wo) }""",
    "rotary": """g (float[1,5,8] x, float[8,16] wq, float[8,16] wk, float[1,5,1,8] cos, float[1,5,1,8] sin,
        float[5,5] wo,
        int64[4] heads, int64[1] zero, int64[1] half, int64[1] end, int64[1] axis) => (float[1,2,5,5] y) {
        q = MatMul(x, wq)  k = MatMul(x, wk)  qh = Reshape(q, heads)  kh = Reshape(k, heads)
        q0 = Slice(qh, zero, half, axis)  q1 = Slice(qh, half, end, axis)  qn = Neg(q1)  qr = Concat<axis=3>(qn, q0)
        qa = Mul(qh, cos)  qb = Mul(qr, sin)  qq = Add(qa, qb)
        k0 = Slice(kh, zero, half, axis)  k1 = Slice(kh, half, end, axis)  kn = Neg(k1)  kr = Concat<axis=3>(kn, k0)
        ka = Mul(kh, cos)  kb = Mul(kr, sin)  kk = Add(ka, kb)
        qt = Transpose<perm=[0,2,1,3]>(qq)  kt = Transpose<perm=[0,2,3,1]>(kk)  s = MatMul(qt, kt)
        y = MatMul(s, wo) }""",
    "layer_norm": """g (int64[B,T] x, float[20,12] table, float[12] s, float[12] b, float[12,16] w1,
        float[16] c, float[8,12] w2,
        float[12] s2, float[12,5] w3) => (float[B,T,5] y) {
        e = Gather(table, x)  n = LayerNormalization(e, s, b)  h = MatMul(n, w1)  i = Add(h, c)
        l, r = Split<axis=-1, num_outputs=2>(i)  g = Sigmoid(l)  j = Mul(g, r)  k = MatMul(j, w2)
        o = Add(e, k)  m = LayerNormalization(o, s2)  y = MatMul(m, w3) }""",
    "written_out_norm": """g (float[B,6] x, float[6,12] w0, float two, float eps, float[12] s,
        float[12,4] w1) => (float[B,4] y) {
        a = MatMul(x, w0)  m = ReduceMean<axes=[-1]>(a)  d = Sub(a, m)  p = Pow(d, two)  v = ReduceMean<axes=[-1]>(p)
        e = Add(v, eps)  q = Sqrt(e)  n = Div(d, q)  t = Mul(n, s)  y = MatMul(t, w1) }""",
    "group_norm": """g (float[1,3,4,4] x, float[12,3,1,1] w0, int64[3] apart, float[4] gs, float[4] gb, int64[4] back,
        float[12,1,1] s, float[4,12,1,1] w1) => (float[1,4,4,4] y) {
        a = Conv(x, w0)  r = Reshape(a, apart)  n = InstanceNormalization(r, gs, gb)  u = Reshape(n, back)
        m = Mul(u, s)  y = Conv(m, w1) }""",
    "channel_softmax": """g (float[1,3,4,4] x, float[12,3,1,1] w0, float[4,12,1,1] w1) => (float[1,4,4,4] y) {
        a = Conv(x, w0)  p = Softmax<axis=1>(a)  m = ReduceMax<axes=[1]>(a)  q = Mul(p, m)
        l = ReduceL2<axes=[1]>(a)  e = Div(q, l)  y = Conv(e, w1) }""",
    "pixel_shuffle": """g (float[1,3,4,4] x, float[24,3,1,1] w0, float[4,6,1,1] w1) => (float[1,4,8,8] y) {
        a = Conv(x, w0)  d = DepthToSpace<blocksize=2, mode="CRD">(a)  r = Relu(d)  y = Conv(r, w1) }""",
    "lstm": """g (float[5,B,6] x, float[2,32,6] w, float[2,32,8] r, float[2,64] b, float[16,4] wo, int64[3] flat)
        => (float[5,B,4] y) { h, last, cell = LSTM<hidden_size=8, direction="bidirectional">(x, w, r, b)
        t = Transpose<perm=[0,2,1,3]>(h)  f = Reshape(t, flat)  y = MatMul(f, wo) }""",
    "gru": """g (float[5,B,6] x, float[1,24,6] w, float[1,24,8] r, float[1,48] b, float[8,4] wo, int64[1] axis)
        => (float[5,B,4] y) { h, last = GRU<hidden_size=8, linear_before_reset=1>(x, w, r, b)
        s = Squeeze(h, axis)  y = MatMul(s, wo) }""",
    "tied_vocabulary": """g (int64[B,T] x, float[20,12] table, float[12,12] w) => (float[B,T,20] y) {
        e = Gather(table, x)  h = MatMul(e, w)  r = Relu(h)  t = Transpose<perm=[1,0]>(table)  y = MatMul(r, t) }""",
    "einsum": """g (float[B,6] x, float[6,2,5] w0, float[2,5,4] w1) => (float[B,4] y) {
        a = Einsum<equation="bi,ihd->bhd">(x, w0)  r = Relu(a)  y = Einsum<equation="bhd,hdo->bo">(r, w1) }""",
    "experts_apart": """g (float[B,12] x, float[12,2] wr, float[12,8] u0, float[8,6] d0, float[12,10] u1,
        float[10,6] d1, float[6,4] wo) => (float[B,4] y) { l = MatMul(x, wr)  p = Softmax(l)
        p0, p1 = Split<axis=1, num_outputs=2>(p)
        a0 = MatMul(x, u0)  r0 = Relu(a0)  o0 = MatMul(r0, d0)  a1 = MatMul(x, u1)  r1 = Relu(a1)  o1 = MatMul(r1, d1)
        s0 = Mul(o0, p0)  s1 = Mul(o1, p1)  s = Add(s0, s1)  y = MatMul(s, wo) }""",
    "experts_stacked": """g (float[B,12] x, float[12,4] wr, float[4,12,8] wu, float[4,12,8] wg, float[4,8,6] wd,
        int64[1] one, int64[1] first, int64[1] last) => (float[B,6] y) { l = MatMul(x, wr)
        best, at = TopK(l, one)  f = GreaterOrEqual(l, best)  c = Cast<to=1>(f)  p = Sigmoid(l)  k = Mul(p, c)
        t = Transpose<perm=[1,0]>(k)  g0 = Unsqueeze(t, last)  x1 = Unsqueeze(x, first)
        u = MatMul(x1, wu)  g = MatMul(x1, wg)  s = Sigmoid(g)  n = Mul(g, s)  h = Mul(u, n)  d = MatMul(h, wd)
        w = Mul(d, g0)  y = ReduceSum<keepdims=0>(w, first) }""",
    "quantized": """g (float[1,3,4,4] x, float s, uint8 z, int8[8,3,1,1] w0, float[8] ws, int8[8] wz, float[4,8,1,1] w1)
        => (float[1,4,4,4] y) { q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)
        f = DequantizeLinear<axis=0>(w0, ws, wz)  a = Conv(d, f)  r = Relu(a)
        qa = QuantizeLinear(r, s, z)  da = DequantizeLinear(qa, s, z)  y = Conv(da, w1) }""",
}  # fmt: skip

NUMBERS: dict[str, dict[str, list[int] | int | float]] = {
    "shuffle": {"apart": [1, 2, 8, 4, 4], "back": [1, -1, 4, 4]},
    "concat_slice_split": {"from": [4], "to": [12], "axis": [1], "parts": [8, 8]},
    "reversed_gather_pad": {"last": [5], "first": [-7], "axis": [1], "minus": [-1],
                            "order": [0, 2, 1, 3, 5, 4, 0, 2], "pads": [0, 1, 0, 0, 0, 1, 0, 0]},
    "strided_view": {"table": [7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0], "one": [1]},
    "attention": {"heads": [0, 0, 3, 4], "merged": [0, 0, 12], "r": 2.0},
    "computed_shapes": {"zero": 0, "one": 1, "two": 2, "n4": [4], "axis": [0]},
    "grouped_queries": {"qs": [0, 0, 6, 4], "ks": [0, 0, 2, 4], "two": [2], "wide": [1, 2, 3, 1, 4],
                        "joined": [0, 6, -1, 4], "merged": [0, 0, 24]},
    "rotary": {"heads": [1, 5, 2, 8], "zero": [0], "half": [4], "end": [9223372036854775807], "axis": [3]},
    "layer_norm": {},
    "written_out_norm": {"two": 2.0, "eps": 1e-5},
    "group_norm": {"apart": [1, 4, -1], "back": [1, 12, 4, 4]},
    "lstm": {"flat": [0, 0, 16]},
    "gru": {"axis": [1]},
    "experts_stacked": {"one": [1], "first": [0], "last": [2]},
    "quantized": {"s": 0.02, "z": 0},
}  # fmt: skip

OPSETS = {"strided_view": 11, "layer_norm": 18, "quantized": 13, "experts_apart": 18}


def model(case: str, *, opset: int | None = None) -> onnx.ModelProto:
    """A case's model: its first input is fed, the others are constants."""
    text = HEAD.replace("{opset}", str(opset or OPSETS.get(case, 17))) + CASES[case]
    return with_weights(onnx.parser.parse_model(text), NUMBERS.get(case, {}))


def with_weights(made: onnx.ModelProto, numbers: dict[str, Any]) -> onnx.ModelProto:
    """All inputs but the first as initialisers: given numbers, or draws."""
    for value in list(made.graph.input)[1:]:
        made.graph.initializer.append(numpy_helper.from_array(_drawn(value, numbers), value.name))
        made.graph.input.remove(value)
    return made


def _drawn(value: onnx.ValueInfoProto, numbers: dict[str, Any]) -> np.ndarray:
    kind = value.type.tensor_type
    shape = [d.dim_value for d in kind.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    if value.name in numbers:
        return np.array(numbers[value.name], dtype).reshape(shape)
    rng = np.random.default_rng(zlib.crc32(value.name.encode()))
    if kind.elem_type == TensorProto.INT8:
        return rng.integers(-60, 60, shape).astype(dtype) if value.name != "wz" else np.zeros(shape, dtype)
    if value.name in {"v", "ws", "s"}:
        return rng.uniform(0.5, 1.5, shape).astype(dtype) * (0.01 if value.name == "ws" else 1)
    return (rng.standard_normal(shape) / math.sqrt(max(math.prod(shape[1:]), 1))).astype(dtype)


def feeds(made: onnx.ModelProto, count: int = 2) -> list[Feed]:
    """Draws for the inputs; the sizes of symbols differ between them."""
    found = []
    for turn in range(count):
        rng, feed = np.random.default_rng(turn), dict[str, Any]()
        for value in made.graph.input:
            kind = value.type.tensor_type
            shape = [d.dim_value or {"B": 2 + turn, "T": 5 + 2 * turn}[d.dim_param] for d in kind.shape.dim]
            if kind.elem_type == TensorProto.INT64:
                feed[value.name] = rng.integers(0, 20, shape)
            else:
                feed[value.name] = rng.standard_normal(shape).astype(np.float32)
        found.append(feed)
    return found
