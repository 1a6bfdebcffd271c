"""Frontends: one module a kind of source, each of which turns it into a checked Model."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, cast

from tcc.diagnostics import Exit, fail

if TYPE_CHECKING:
    from tcc.ir.model import Model


class Frontend(Protocol):
    """What a module of this package has; a new source is a new module, found by being here."""

    SOURCE: str
    """What it reads, for messages."""

    def accepts(self, source: object) -> bool:
        """Whether it reads this source; imports nothing heavy to find out."""

    def load(self, source: object) -> Model:
        """Read the source into a checked Model.

        Raises:
            TccError: exit USAGE, BAD_MODEL or UNSUPPORTED.
        """


def frontends() -> Iterator[Frontend]:
    """The frontends of this package, by name; modules with a leading underscore are their helpers."""
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        if not module.name.startswith("_"):
            yield cast("Frontend", importlib.import_module(f"{__name__}.{module.name}"))


def load(source: object) -> Model:
    """Read a model from whatever holds it, and check it; the source itself is never changed.

    Args:
        source: a path (``.onnx``, ONNX's own text and JSON forms), the bytes of a file, an ``onnx.ModelProto``,
            an ``onnx_ir.Model``, an ``onnx_graphsurgeon.Graph`` or a ``Model``.

    Raises:
        TccError: exit USAGE (no such file), BAD_MODEL or UNSUPPORTED, with everything that is wrong.
    """
    known = []
    for frontend in frontends():
        if frontend.accepts(source):
            return frontend.load(source)
        known.append(frontend.SOURCE)
    kind = f"{type(source).__module__}.{type(source).__qualname__}"
    raise fail(Exit.USAGE, "E0220", f"cannot read a model from a {kind}", help=f"give {', '.join(known)}")
