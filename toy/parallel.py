"""Independent pieces of work side by side. Layers this small cannot keep two cores busy, two stacks of them can.

Threads are limited through OpenMP and not by `torch.set_num_threads`: once that has been called with more than one,
PyTorch's inverse of a batch of matrices hangs (pytorch/pytorch#141358, MKL), in whatever the notebook does next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

In, Out = TypeVar("In"), TypeVar("Out")


def side_by_side(work: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """``[work(item) for item in items]``, on as many threads as PyTorch has (`torch.get_num_threads`).

    PyTorch's own operations run on one thread meanwhile: teams of threads that wait for each other at every small
    operation cost more than they give, and most of all on a busy machine.
    """
    with ThreadPoolExecutor(torch.get_num_threads(), initializer=one_thread_each) as pool:
        return list(pool.map(work, items))


def one_thread_each() -> AbstractContextManager:
    """From now on PyTorch's operations use one thread in the thread that calls this; as a context, until its end."""
    return _controller().limit(limits=1, user_api="openmp")


@lru_cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
