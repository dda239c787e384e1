"""The number of threads of PyTorch's operations, limited through OpenMP.

`torch.set_num_threads` would not do: once it has been called with more than one thread, PyTorch's inverse of a batch of
matrices hangs on CPUs (pytorch/pytorch#141358).
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from threadpoolctl import ThreadpoolController

_LIBRARIES = ThreadpoolController()  # the libraries that PyTorch has loaded


def limit_threads(threads: int = 1) -> AbstractContextManager:
    """Limit PyTorch's operations to `threads` threads, in the calling thread; as a context, until its end.

    Given to a pool as `initializer`, it keeps the workers from starting threads of their own.
    """
    limit = min(threads, torch.get_num_threads())  # without this question, PyTorch's first operation undoes the limit
    return _LIBRARIES.limit(limits=limit, user_api="openmp")
