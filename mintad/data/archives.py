"""Safe unpacking of tar (plain, gz, bz2, xz) and zip archives from the internet.

The archive is treated as hostile even after its hash has been checked. Every member is checked before any of
it is written, and only plain files and folders are written, with modes of our own. Own checks instead of
`tarfile`'s data filter, because Python 3.10 may lack it and zip has none. Members are streamed in order.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mintad.errors import DataError

_BLOCK = 1 << 20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error, EOFError, OSError)
_DAMAGE += (ValueError, NotImplementedError)  # senseless numbers; a compression that this Python cannot undo
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')  # control characters, and what Windows reserves
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_COMPRESSED: tuple[tuple[bytes, Callable[[Path], IO[bytes]]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),  # reads several xz streams in a row, which tarfile's stream mode does not
)
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_TAR_KINDS = {
    tarfile.SYMTYPE: "symbolic link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "named pipe",
}


class ArchiveError(DataError):
    """An archive is damaged, or holds something that must not be unpacked."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what an archive may turn into; bytes are counted as they are written."""

    total_bytes: int
    file_bytes: int = 512 * 2**20
    members: int = 100_000


@dataclass(frozen=True)
class _Member:
    """One entry of an archive; `refused` names a kind that is never unpacked."""

    name: str
    is_folder: bool
    refused: str
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path, folder: Path, limits: Limits, on_bytes: Callable[[int], object] = lambda total: None
) -> tuple[int, int]:
    """Unpack `archive` into `folder`, which must not exist yet. On any failure the folder is removed again.

    Args:
        archive: tar or zip, told apart by content and not by name.
        folder: made here; the caller renames it into place once everything has succeeded.
        limits: bounds on bytes in all, bytes per file, and members.
        on_bytes: called with the number of bytes written so far.

    Returns:
        Number of files and number of bytes written.

    Raises:
        ArchiveError: the archive is damaged; a member would leave the folder, is a link, a device or another
            special file, or occurs twice (also if only case or Unicode form differ); or a limit is passed.
    """
    folder.mkdir(parents=True)
    try:
        return _write_members(archive, folder, limits, on_bytes)
    except BaseException as problem:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(problem, _DAMAGE):
            raise ArchiveError(
                f"{archive} cannot be unpacked: {problem}. Nothing was kept. "
                "If the disk is not full, delete the archive and download it again."
            ) from problem
        raise


def _write_members(archive: Path, folder: Path, limits: Limits, on_bytes: Callable[[int], object]) -> tuple[int, int]:
    taken: dict[str, tuple[str, bool]] = {}
    files = total = 0
    for count, member in enumerate(_members(archive), start=1):
        parts, fault = safe_parts(member.name)
        if count > limits.members:
            fault = f"is one more than the limit of {limits.members:,} members"
        elif member.refused:
            fault = f"is a {member.refused}; only files and folders are unpacked"
        if fault := fault or _claim(taken, parts, member.is_folder):
            raise _refusal(archive, member, fault)
        path = folder.joinpath(*parts)
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        # O_EXCL: never overwrites, never follows a link. Mode 644: no set-uid or executable bits.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags, 0o644), "wb") as out, member.open() as stream:
            written = 0
            while block := stream.read(_BLOCK):
                written += len(block)
                total += len(block)
                if written > limits.file_bytes:
                    raise _refusal(archive, member, f"passes {limits.file_bytes:,} bytes, the limit per file")
                if total > limits.total_bytes:
                    raise _refusal(archive, member, f"passes {limits.total_bytes:,} bytes, the limit in all")
                out.write(block)
                on_bytes(total)
        files += 1
    return files, total


def _refusal(archive: Path, member: _Member | tarfile.TarInfo, why: str) -> ArchiveError:
    return ArchiveError(
        f"{archive}: not unpacked, member {member.name!r} {why}. Nothing was kept; do not use this archive."
    )


def safe_parts(name: str) -> tuple[tuple[str, ...], str]:
    """Split a member's name into path parts that are safe on every system.

    Returns:
        The parts and ``""``, or ``()`` and what is wrong with the name. A leading ``./`` is dropped.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    try:
        too_long = len(name.encode()) > 1000 or any(len(part.encode()) > 255 for part in parts)
    except UnicodeEncodeError:
        return (), "has a name that is not valid text"
    if name.startswith("/"):
        return (), "has an absolute path"
    if ".." in parts:
        return (), "would leave the folder"
    if _FORBIDDEN.search(name):
        return (), "has a backslash, a drive letter or another character that is not allowed in its name"
    if any(part != part.rstrip(" .") or _DEVICE.fullmatch(part) for part in parts):
        return (), "has a name that Windows reserves or changes"
    if too_long or len(parts) > 32:
        return (), "has a name that is too long"
    return parts, ""


def _claim(taken: dict[str, tuple[str, bool]], parts: tuple[str, ...], is_folder: bool) -> str:
    """Enter a path and its parents into `taken`; returns what is wrong, if anything."""
    if not parts:
        return "" if is_folder else "has no name"
    for depth in range(1, len(parts) + 1):
        last = depth == len(parts)
        spelling = "/".join(parts[:depth])
        entry = (spelling, is_folder or not last)
        known = taken.setdefault(unicodedata.normalize("NFC", spelling.casefold()), entry)
        if known[0] != spelling:
            return f"differs from {known[0]!r} only in the case or form of letters"
        if known[1] != entry[1]:
            return "is a file and a folder at once"
        if last and not is_folder and known is not entry:
            return "occurs twice"
    return ""


def _members(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as file:
        head = file.read(6)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield from _zip_members(archive)
        return
    openers = [opener for magic, opener in _COMPRESSED if head.startswith(magic)]
    with openers[0](archive) if openers else archive.open("rb") as stream:
        yield from _tar_members(archive, stream)


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where it was made on a system without modes
            refused = "encrypted file" if info.flag_bits & 1 else ""
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                refused = "symbolic link" if kind == stat.S_IFLNK else "special file"
            # orig_filename, because zipfile cuts filename at a NUL character.
            folder = info.filename.endswith("/")  # is_dir() fails on an empty name
            yield _Member(info.orig_filename, folder, refused, lambda info=info: opened.open(info))


def _tar_members(archive: Path, stream: IO[bytes]) -> Iterator[_Member]:
    ended = False

    class BoundedInfo(tarfile.TarInfo):
        """Sees every header first: bounds those that tarfile reads into memory, and notes the end mark."""

        @classmethod
        def frombuf(cls, buf, encoding, errors):  # noqa: ANN001
            nonlocal ended
            ended = len(buf) == tarfile.BLOCKSIZE and not any(buf)
            info = super().frombuf(buf, encoding, errors)
            if info.type not in _PLAIN and info.size > _BLOCK:
                raise _refusal(archive, info, f"has an oversized header of {info.size:,} bytes")
            return info

    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK, tarinfo=BoundedInfo) as opened:
        for info in opened:
            plain = info.isdir() or (info.type in _PLAIN and not info.issparse())
            refused = "" if plain else _TAR_KINDS.get(info.type, "special file")
            yield _Member(info.name, info.isdir(), refused, lambda info=info: opened.extractfile(info))
    if not ended:  # tarfile stops in silence at a broken or missing header
        raise ArchiveError(f"{archive} is cut off or damaged. Nothing was kept; delete it and run again.")
