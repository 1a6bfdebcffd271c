"""What values a model computes inside, seen on given inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper

from tcc.ir.execution import Runner
from tcc.ir.facts import proto_type
from tcc.ir.model import Model, tensor_type


def ranges(model: Model, feeds: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The largest magnitude of each float32 value of the top-level graph, by name, over these inputs.

    Not-a-number and infinity count as infinity.
    """
    proto, weights = model.stripped_proto()
    outputs = {o.name for o in proto.graph.output}
    found: dict[str, float] = {}
    for node in model.graph:
        for v in node.outputs:
            kind = tensor_type(v)
            if v.name and v.name not in outputs and kind is not None and kind.dtype == "float32":
                info = helper.make_tensor_value_info(v.name, proto_type(kind.dtype), None)
                proto.graph.output.append(info)
    runner = Runner(proto, weights=weights)
    for feed in feeds:
        for name, array in {**runner.run_named(feed), **feed}.items():
            if isinstance(array, np.ndarray) and array.dtype == np.float32:
                largest = float(np.abs(array).max()) if array.size else 0.0
                found[name] = max(found.get(name, 0.0), largest if np.isfinite(largest) else np.inf)
    return found
