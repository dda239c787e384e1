"""How many threads PyTorch's operations take, limited through OpenMP and not by `torch.set_num_threads`: once that has
been called with more than one, PyTorch's inverse of a batch of matrices hangs on CPUs (pytorch/pytorch#141358)."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from threadpoolctl import ThreadpoolController

_LIBRARIES = ThreadpoolController()  # those that PyTorch has loaded


def limit_threads(threads: int = 1) -> AbstractContextManager:
    """From now on PyTorch's operations use at most `threads` threads, in the thread that calls this; as a context,
    until its end. Hand it to a pool as `initializer`: the workers then start no threads of their own."""
    wanted = min(threads, torch.get_num_threads())  # asking is also what keeps the first operation from undoing it
    return _LIBRARIES.limit(limits=wanted, user_api="openmp")
