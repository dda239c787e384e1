"""Files on a disk: what is read must be a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from mintad.errors import DataError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
MAX_BYTES = 2 << 30  # of a file that is read whole


def open_file(path: str | Path) -> BinaryIO:
    """Open a file for reading. What is none, or a link to none, is refused before it is opened: a pipe would block.

    Raises:
        DataError: missing, a folder, pipe, device or socket, not readable, or larger than `MAX_BYTES`.
    """
    try:
        status = os.stat(path)
        kind = stat.S_IFMT(status.st_mode)
        if kind != stat.S_IFREG:
            problem = f"cannot be read: it is {_KINDS.get(kind, 'something else')}, not a file"
            raise DataError(problem, path=path, fix="remove it")
        if status.st_size > MAX_BYTES:
            problem = f"too large to read ({status.st_size:,} bytes, the limit is {MAX_BYTES:,})"
            raise DataError(problem, path=path, fix="remove it, or write it compressed")
        return open(path, "rb")
    except FileNotFoundError:
        raise DataError("no such file", path=path, fix="restore it, or load the data set again") from None
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})", path=path, fix="see the system's reason"
        ) from error
