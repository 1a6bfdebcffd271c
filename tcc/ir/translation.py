"""Translates what is written in egglog's Python language into the engine's own text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import egglog
from egglog import Ruleset
from egglog.runtime import RuntimeFunction

from tcc.ir import language
from tcc.ir.engine import RULESET


@dataclass
class Translator:
    """Collects the commands of egglog's Python language instead of running them.

    A declaration is handed out once: with what first needs it.
    """

    commands: list[Any] = field(default_factory=list)
    shared: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # egglog offers no public way to its commands, and the text it prints of them cannot be parsed again.
        self._egraph: Any = egglog.EGraph()
        state: Any = self._egraph._state
        state._run_program = self._collect

    def _collect(self, *commands: Any) -> list[Any]:
        self.commands += commands
        return []

    def language(self) -> str:
        """The declarations of all functions, relations and sorts of ``tcc.ir.language``."""
        for declared in vars(language).values():
            if isinstance(declared, RuntimeFunction):
                self._egraph._callable_to_egg(declared)
        return "\n".join(map(text_of, self._taken()))

    def ruleset(self, rules: Ruleset) -> tuple[str, str]:
        """The declarations that a rule set needs, and its rules."""
        self._egraph._add_decls(rules)
        self._egraph._state.ruleset_to_egg(rules.__egg_ident__)
        declarations: list[str] = []
        texts: list[str] = []
        for command in self._taken():
            if type(command).__name__ in _RULES:
                name = f"{str(rules.__egg_ident__).rpartition('.')[2]}.{len(texts)}.{RULESET}"
                texts.append(_RULES[type(command).__name__](command, name))
            elif type(command).__name__ == "ActionCommand":
                # What a rule writes several times, egglog names once for all rules; here it is written out again.
                self.shared[command.action.lhs] = text_of(command.action.rhs)
            elif type(command).__name__ != "AddRuleset":
                declarations.append(text_of(command))
        return "\n".join(declarations), _SHARED.sub(lambda name: self.shared[name[0]], "\n".join(texts))

    def rules(self, rules: Ruleset) -> str:
        """The rules of a rule set that declares nothing of its own."""
        declarations, text = self.ruleset(rules)
        if declarations:
            message = f"{rules.__egg_ident__} uses what tcc.ir.language does not declare: {declarations}"
            raise ValueError(message)
        return text

    def _taken(self) -> list[Any]:
        taken, self.commands = self.commands, []
        return taken


def text_of(part: Any) -> str:
    """A command, action, fact, expression or literal of the engine as text that it reads as the same."""
    return _TEXTS[type(part).__name__](part)


_SHARED = re.compile(r"\$__expr_\d+")
"""The names that egglog gives to what several parts of a rule share."""


def _call(*words: str) -> str:
    return f"({' '.join(word for word in words if word)})"


def _all(parts: list[Any]) -> str:
    return " ".join(map(text_of, parts))


def _string(text: str) -> str:
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def _function(c: Any) -> str:
    merge = ":no-merge" if c.merge is None else f":merge {text_of(c.merge)}"
    return _call("function", c.name, _call(*c.schema.input), c.schema.output, merge)


def _constructor(c: Any) -> str:
    cost = "" if c.cost is None else f":cost {c.cost}"
    return _call("constructor", c.name, _call(*c.schema.input), c.schema.output, cost,
                 ":unextractable" if c.unextractable else "")  # fmt: skip


def _sort(c: Any) -> str:
    if c.presort_and_args is None:
        return _call("sort", c.name)
    presort, arguments = c.presort_and_args
    return _call("sort", c.name, _call(presort, _all(arguments)))


def _rule(c: Any, name: str) -> str:
    r = c.rule
    return _call("rule", _call(_all(r.body)), _call(_all(r.head)), f":ruleset {RULESET} :name {_string(name)}")


def _rewrite(c: Any, name: str, word: str = "rewrite") -> str:
    r = c.rewrite
    conditions = f":when {_call(_all(r.conditions))}" if r.conditions else ""
    subsume = ":subsume" if getattr(c, "subsume", False) else ""
    return _call(word, text_of(r.lhs), text_of(r.rhs), subsume, conditions,
                 f":ruleset {RULESET} :name {_string(name)}")  # fmt: skip


_RULES: Mapping[str, Callable[[Any, str], str]] = {
    "RuleCommand": _rule,
    "RewriteCommand": _rewrite,
    "BiRewriteCommand": lambda c, name: _rewrite(c, name, "birewrite"),
}
_TEXTS: Mapping[str, Callable[[Any], str]] = {
    "Sort": _sort,
    "Constructor": _constructor,
    "FunctionCommand": _function,
    "Relation": lambda c: _call("relation", c.name, _call(*c.inputs)),
    "Union": lambda c: _call("union", text_of(c.lhs), text_of(c.rhs)),
    "Set": lambda c: _call("set", _call(c.lhs, _all(c.args)), text_of(c.rhs)),
    "Let": lambda c: _call("let", c.lhs, text_of(c.rhs)),
    "Expr_": lambda c: text_of(c.expr),
    "Eq": lambda f: _call("=", text_of(f.left), text_of(f.right)),
    "Fact": lambda f: text_of(f.expr),
    "Call": lambda e: _call(e.name, _all(e.args)),
    "Var": lambda e: e.name,
    "Lit": lambda e: text_of(e.value),
    "String": lambda v: _string(v.value),
    "Int": lambda v: str(v.value),
    "Float": lambda v: repr(v.value),
    "Bool": lambda v: "true" if v.value else "false",
    "Unit": lambda _: "()",
}
