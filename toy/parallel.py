"""Independent pieces of work side by side. Layers this small cannot keep two cores busy, two stacks of them can."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

In, Out = TypeVar("In"), TypeVar("Out")


def side_by_side(work: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """``[work(item) for item in items]``, on as many threads as PyTorch has (`torch.set_num_threads`).

    PyTorch's own operations run on one thread meanwhile: teams of threads that wait for each other at every small
    operation cost more than they give, and most of all on a busy machine.
    """
    threads = torch.get_num_threads()
    with one_thread_each(), ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(work, items))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """PyTorch's operations use one thread, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
