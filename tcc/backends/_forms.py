"""Forms of operators that a back end refuses although it has the operator: data, one strict TOML file a back end."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.ir.model import dtype_name

if TYPE_CHECKING:
    import onnx_ir

    from tcc.ir.model import Model

_FOLDER = Path(__file__).parent / "forms"
_SIZES = frozenset({"Shape", "Size"})
"""What reads a tensor's sizes: those are known when an engine is built."""
_LOOP_CONTROLS = 2
"""A Loop's inputs that are not carried: the trip count and the condition."""


@dataclass(frozen=True)
class Form:
    """A form of some operators. One of these says which: each other is left out.

    Args:
        operators: of the default domain.
        remedy: what to do about it, for the user.
        input: the place of an input that must not depend on the model's inputs.
        outputs: how many outputs may be read.
        attribute: an attribute whose values, or the elements of whose values, must be among ``allowed``.
        allowed: see ``attribute``; a node without it is fine.
        types: element types of the first input that are refused.
        unlimited: whether a Loop is refused that collects outputs and has no trip count.
        since: the first opset of the default domain that this is about.
        before: the first one that it is no longer about; 0 for none.
    """

    operators: tuple[str, ...]
    remedy: str
    input: int = -1
    outputs: int = 0
    attribute: str = ""
    allowed: tuple[int | str, ...] = ()
    types: tuple[str, ...] = ()
    unlimited: bool = False
    since: int = 1
    before: int = 0

    def reason(self, node: onnx_ir.Node) -> str:
        """What of this node is refused; '' for nothing."""
        if self.input >= 0:
            given = node.inputs[self.input] if self.input < len(node.inputs) else None
            return f"input {self.input} that is not constant" if given is not None and _depends(given) else ""
        if self.outputs:
            read = sum(bool(value.uses()) or value.is_graph_output() for value in node.outputs[self.outputs :])
            return f"more than {self.outputs} output{'s' * (self.outputs > 1)}" if read else ""
        if self.attribute:
            value = _value(node, self.attribute)
            wrong = [v for v in (value if isinstance(value, list) else [value]) if v is not None]
            return f"{self.attribute} = {value}" if any(v not in self.allowed for v in wrong) else ""
        first = node.inputs[0] if node.inputs else None
        if self.unlimited:
            collected = len(node.outputs) > len(node.inputs) - _LOOP_CONTROLS
            return "collected outputs and no trip count" if first is None and collected else ""
        name = dtype_name(first.dtype) if first is not None and first.dtype is not None else ""
        return f"inputs of {name}" if name in self.types else ""


def refused(model: Model, backend: str) -> Iterator[tuple[str, str, onnx_ir.Node]]:
    """Each node in a form that ``backend`` refuses: why, what to do about it, the node. Types as far as known."""
    for node in model.nodes():
        if node.domain not in {"", "ai.onnx"}:
            continue
        for form in _forms(backend).get(node.op_type, ()):
            if form.since <= model.opset and not 0 < form.before <= model.opset and (reason := form.reason(node)):
                yield f"{backend} takes no {node.op_type} with {reason}", form.remedy, node


@functools.cache
def _forms(backend: str) -> dict[str, list[Form]]:
    path = _FOLDER / f"{backend}.toml"
    made: dict[str, list[Form]] = {}
    if not path.is_file():
        return made
    for table in tomllib.loads(path.read_text(encoding="utf-8"))["form"]:
        said: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
        form = Form(**said)
        values = bool(form.attribute) and bool(form.allowed)
        kinds = (form.input >= 0, form.outputs > 0, values, bool(form.types), form.unlimited)
        assert sum(kinds) == 1, f"{path.name}: a form says one thing: {table}"
        assert table.keys() <= {field.name for field in fields(Form)}
        for operator in form.operators:
            made.setdefault(operator, []).append(form)
    return made


def _value(node: onnx_ir.Node, name: str) -> Any:
    found = node.attributes.get(name)
    value = None if found is None else found.value
    return list(value) if isinstance(value, (list, tuple)) else value


def _depends(value: onnx_ir.Value) -> bool:
    """Whether a value depends on what the model is given, other than by sizes."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if id(current) in seen or current.const_value is not None:
            continue
        seen.add(id(current))
        node = current.producer()
        if node is None:
            return True
        if node.op_type not in _SIZES:
            waiting += [v for v in node.inputs if v is not None]
    return False
