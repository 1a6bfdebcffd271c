"""Runs one rule on one instance and judges what it makes: does it fire, and does its equality hold."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, replace

import numpy as np
import onnx

from tcc import frontends
from tcc.diagnostics import TccError
from tcc.ir import emission, importing, translated
from tcc.ir.checks import verify_signature
from tcc.ir.equality import compare
from tcc.ir.execution import Runner
from tcc.ir.frozen import freeze
from tcc.ir.inference import annotate
from tcc.ir.model import Model
from tcc.ir.naming import names_of_model
from tcc.ir.saturation import Limits, saturate
from tcc.rewrites import Equality, rules
from tcc.rewrites.laws import laws
from tcc.rewrites.rule import Rule
from tests.rules.draw import Draw
from tests.rules.instances import MARK, Generator, instances
from tests.rules.preference import preferring

SEEDS = int(os.environ.get("TCC_RULE_SEEDS", "8"))
"""Instances of a rule's left side; of its near misses half as many each."""
FIRING = 0.3
"""The least share of a rule's instances on which it has to fire."""
LIMITS = Limits(nodes=20_000, iterations=4)
TOLERANCES = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-6}
"""By element type, relative to the tensor's scale: float16 four of its epsilons, for that many roundings."""
_REJECTIONS = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
_RULES = {rule.name: rule for rule in (*rules(), *laws())}


@dataclass(frozen=True)
class Verdict:
    """Whether the rule fired, that is, whether a program that only it allows was run; and what is wrong with it."""

    fired: bool
    problem: str = ""


def seeds(miss: str) -> range:
    """The seeds of a rule's instances, or of one of its near misses."""
    return range(max(1, SEEDS // 2) if miss else SEEDS)


def reproduction(rule: str, miss: str, seed: int) -> str:
    """The command that runs one case again."""
    needed = 2 * (seed + 1) if miss else seed + 1
    count = f"TCC_RULE_SEEDS={needed} " if needed > 8 else ""
    return f'{count}pytest tests/test_rules.py -k "{case_name(rule, miss)} and seed{seed:04d}"'


def case_name(rule: str, miss: str) -> str:
    """What identifies the instances of a rule or of one of its near misses among the tests."""
    return f"{rule}__{miss}-" if miss else f"{rule}-"


def caught(wrong: Rule, rounds: int) -> str:
    """What is wrong with a wrong rule, found on the instances of the real one; empty where nothing was found."""
    own = instances()[wrong.name.partition(MARK)[0]]
    for seed in range(rounds):
        for generator in own.generators():
            if problem := judge(wrong, generator, seed, own.companions).problem:
                return problem
    return ""


def judge(rule: Rule, generator: Generator, seed: int, companions: tuple[str, ...] = ()) -> Verdict:
    """Make the seed's instance, let the rule alone rewrite it, and run the program that only the rule allows.

    Where there are several such programs the seed chooses one, so that all are met over the seeds.
    """
    salt = zlib.crc32(f"{generator.__module__}.{generator.__name__}".encode())
    draw = Draw(np.random.default_rng([seed, salt]), special=rule.equality is Equality.BITS)
    proto = generator(draw)
    onnx.checker.check_model(proto, full_check=True)
    expected = Runner(proto).run(draw.feeds)
    model = frontends.load(proto)
    try:
        rewritten = _rewritten(model, rule, companions, draw.rng)
    except (TccError, AssertionError, RuntimeError, ValueError, LookupError, *_REJECTIONS) as error:
        return Verdict(True, f"the rewritten program cannot be written: {type(error).__name__}: {error}")
    if rewritten is None:
        return Verdict(False)
    return Verdict(True, _difference(rule, proto, rewritten, draw, expected))


def _difference(rule: Rule, proto: onnx.ModelProto, rewritten: Model, draw: Draw, expected: list[np.ndarray]) -> str:
    """What is wrong with the rewritten model; empty where nothing is."""
    made = rewritten.to_proto()
    try:
        onnx.checker.check_model(made, full_check=True)
    except _REJECTIONS as error:
        return f"the checker rejects it: {error}\n{_text(proto)}\n{_text(made)}"
    if problems := verify_signature(frontends.load(proto).signature, rewritten.signature):
        return "; ".join(problems)
    try:
        actual = Runner(made).run(draw.feeds)
    except TccError as error:
        return f"it does not run: {error}\n{_text(proto)}\n{_text(made)}"
    bits = rule.equality is Equality.BITS
    for a, b in zip(expected, actual, strict=True):
        found = compare([a], [b], bits=bits, rtol=TOLERANCES.get(a.dtype.name, 0.0))
        if not found.equal:
            return f"{found.text()}\n{_text(proto)}\n{_text(made)}\nexpected {a}\nactual {b}"
    return ""


def _text(proto: onnx.ModelProto) -> str:
    return onnx.printer.to_text(proto.graph)


def _rewritten(model: Model, rule: Rule, companions: tuple[str, ...], rng: np.random.Generator) -> Model | None:
    """The model as a program that only the rule allows; None where there is none."""
    opset = model.opset
    imported = importing.import_graph(model.graph, annotate(model))
    helpers = [_RULES[name] for name in companions]
    if not rule.applies(frozenset(imported.operators).union(*(r.mentions for r in helpers)), opset):
        return None
    operators = imported.operators.union(rule.mentions, *(r.mentions for r in helpers))
    facts = translated.analysis_for(operators, operators, opset)
    saturate(imported.egraph, [r.stored.text for r in helpers], facts, LIMITS)
    before = freeze(imported.egraph)
    saturate(imported.egraph, [r.stored.text for r in (*helpers, rule)], facts, LIMITS)
    after = freeze(imported.egraph)
    program = preferring(imported, before, after, rng)
    if program is None:
        return None
    # Constants are folded as the simplifying pass folds them under this promise.
    program = replace(program, wide=rule.equality is Equality.VALUE)
    emission.emit(imported, after, program, model.opset_imports, names_of_model(model))
    return model
