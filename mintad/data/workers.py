"""The processes of a pool: they end with the process that started them, even where that is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """End this process as soon as its parent has ended; given to a pool of processes as `initializer`.

    A killed parent cannot end its pool, and the workers would wait for work for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True, name="watch parent").start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
