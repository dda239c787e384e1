"""A lock that only one process can hold. The operating system frees it when the process ends, however it ends.

The package filelock would not do: a sweep hands the open file on to its kernels, so that an orphaned kernel still holds
the lock, and filelock does not give its file away.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from mintad.disk import refuse_link
from mintad.errors import MintadError

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5


@contextlib.contextmanager
def exclusive_lock(
    lock: Path, busy: MintadError | None = None, *, on_wait: Callable[[], None] | None = None
) -> Iterator[BinaryIO]:
    """Hold a lock while the block runs; the empty file stays, because only the lock on it counts.

    Args:
        lock: a file, made if missing, in a folder that exists.
        busy: raised if another process holds the lock; without it, wait for that process.
        on_wait: called once before waiting, for example to say for whom.

    Yields:
        The open file. A child process that inherits it holds the lock, too, until both have ended (not on Windows).

    Raises:
        MintadError: `busy`, or the lock is a link.
    """
    refuse_link(lock)
    with lock.open("a+b") as file:
        while not _try_lock(file):
            if busy:
                raise busy
            if on_wait:
                on_wait()
                on_wait = None
            time.sleep(POLL_SECONDS)
        yield file


def _try_lock(file: BinaryIO) -> bool:
    try:
        _lock(file)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        text = "%s: this file system has no locks (%s); do not start the same command twice"
        log.warning(text, file.name, error)
    return True


def _lock(file: BinaryIO) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
