"""Reads ``onnx_ir`` models and the Models of tcc itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcc.ir.model import Model

SOURCE = "an onnx_ir.Model, a tcc Model"


def accepts(source: object) -> bool:
    """Whether the source is one of the two, told by its module so that nothing is imported to find out."""
    return type(source).__name__ == "Model" and type(source).__module__ in ("onnx_ir", "onnx_ir._core", "tcc.ir.model")


def load(source: object) -> Model:
    """Check the model and clone it; tensors are shared, being immutable."""
    import onnx_ir

    from tcc.ir import checks, storage
    from tcc.ir.model import Model

    if isinstance(source, Model):
        checks.check(source)
        return source.clone()
    assert isinstance(source, onnx_ir.Model)
    model = Model(source, "<onnx_ir.Model>").clone()
    storage.spell_default_domain(model.ir)
    checks.check(model)
    return model
