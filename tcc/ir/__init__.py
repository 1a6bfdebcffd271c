"""The Model, the e-graph over it, and how a model is run, checked and compared."""

from __future__ import annotations

from tcc.ir._late import import_late

# onnx-ir does arithmetic on symbolic dimensions with it, which tcc never asks for: 24 MiB and a third of a second.
import_late("sympy", "onnx_ir._symbolic_shapes")
