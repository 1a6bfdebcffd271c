"""Cost models, one a file: `cost_model("roofline")` is the class `Roofline` of ``roofline.py``."""

from __future__ import annotations

import importlib
from pathlib import Path

from tcc.diagnostics import Exit, fail

__all__ = ["available", "cost_model"]


def available() -> tuple[str, ...]:
    """The names of all cost models, sorted: the files of this folder that do not begin with an underscore."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))


def cost_model(name: str) -> type:
    """The class of the cost model called ``name``; its name is the file's in camel case.

    Raises `TccError` (usage) where there is none.
    """
    if name not in available():
        hint = f"known: {', '.join(available())}"
        raise fail(Exit.USAGE, "E0220", f"unknown cost model {name!r}", help=hint)
    module = importlib.import_module(f"{__name__}.{name}")
    model: type = getattr(module, "".join(part.capitalize() for part in name.split("_")))
    return model
