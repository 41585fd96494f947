"""What stands for a CUDA graph on a CPU: torch's operators, replayed on the tensors that they were recorded with.

What a piece of work reads from anywhere but its own buffers, or puts anywhere else, comes out wrong as on a GPU.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Every operator of a piece of work with the tensors that it met; replayed on those same tensors."""

    def __init__(self, loop):
        super().__init__()
        self.operators = []
        with self:
            self.result = loop()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.operators.append((function, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, out in self.operators:
            for old, new in zip(tree_leaves(out), tree_leaves(function(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    def count(self, *names):
        return sum(function.overloadpacket.__name__ in names for function, *_ in self.operators)
