"""Independent pieces of work side by side. Layers this small cannot keep two cores busy, two stacks of them can."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from mintad.threads import limit_threads

In, Out = TypeVar("In"), TypeVar("Out")


def side_by_side(work: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """``[work(item) for item in items]``, on as many threads as PyTorch has (`torch.get_num_threads`).

    PyTorch's own operations run on one thread meanwhile: teams of threads that wait for each other at every small
    operation cost more than they give, and most of all on a busy machine.
    """
    with ThreadPoolExecutor(torch.get_num_threads(), initializer=limit_threads) as pool:
        return list(pool.map(work, items))
