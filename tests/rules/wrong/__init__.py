"""Rules that are wrong, found by being here: each a real one with a condition dropped or flipped."""

from __future__ import annotations

import importlib
import pkgutil

from tcc.rewrites.rule import Rule, is_rule


def wrong_rules() -> tuple[Rule, ...]:
    """All of them, by file; the harness has to catch each on the instances of the real rule."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return tuple(found for module in modules for found in vars(module).values() if is_rule(found))
