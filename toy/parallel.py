"""A map over threads: networks this small cannot keep two cores busy, but two stacks of them can."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from mintad.threads import limit_threads

In, Out = TypeVar("In"), TypeVar("Out")


def parallel_map(work: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """Return ``[work(item) for item in items]``, computed on as many threads as PyTorch has.

    Meanwhile each of PyTorch's own operations runs on one thread, because threads that wait for each other after every
    small operation cost more time than they save, above all on a busy machine.
    """
    with ThreadPoolExecutor(torch.get_num_threads(), initializer=limit_threads) as pool:
        return list(pool.map(work, items))
