"""Download, verify and unpack a public data set.

Below the data root, ``.download/ARCHIVE`` is an archive whose hash is right, or one that the user has placed there, and
``.download/NAME.partial/`` holds what is being downloaded and unpacked. One rename to ``NAME/`` is the last step, so a
crash leaves nothing that looks finished, and the next call removes what it left.
"""

from __future__ import annotations

import itertools
import lzma
import os
import shutil
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal

from mintad.data.dataset import Dataset, Source
from mintad.data.registry import DATASETS
from mintad.disk import real_path
from mintad.errors import DataError, nearest
from mintad.lock import exclusive_lock

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, ValueError, RuntimeError)
RETRIES = 2  # further attempts at each address, if the connection fails
TIMEOUT = 30  # seconds without a byte before a connection counts as broken


def get(name: str, root: str | Path, *, accept_licence: bool | Callable[[], bool], progress: bool = True) -> Path:
    """Download, verify and unpack a data set into ``root/name``, unless it is there; return its folder for `load`.

    Args:
        name: a name in `DATASETS` with a source: mvtec, visa, btad or cifar10.
        root: data root.
        accept_licence: True, or a function that asks the user; called after the licence was shown.
        progress: show the licence and a progress bar on standard error.

    Raises:
        DataError: the data set cannot be had, verified, unpacked or written; the message says what to do.
    """
    dataset = DATASETS[name]
    if dataset.source is None:
        available = [other for other in DATASETS if DATASETS[other].source]
        raise DataError(f"data set '{name}' has nothing to download." + nearest(name, available))
    target = real_path(root) / name
    folder = installed(dataset, target)
    if folder is not None:
        return folder
    if not hasattr(tarfile, "data_filter"):
        raise DataError("this Python cannot unpack archives safely", fix="update it to 3.10.12, 3.11.4 or newer")
    _require_licence(dataset, accept_licence, progress)
    downloads = target.parent / ".download"
    partial, lock = downloads / f"{name}.partial", downloads / f"{name}.lock"
    busy = DataError(f"another process is getting {dataset.title}", path=lock, fix="wait for it")
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(lock, busy):
            shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
            try:
                if installed(dataset, target) is None:  # another process may have been faster
                    _fetch_and_unpack(dataset, dataset.source, partial, target, progress)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as fault:
        fix = "free some space, change the permissions or choose another folder; then run again"
        raise DataError(f"cannot be written ({fault})", path=downloads, fix=fix) from fault
    return installed(dataset, target)


def installed(dataset: Dataset, target: Path) -> Path | None:
    """Return the loader's folder inside `target`, None if `target` is empty; anything else in it is a DataError."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    folder = _loader_folder(target, dataset.source)
    if folder is None:
        problem = f"exists, but lacks some of {', '.join(dataset.source.expects)}"
        raise DataError(problem, path=target, fix="use it as it is, or move it away and run again")
    return folder


def _require_licence(dataset: Dataset, accept: bool | Callable[[], bool], show: bool) -> None:
    if show:
        Console(stderr=True, soft_wrap=True, highlight=False).print(dataset.notice(), markup=False)
    if not (accept() if callable(accept) else accept):
        fix = "to accept it, answer yes, use --yes, or pass accept_licence=True"
        fix += "" if show else f"\n\n{dataset.notice()}"
        raise DataError(f"{dataset.title} was not downloaded because its licence was not accepted", fix=fix)


def _fetch_and_unpack(dataset: Dataset, source: Source, partial: Path, target: Path, progress: bool) -> None:
    archive = partial.with_name(source.filename)
    needed = source.unpacked + (0 if archive.exists() else source.size)
    free = shutil.disk_usage(archive.parent).free
    if free < needed:
        problem = f"{dataset.title} needs {decimal(needed)} of disk space, only {decimal(free)} are free"
        raise DataError(problem, path=archive.parent, fix="free some space or choose another folder")
    if archive.exists():  # placed by hand, or verified by a run that was interrupted while unpacking
        _verify(archive, source.hashes)
    else:
        _download(dataset, source, archive, partial, progress)
    if progress:
        Console(stderr=True).print(f"unpacking {dataset.title}, up to {decimal(source.unpacked)}")
    unpacked = partial / "unpacked"
    unpack(archive, unpacked)
    if _loader_folder(unpacked, source) is None:
        names = ", ".join(sorted(path.name for path in unpacked.iterdir())[:20]) or "nothing"
        problem = f"does not have the layout of {dataset.title}: expected {', '.join(source.expects)}; found {names}"
        fix = "the archive was kept: unpack it by hand and see data/README.md"
        raise DataError(problem, path=archive, fix=fix)
    if hasattr(os, "sync"):
        os.sync()  # contents before the name: after a power cut the rename must not show empty files
    if target.exists():
        target.rmdir()  # `installed` has seen that it is empty
    unpacked.rename(target)
    archive.unlink()


def _download(dataset: Dataset, source: Source, archive: Path, partial: Path, progress: bool) -> None:
    from requests import RequestException

    failures = [f"{dataset.title} could not be downloaded:"]
    for url in source.urls:
        try:
            downloaded = _download_from(url, source, partial, progress)
            _verify(downloaded, source.hashes[1:])
        except (RequestException, ValueError, DataError) as fault:  # ValueError: pooch got another hash
            failures.append(f"  - {url}: {fault.problem if isinstance(fault, DataError) else fault}")
        else:
            downloaded.replace(archive)
            return
    fix = f"run again later, or fetch the archive by hand from {source.homepage}, place it as {archive}, and run again"
    raise DataError("\n".join(failures), fix=fix)


def _download_from(url: str, source: Source, folder: Path, progress: bool) -> Path:
    """Download an archive from one address and compare it with its first hash.

    Only a failed connection is tried again, because an address that has another file would send it again, and it may
    have many gigabytes.
    """
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("INFO" if progress else "WARNING")
    identity = {"Accept-Encoding": "identity"}  # the archive itself, not unpacked on the way
    bar = progress and sys.stderr.isatty()
    downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 20, timeout=TIMEOUT, headers=identity)
    for attempt in itertools.count(1):
        try:
            return Path(pooch.retrieve(url, source.hashes[0], source.filename, folder, downloader=downloader))
        except RequestException as fault:
            if attempt > RETRIES:
                raise
            pooch.get_logger().info("the connection failed and is tried again: %s", fault)
            time.sleep(attempt)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip archive, recognised by its content, into `folder`.

    No member can leave the folder: tarfile's data filter refuses such members, zipfile makes their names harmless.

    Raises:
        DataError: the archive is damaged, or tarfile's data filter refuses a member.
    """
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
        else:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder)
    except _DAMAGE as fault:
        raise DataError(f"cannot be unpacked ({fault})", path=archive, fix="do not use this archive") from fault


def _verify(archive: Path, hashes: Sequence[str]) -> None:
    """Compare an archive with published hashes; a DataError where one differs."""
    import pooch

    for expected in hashes:
        algorithm = expected.partition(":")[0]
        actual = f"{algorithm}:{pooch.file_hash(str(archive), alg=algorithm)}"
        if actual != expected:
            problem = f"is not the published file (expected {expected}, got {actual})"
            raise DataError(problem, path=archive, fix="delete it and run again")


def _loader_folder(root: Path, source: Source) -> Path | None:
    """Find where the expected names lie: in the documented folder, else at the top, else one level down."""
    folders = [root / source.folder, root, *sorted(path for path in root.glob("*") if path.is_dir())]
    return next((folder for folder in folders if all((folder / name).exists() for name in source.expects)), None)
