"""The language, its tables and its analysis in the engine's own text, translated once and kept in the user's cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.cache import kept
from tcc.ir.engine import bindings
from tcc.ir.symbolic import BROADCAST

if TYPE_CHECKING:
    from egglog import Ruleset

    from tcc.ir.translation import Translator

_OPSET = 987_654_321
"""Stands for the opset in the texts of the analysis."""
OPAQUE = "opaque"
"""What stands for the nodes that no rule names among the names of operators."""


@dataclass(frozen=True)
class Operator:
    """What the importer and the read-out must know of one constructor; ``inputs`` include the optional ones."""

    name: str
    inputs: int
    variadic: bool
    several: bool


@dataclass(frozen=True)
class Table:
    """A relation that rows are read into, and the rule that reads them."""

    declarations: str
    rules: str


@dataclass(frozen=True)
class Language:
    """Everything that ``tcc.ir.language``, ``table_rules`` and ``analysis`` declare.

    ``common`` are the rules that carry facts of leaves and lists, ``symbolic`` those of an operator's symbolic sizes;
    ``constancy`` and ``inference`` are the rules that carry facts through one operator, by its name.
    """

    declarations: str
    operators: Mapping[str, Operator]
    tables: Mapping[str, Table]
    common: str
    symbolic: Mapping[str, str]
    transposed_views: str
    orders: str
    moderates: str
    coefficients: str
    constancy: Mapping[str, str]
    inference: Mapping[str, str]
    opaque_inference: str


@cache
def language() -> Language:
    """The translated language, from the cache where its sources are the same."""
    found = kept("language", sources(), _translate)
    return Language(
        found["declarations"],
        {name: Operator(name, *rest) for name, *rest in found["operators"]},
        {name: Table(*texts) for name, texts in found["tables"].items()},
        found["common"], found["symbolic"], found["transposed_views"], found["orders"], found["moderates"],
        found["coefficients"], found["constancy"], found["inference"], found["opaque_inference"],
    )  # fmt: skip


def sources() -> list[Path]:
    """The files that a translation follows from."""
    return [Path(__file__).parent, Path(bindings().__file__)]


def rule_text(rules: Ruleset) -> str:
    """The text of a rule set over the language."""
    return _translator().rules(rules)


@cache
def _translator() -> Translator:
    from tcc.ir.translation import Translator

    translator = Translator()
    translator.language()
    return translator


def _translate() -> dict[str, Any]:
    from tcc.ir import analysis, table_rules
    from tcc.ir.language import OPERATORS
    from tcc.ir.translation import Translator

    translator = Translator()
    declarations = translator.language()
    return {
        "declarations": declarations,
        "operators": [[o.name, o.inputs, o.variadic, o.several] for o in OPERATORS.values()],
        "tables": {name: translator.ruleset(table_rules.table(name)) for name in table_rules.names()},
        "common": "\n".join(map(translator.rules, (analysis.common, analysis.sizes))),
        "symbolic": {name: translator.rules(rules) for name, rules in analysis.SYMBOLIC.items()},
        "transposed_views": translator.rules(analysis.transposed_views),
        "orders": translator.rules(analysis.orders),
        "moderates": translator.rules(analysis.moderates),
        "coefficients": translator.rules(analysis.coefficients),
        "constancy": {name: translator.rules(analysis.constancy(name)) for name in OPERATORS},
        "inference": {name: translator.rules(analysis.inference(name, _OPSET)) for name in OPERATORS},
        "opaque_inference": translator.rules(analysis.opaque_inference(_OPSET)),
    }


def analysis_for(names: Iterable[str], made: Iterable[str], opset: int) -> list[str]:
    """The analysis of a model of this opset.

    Args:
        names: operators that the e-graph may hold.
        made: those of them that rules may add. Only their types are inferred here: the imported values have
            theirs already.
        opset: the model's version of the default domain.
    """
    typed = frozenset(names) & language().operators.keys()
    inferred = BROADCAST.intersection(typed).union(made)
    return list(analysis_parts(typed, inferred | {OPAQUE} if typed <= inferred else inferred, opset).values())


def analysis_parts(names: Iterable[str], inferred: Iterable[str], opset: int) -> dict[str, str]:
    """The texts of the analysis, by what they are for: the operators' constancy, and the types of those to infer."""
    known = language()
    typed = sorted(set(names) & known.operators.keys())
    parts = {"common": known.common}
    if "Transpose" in typed:
        parts["views"] = known.transposed_views
        parts["orders"] = known.orders
    if "Mul" in typed:
        parts["coefficients"] = known.coefficients
    if "Softmax" in typed:
        parts["moderates"] = known.moderates
    parts |= {f"symbolic {name}": known.symbolic[name] for name in typed if name in known.symbolic}
    parts |= {f"constancy {name}": known.constancy[name] for name in typed}
    for name in sorted(set(inferred) & known.operators.keys()):
        parts[f"types {name}"] = known.inference[name].replace(str(_OPSET), str(opset))
    if OPAQUE in set(inferred):
        # Types of what rules leave alone follow from symbols too, as all others then do.
        parts[f"types {OPAQUE}"] = known.opaque_inference.replace(str(_OPSET), str(opset))
    return parts
