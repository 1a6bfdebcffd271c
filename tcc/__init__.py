"""tcc: a compression compiler for ONNX models."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcc.compiler import PassManager, compile  # noqa: A004 - what a compiler does
    from tcc.compiler.result import Result
    from tcc.diagnostics import Diagnostic, Exit, TccError
    from tcc.frontends import load
    from tcc.ir.model import Model
    from tcc.passes.base import Pass
    from tcc.targets import Target, parse_target

    __version__: str

_HOMES = {
    "Diagnostic": "tcc.diagnostics",
    "Exit": "tcc.diagnostics",
    "Model": "tcc.ir.model",
    "Pass": "tcc.passes.base",
    "PassManager": "tcc.compiler",
    "Result": "tcc.compiler.result",
    "Target": "tcc.targets",
    "TccError": "tcc.diagnostics",
    "compile": "tcc.compiler",
    "load": "tcc.frontends",
    "parse_target": "tcc.targets",
}
"""Where each public name is defined; it is imported when it is first asked for (PEP 562)."""

__all__ = [
    "Diagnostic",
    "Exit",
    "Model",
    "Pass",
    "PassManager",
    "Result",
    "Target",
    "TccError",
    "__version__",
    "compile",
    "load",
    "parse_target",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("tensorcompress")
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
