"""What a model is compiled for: rates, limits and recipes of machines, one strict TOML file each."""

from tcc.targets.parse import available, parse_target, shipped
from tcc.targets.target import Cache, FrozenMapping, Quantization, Target

__all__ = ["Cache", "FrozenMapping", "Quantization", "Target", "available", "parse_target", "shipped"]
