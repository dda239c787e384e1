"""One process at a time: a lock of the operating system on a file, which ends with the process, however that ends."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mintad.errors import MintadError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive_lock(lock: Path, busy: MintadError) -> Iterator[BinaryIO]:
    """Hold `lock` while the block runs; the empty file stays, since only the lock on it counts.

    Args:
        lock: a file, made if missing, in a folder that exists.
        busy: raised if another process holds the lock.

    Yields:
        The open file; a child process that inherits it holds the lock, too, until both have ended (not on Windows).
    """
    with lock.open("a+b") as file:
        try:
            _take(file)
        except (BlockingIOError, PermissionError):
            raise busy from None
        except OSError as error:
            log.warning("%s: this file system has no locks (%s); do not start the same command twice", lock, error)
        yield file


def _take(file) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
