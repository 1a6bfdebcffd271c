"""Raises a model to a newer opset, by ONNX's own converter."""

from __future__ import annotations

import onnx
import onnx_ir
from onnx import version_converter

from tcc.ir.model import DEFAULT_DOMAIN, Model

_IR_VERSIONS = {13: 7, 15: 8, 19: 9, 21: 10}
"""Opsets and the first IR version that may name them (onnx.helper.OP_SET_ID_VERSION_MAP)."""


def raised(model: Model, opset: int) -> Model | None:
    """The model at this opset of the default domain; itself where it is there, None where it cannot be converted.

    Only operators of the default domain are converted: a model with others, or with functions of its own, stays
    what it is.
    """
    if model.opset >= opset:
        return model
    foreign = {domain for domain in model.opset_imports if domain not in (DEFAULT_DOMAIN, "ai.onnx.ml")}
    used = {node.domain for node in model.nodes()} - {DEFAULT_DOMAIN}
    if used & foreign or model.ir.functions:
        return None
    fixed = model.clone()
    fixed.freeze_overridable()
    try:
        proto = version_converter.convert_version(fixed.to_proto(), opset)
        onnx.checker.check_model(proto)
    except (RuntimeError, ValueError, IndexError, onnx.checker.ValidationError):
        return None
    proto.ir_version = max(proto.ir_version, *(v for at, v in _IR_VERSIONS.items() if at <= opset))
    return Model(onnx_ir.from_proto(proto), model.source, files=model.files, notes=model.notes)
