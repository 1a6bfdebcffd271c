"""egglog's engine without its Python language: texts in, rows out.

Importing the language takes longer, and more memory, than compiling a small model does.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ASIDE = "aside_"
"""What the names of relations begin with that only note what was matched: no part of the e-graph's size."""
RULESET = "%RULESET%"
"""Stands for the rule set in the text of a rule, once in the option that names it and once in the rule's own name."""


@cache
def bindings() -> Any:
    """The compiled module of egglog, loaded without the package around it."""
    from importlib.machinery import PathFinder
    from importlib.util import find_spec, module_from_spec

    name = "egglog.bindings"
    if name in sys.modules:
        return sys.modules[name]
    package = find_spec("egglog")
    found = PathFinder.find_spec(name, package.submodule_search_locations) if package else None
    if found is None or found.loader is None:
        message = "egglog is not installed"
        raise ImportError(message)
    module = module_from_spec(found)
    # The package finds it there, should anyone import that later.
    sys.modules[name] = module
    found.loader.exec_module(module)
    _pickle_texts_quickly()
    return module


def _pickle_texts_quickly() -> None:
    """Let cloudpickle, by which egglog keeps what Python functions take and give, hand plain values to pickle.

    Its pickler is written in Python, and made anew for each value: a tenth of the time of compiling a transformer.
    What is written is the same, byte by byte.
    """
    import pickle
    from importlib import import_module

    cloudpickle: Any = import_module("cloudpickle")
    slow, protocol = cloudpickle.dumps, cloudpickle.DEFAULT_PROTOCOL

    def dumps(value: Any, *arguments: Any, **options: Any) -> bytes:
        if type(value) in _PLAIN and not arguments and not options:
            return pickle.dumps(value, protocol)
        pickled: bytes = slow(value, *arguments, **options)
        return pickled

    cloudpickle.dumps = dumps


_PLAIN = frozenset({bool, int, str})


@dataclass
class EGraph:
    """One e-graph; ``core`` is the engine's own."""

    core: Any = field(default_factory=lambda: bindings().EGraph())
    rulesets: dict[tuple[str, ...], str] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)

    def close(self) -> None:
        """Free the engine's memory; nothing can be asked of it afterwards."""
        self.core = None

    def declare(self, text: str) -> None:
        """Run declarations, unless these have been run."""
        if text not in self.declared:
            self.declared.add(text)
            self.include(text)

    def include(self, text: str) -> None:
        """Run a program whose answers nobody wants."""
        # Read by the engine itself: what it parses for Python to hand back is converted twice.
        with _readable(text) as path:
            self.core.run_program(bindings().Include(_span(), path))

    def read(self, relation: str, rows: Sequence[str]) -> None:
        """Add rows, their cells separated by tabs, to a relation."""
        with _readable("\n".join(rows) + "\n") as path:
            self.core.run_program(bindings().Input(_span(), relation, path))

    def ruleset(self, rules: Sequence[str]) -> str:
        """The name of a rule set of these texts, each of one or more rules; made when first asked for."""
        key = tuple(rules)
        if key not in self.rulesets:
            self.rulesets[key] = name = f"rules{len(self.rulesets)}"
            self.include(f"(ruleset {name})\n" + "\n".join(rules).replace(RULESET, name))
        return self.rulesets[key]

    def extend(self, ruleset: str, rules: Sequence[str]) -> None:
        """Add the rules of texts to a rule set, which is made when first asked for."""
        made = "" if (ruleset,) in self.rulesets else f"(ruleset {ruleset})\n"
        self.rulesets[(ruleset,)] = ruleset
        if made or rules:
            self.include(made + "\n".join(rules).replace(RULESET, ruleset))

    def run(self, schedule: str) -> bool:
        """Run a schedule, written in egglog; whether anything changed."""
        return bool(self._report(schedule).updated)

    def matched(self, schedule: str) -> tuple[bool, set[str]]:
        """Run a schedule; whether anything changed, and the names of the rules that matched."""
        report = self._report(schedule)
        return bool(report.updated), {name for name, count in report.num_matches_per_rule.items() if count}

    def _report(self, schedule: str) -> Any:
        return self.core.run_program(*self.core.parse_program(f"(run-schedule {schedule})"))[0].report

    def size(self) -> int:
        """Rows of all functions together."""
        (found,) = self.core.run_program(*self.core.parse_program("(print-size)"))
        return sum(size for name, size in found.sizes if not name.startswith(ASIDE))


@contextmanager
def _readable(text: str) -> Iterator[str]:
    """The path of a file with this text."""
    if hasattr(os, "memfd_create"):
        # No folder to make, to find a name in and to clear: Linux shows the file under its descriptor.
        with os.fdopen(os.memfd_create("tcc"), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.TemporaryDirectory(prefix="tcc-") as folder:
        path = Path(folder) / "text"
        path.write_text(text, encoding="utf-8")
        yield str(path)


def _span() -> Any:
    return bindings().RustSpan("", 0, 0)
