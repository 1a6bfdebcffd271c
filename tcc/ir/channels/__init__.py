"""Channel groups: which channels of which tensors go together, and models without them."""

from tcc.ir.channels.finding import find
from tcc.ir.channels.groups import Group, Groups
from tcc.ir.channels.masking import masked
from tcc.ir.channels.proof import Proof, Proven, prove, prove_most
from tcc.ir.channels.slicing import Removal, sliced

__all__ = ["Group", "Groups", "Proof", "Proven", "Removal", "find", "masked", "prove", "prove_most", "sliced"]
