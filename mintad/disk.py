"""Files on a disk: what is read must be a file, what is written is there whole or not at all.

A digest beside or inside what was written tells later whether the disk still holds the same.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from mintad.errors import DataError, MintadError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
MAX_BYTES = 2 << 30  # of a file that is read whole
MAX_TEXT = 64 << 20  # bytes of a text that is read whole
UNFINISHED = ".writing-"  # how the names of files begin that are being written; a killed process leaves some
BESIDE_PACKAGE = Path(__file__).resolve().parents[1]
"""The folder that the package lies in: a clone of the repository (`IN_CLONE`), or where pip has installed to."""
IN_CLONE = (BESIDE_PACKAGE / "pyproject.toml").exists()


def expanded(path: str | Path) -> Path:
    """Return a path with '~' expanded; as it is where there is no such user, which `Path.expanduser` refuses."""
    return Path(os.path.expanduser(path))


def real_path(path: str | Path) -> Path:
    """Return an absolute path without links, as far as these lead somewhere; `Path.resolve` fails where they do not."""
    return Path(os.path.realpath(expanded(path)))


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
        problem, fix = "no such file", "check its name; if it was there, restore it, or load the data set again"
        raise DataError(problem, path=path, fix=fix) from None
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})", path=path, fix="see the system's reason"
        ) from error


def read_text(path: str | Path) -> str:
    """Read a text in UTF-8 that people write: a configuration, a table.

    Raises:
        DataError: see `open_file`; it is larger than `MAX_TEXT` or in another encoding.
    """
    with naming(Path(path)), open_file(path) as file:
        content = file.read(MAX_TEXT + 1)
    if len(content) > MAX_TEXT:
        raise DataError(f"more than {MAX_TEXT:,} bytes of text", path=path, fix="check that it is the right file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text ({error})", path=path, fix="save it as UTF-8") from error


def digest(path: str | Path, *about: str) -> str:
    """Hash texts and then a file's bytes: SHA-256, hexadecimal; an OSError where the file cannot be read, or is none.

    SHA-256 because the processors that we use compute it themselves, 1 GiB/s and more; an image's own file, which is
    hashed for the cache, is larger than its features.
    """
    state = hashlib.sha256("".join(f"{len(text)}:{text}" for text in about).encode())
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would block
        raise OSError(errno.EINVAL, "not a file", str(path))
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def hash_file(path: str | Path) -> str:
    """Hash the bytes of a file that is not ours, an image: BLAKE2b, 128 bits, hexadecimal; for errors see `open_file`.

    The feature cache and the lists of training images know an image by this hash.
    """
    state = hashlib.blake2b(digest_size=16)
    with open_file(path) as file:
        try:
            while block := file.read(1 << 20):
                state.update(block)
        except OSError as error:
            raise DataError(f"cannot be read ({error})", path=path, fix="copy it again from its source") from error
    return state.hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a JSON file is to hold with the digest of all that is in it, which replaces an earlier one."""
    content = {name: value for name, value in content.items() if name != "digest"}
    return content | {"digest": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}


@contextmanager
def published(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file to write that takes its name when the block has ended without an error and all is on the disk.

    It is written in the same folder, under a name that is new; a link of its final name is replaced, never followed.
    Where much is written that can be made again, `durable` False saves the wait for the disk.

    Raises:
        OSError: it cannot be written, or the disk reports an error. What had the name before is still there.
    """
    temporary = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
    with naming(path):
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                if durable:
                    _sync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        if durable:
            sync(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError of the block the name of the file that is written: an open file does not know its own."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, see `published`; texts as UTF-8."""
    with published(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def refuse_link(path: Path) -> None:
    """Refuse a link where something is to be written or emptied, which would change what lies elsewhere.

    A pipe or a device is refused, too.
    """
    if path.is_symlink():
        problem, fix = "is a link, through which nothing is written", "remove it; its whole folder may be a link"
        raise MintadError(problem, path=path, fix=fix)
    refuse_special(path)


def refuse_special(*paths: Path) -> None:
    """Refuse pipes, devices and sockets, from which a program would read for ever; a MintadError names the first."""
    for path in paths:
        with suppress(OSError):  # nothing is there, or a link to nothing
            kind = stat.S_IFMT(os.stat(path).st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFDIR):
                raise MintadError(f"is {_KINDS.get(kind, 'something else')}, not a file", path=path, fix="remove it")


def own_file(path: Path) -> None:
    """Prepare a file to be appended to: what has other names, too (hard links), is replaced by a copy."""
    refuse_link(path)
    if path.is_file() and path.stat().st_nlink > 1:
        write(path, path.read_bytes())


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link but not what it leads to; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Force a file's content, or a folder's list of names, to the disk; an OSError if the disk reports an error."""
    if os.name == "posix":  # Windows opens no folders and no read-only files
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with naming(path):
                _sync(descriptor)
        finally:
            os.close(descriptor)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:  # anything else than "not here" means that what was written may be lost
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
