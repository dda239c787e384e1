"""Unpacking of tar and zip archives, by tarfile's data filter and a few checks of our own."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from mintad.errors import DataError

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, ValueError, RuntimeError)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip archive. The hash pins what is in it; members that could leave `folder` are refused anyway.

    Args:
        archive: its kind is recognised by content and not by name.
        folder: created; holds a part of the archive after an error.

    Raises:
        DataError: the archive is damaged, or a member is a link, a device, or would leave the folder.
    """
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter=_plain_members)
        else:
            with zipfile.ZipFile(archive) as packed:
                for member in packed.infolist():
                    _require_safe_zip_member(member)
                packed.extractall(folder)
    except _DAMAGE as fault:
        raise DataError(f"cannot be unpacked ({fault})", path=archive, fix="do not use this archive") from fault


def _require_safe_zip_member(member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.orig_filename.replace("\\", "/"))
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where it was made on a system without modes
    if path.is_absolute() or ".." in path.parts or ":" in str(path) or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"{member.orig_filename!r} would leave the folder or is no plain file")


def _plain_members(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Apply tarfile's data filter, and refuse links and absolute names, which it may accept."""
    if not (member.isreg() or member.isdir()) or member.name.startswith("/"):
        raise ValueError(f"{member.name!r} would leave the folder or is no plain file")
    return tarfile.data_filter(member, folder)
