"""The way that all sources share from protobuf to a checked Model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir

from tcc.diagnostics import Diagnostic, Exit, TccError, fail
from tcc.frontends import _external
from tcc.ir import checks, storage, structure
from tcc.ir.model import Model

if TYPE_CHECKING:
    import numpy as np
    import onnx


def finish(proto: onnx.ModelProto, weights: dict[str, np.ndarray], *, source: str, path: Path | None = None) -> Model:
    """Check a stripped model, put it together, and find its external data.

    Args:
        proto: becomes part of the Model.
        weights: the weights that were taken out of it.
        source: the name that diagnostics print.
        path: the file it was read from, if any.

    Raises:
        TccError: exit BAD_MODEL or UNSUPPORTED, with everything that is wrong.
    """
    checks.check_versions(proto, source)
    structure.spell_default_domain(proto)
    search = _external.Search(source, path)
    search.resolve(proto, frozenset(weights))
    if search.problems:
        raise TccError(Exit.BAD_MODEL, search.problems)
    notes = checks.sort_nodes(proto, source) + _dropped(proto, source) + _named(proto, source)
    notes += checks.repair_types(proto, source)
    ir = _assembled(proto, weights, source)
    if problems := checks.external_problems(ir, source):
        raise TccError(Exit.BAD_MODEL, problems)
    own = () if path is None else (path.resolve(),)
    model = Model(ir, source, files=(*own, *search.files))
    model.notes = (*notes, *_overridable(model))
    return model


def _assembled(proto: onnx.ModelProto, weights: dict[str, np.ndarray], source: str) -> onnx_ir.Model:
    try:
        return storage.assemble(proto, weights)
    except onnx_ir.serde.SerdeError as error:
        reason: BaseException = error
        while reason.__cause__ is not None:  # each level of the model adds one around the first
            reason = reason.__cause__
        advice = "copy, download or export it again"
        raise fail(Exit.BAD_MODEL, "E0302", f"the model is damaged: {reason}", where=source, help=advice) from error


def _dropped(proto: onnx.ModelProto, source: str) -> list[Diagnostic]:
    if not proto.training_info:
        return []
    message = "the model carries training information, which is left out"
    return [Diagnostic("N0302", message, source)]


def _named(proto: onnx.ModelProto, source: str) -> list[Diagnostic]:
    if not (count := structure.name_results(proto)):
        return []
    message = f"{count} nodes leave results without names that are not optional: they are named, as runtimes need it"
    return [Diagnostic("N0306", message, source)]


def _overridable(model: Model) -> list[Diagnostic]:
    # Before IR version 4 every initialiser had to be an input, which then says nothing.
    if not model.overridable or model.ir_version < 4:
        return []
    shown = ", ".join(map(repr, model.overridable[:3])) + (", ..." if len(model.overridable) > 3 else "")
    message = f"{len(model.overridable)} initialisers are also listed as inputs ({shown}): they are taken as constants"
    return [Diagnostic("N0303", message, model.source)]
