"""Rules are written in Python and run as texts: the texts say the same, and Python's side is not needed to run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tcc import cache, rewrites
from tcc.ir import translated
from tcc.ir.engine import RULESET, EGraph, bindings
from tcc.ir.translation import text_of

DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "digits.onnx"


def parsed(text: str) -> list[Any]:
    commands: list[Any] = bindings().EGraph().parse_program(text)
    return commands


def printed(command: Any) -> str:
    """The command as text again, its rule set and name as they are."""
    rule = getattr(command, "rule", None) or command.rewrite
    name = getattr(command, "name", "") or rule.ruleset
    return text_of_rule(command).replace(f":ruleset {RULESET}", f":ruleset {name}")


def text_of_rule(command: Any) -> str:
    from tcc.ir import translation

    rule = getattr(command, "rule", None) or command.rewrite
    made: str = translation._RULES[type(command).__name__](command, rule.name)
    return made


def test_the_engine_reads_every_text_as_what_was_written() -> None:
    language = translated.language()
    texts = [
        *(r.text for r in rewrites.stored()),
        language.common,
        *language.symbolic.values(),
        *language.inference.values(),
    ]
    for text in texts:
        lines = text.replace(RULESET, "some").splitlines()
        assert [printed(command) for line in lines for command in parsed(line)] == lines


def test_what_is_kept_is_what_the_rules_say() -> None:
    assert rewrites.stored() == tuple(rule.stored for rule in rewrites.rules())


@pytest.mark.parametrize("text", ['{"perm":[1,0]}', "a\\b", "a\nb\tc", "é"])
def test_strings_survive(text: str) -> None:
    (command,) = parsed(f"(f {text_of(bindings().String(text))})")
    assert command.action.expr.args[0].value.value == text


def test_a_rule_set_is_added_once_and_another_beside_it() -> None:
    egraph = EGraph()
    egraph.declare("(relation seen (i64))")
    one, two = (f'(rule () ((seen {i})) :ruleset {RULESET} :name "{i}.{RULESET}")' for i in (1, 2))
    assert egraph.ruleset([one]) == egraph.ruleset([one]) != egraph.ruleset([one, two])
    assert egraph.run(f"(run {egraph.ruleset([one])})")
    assert egraph.size() == 1
    assert egraph.run(f"(run {egraph.ruleset([one, two])})")
    assert egraph.size() == 2


def test_a_compilation_needs_no_rule_in_python(tmp_path: Path) -> None:
    rewrites.stored()
    code = (
        "import sys, tcc\n"
        f"tcc.compile({str(DIGITS)!r}, 2, 'x86-64-vnni', output={str(tmp_path / 'out.onnx')!r})\n"
        "print([name for name in ('egglog', 'tcc.ir.language', 'black', 'IPython') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "[]\n"


class Counted:
    """Makes a value and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> list[int]:
        self.times += 1
        return [self.times]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counted:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "source.py").write_text("1")
    return Counted()


def test_what_is_kept_is_made_again_only_after_a_change(made: Counted, tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    assert [cache.kept("x", [source], made) for _ in range(2)] == [[1], [1]]
    source.write_text("12")
    assert cache.kept("x", [tmp_path], made) == [2]


def test_a_damaged_or_unwritable_cache_costs_time_and_nothing_else(made: Counted, tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    cache.kept("x", [source], made)
    (kept,) = cache.folder().glob("x-*")
    kept.write_text('{"key": ')
    assert cache.kept("x", [source], made) == [2]
    (tmp_path / "file").write_text("")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path / "file")
    assert [cache.kept("x", [source], made) for _ in range(2)] == [[3], [4]]


def test_a_compilation_needs_no_symbolic_algebra_and_no_graph_library(tmp_path: Path) -> None:
    code = (
        "import sys, tcc\n"
        f"tcc.compile({str(DIGITS)!r}, 2, 'x86-64-vnni', output={str(tmp_path / 'out.onnx')!r})\n"
        "print([name for name in ('sympy.core', 'networkx') if name in sys.modules])\n"
        "import onnx_ir, sympy\n"
        "print(onnx_ir.SymbolicDim('N') + 1, sympy.Symbol('x') + 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "[]\nN + 1 x + 1\n"
