"""`get`: download, verify and unpack a public data set; no crash and no server leaves anything half-done.

Below the data root: ``.download/<archive>.part`` while it arrives, ``.download/<archive>`` once size and hash
are right, ``.download/<name>.unpacking`` while it is unpacked, one rename to ``<name>/`` as the last step.
An archive fetched by hand and laid into ``.download/`` is verified and unpacked in the same way, offline.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import rich.progress as bars
from rich.console import Console
from rich.filesize import decimal

from mintad.data.archives import Limits, unpack
from mintad.data.sources import Source, source_of
from mintad.data.transfer import DEFAULT_POLICY, Policy, TransferError, discard, fetch
from mintad.errors import DataError
from mintad.lock import exclusive_lock

MARKER = ".mintad-source.json"
"""Written into the unpacked folder before it is renamed into place: which archive it came from."""


def get(
    name: str,
    root: str | Path,
    *,
    accept_licence: bool | Callable[[], bool],
    source: Source | None = None,
    progress: bool = True,
    keep_archive: bool = False,
    policy: Policy = DEFAULT_POLICY,
) -> Path:
    """Download, verify and unpack a data set; does nothing when that was done before.

    Args:
        name: key of `sources.SOURCES`: mvtec, visa, btad or cifar10.
        root: data root; the data set goes to ``root/name``.
        accept_licence: True, or a function that asks the user; called after the licence was shown.
        source: replaces the entry of `sources.SOURCES`.
        progress: show the licence and progress bars on standard error.
        keep_archive: keep the archive after unpacking.
        policy: time-out, tries and back-off of the download.

    Returns:
        The folder to hand to the loader of this data set.

    Raises:
        DataError: unknown name, licence not accepted, too little disk space, no address delivers the archive,
            wrong size or hash, an archive that is not safe to unpack, a folder in the way. The message says
            what to do.
    """
    source = source or source_of(name)
    root = Path(root).expanduser().resolve()
    if found := installed(source, root):
        return found
    _require_licence(source, accept_licence, show=progress)
    downloads = root / ".download"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise DataError(f"{downloads} cannot be made: {problem}. Choose another folder.") from problem
    lock = downloads / f"{source.name}.lock"
    with exclusive_lock(lock, DataError(f"{lock}: another process is getting {source.title}; wait for it.")):
        if found := installed(source, root):  # another process was faster
            return found
        archive = downloads / source.filename
        _require_free_space(source, archive)
        if archive.exists():
            _verify(archive, source, progress, cure=f"Delete {archive} and run again.")
        else:
            _download(archive, source, progress, policy)
        folder = _install(archive, root / source.name, source, progress)
        if not keep_archive:
            archive.unlink()
    return folder


def installed(source: Source, root: str | Path) -> Path | None:
    """The loader's folder if `get` unpacked this archive before, None if there is nothing yet.

    Raises:
        DataError: the folder was not made by `get`, came from another archive, or lost some of its parts.
    """
    target = Path(root).expanduser().resolve() / source.name
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return None
    try:
        marker = json.loads((target / MARKER).read_text(encoding="utf-8"))
        hashes, folder = tuple(marker["hashes"]), target / marker["folder"]
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{target} exists and was not made by this command. If it holds {source.title}, use it as it is; "
            "else move it away and run again."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise DataError(f"{target / MARKER} is damaged: {problem}. Delete {target}.") from problem
    if hashes != source.hashes:
        raise DataError(f"{target} is of another archive of {source.title}. Move it and run again.")
    if missing := [part for part in source.expects if not (folder / part).exists()]:
        raise DataError(f"{folder} lacks {', '.join(missing)}. Delete {target} and run again.")
    return folder


def _require_licence(source: Source, accept: bool | Callable[[], bool], show: bool) -> None:
    if show:
        Console(stderr=True, soft_wrap=True, highlight=False).print(source.notice(), markup=False)
    if not (accept() if callable(accept) else accept):
        raise DataError(
            f"{source.title} was not downloaded: its licence was not accepted. To accept, answer yes, give "
            f"--yes on the command line, or pass accept_licence=True.\n\n{source.notice()}"
        )


def _require_free_space(source: Source, archive: Path) -> None:
    have = sum(path.stat().st_size for path in (archive, _part(archive)) if path.exists())
    needed = source.unpacked + max(0, source.size - have)
    free = shutil.disk_usage(archive.parent).free
    if free < needed:
        raise DataError(
            f"{archive.parent}: {source.title} needs {decimal(needed)} of free disk space, there are "
            f"{decimal(free)}. Free some, or choose another folder."
        )


def _part(archive: Path) -> Path:
    return archive.with_name(archive.name + ".part")


def _download(archive: Path, source: Source, progress: bool, policy: Policy) -> None:
    part, problems = _part(archive), []
    expected = {"size": source.size if source.exact_size else None, "limit": source.archive_limit}
    for url in source.urls:
        try:
            with _bar(f"downloading {source.title}", source.size, progress) as (on_bytes, say):
                fetch(url, part, **expected, policy=policy, on_bytes=on_bytes, on_retry=say)
            _verify(part, source, progress, cure="The file was deleted.")
        except TransferError as problem:
            problems.append(str(problem))
        except _Mismatch as problem:
            discard(part)  # where a file is wrong is unknown, so it cannot be continued
            problems.append(f"{url}: {problem}")
        else:
            os.replace(part, archive)
            discard(part)
            return
    listed = "\n".join(f"  - {problem}" for problem in problems)
    raise DataError(
        f"{source.title} could not be downloaded:\n{listed}\n"
        "Run the same command again later; a download that broke off goes on where it stopped. Or fetch the "
        f"archive by hand from {source.homepage}, place it as {archive}, and run the command again."
    )


class _Mismatch(DataError):
    """A complete file is not the published one."""


def _verify(path: Path, source: Source, progress: bool, cure: str) -> None:
    size = path.stat().st_size
    if source.exact_size and size != source.size:
        raise _Mismatch(f"{path.name} has {size:,} bytes instead of {source.size:,}. {cure}")
    digests = [hashlib.new(expected.partition(":")[0], usedforsecurity=False) for expected in source.hashes]
    with _bar(f"checking {source.title}", size, progress) as (on_bytes, _), path.open("rb") as file:
        done = 0
        while block := file.read(1 << 20):
            for digest in digests:
                digest.update(block)
            on_bytes(done := done + len(block), size)
    for expected, digest in zip(source.hashes, digests, strict=True):
        if (got := f"{digest.name}:{digest.hexdigest()}") != expected:
            raise _Mismatch(f"{path.name} is not the published file: expected {expected}, got {got}. {cure}")


def _install(archive: Path, target: Path, source: Source, progress: bool) -> Path:
    staging = archive.parent / f"{source.name}.unpacking"
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    limits = Limits(total_bytes=2 * source.unpacked)
    with _bar(f"unpacking {source.title}", source.unpacked, progress) as (on_bytes, _):
        files, size = unpack(archive, staging, limits, on_bytes)
    try:
        folder = _loader_folder(staging, source, archive)
        marker = {"name": source.name, "archive": source.filename, "hashes": source.hashes}
        marker |= {"folder": folder, "files": files, "bytes": size}
        with (staging / MARKER).open("x", encoding="utf-8") as file:
            json.dump(marker, file, indent=1)
        if hasattr(os, "sync"):
            os.sync()  # contents before the name: after a power cut the rename must not show empty files
        if target.exists():
            target.rmdir()  # `installed` has seen that it is empty
        os.rename(staging, target)
    except OSError as problem:
        raise DataError(f"{target} cannot be made: {problem}. Mend this and run again.") from problem
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # gone already when the rename succeeded
    return target / folder


def _loader_folder(staging: Path, source: Source, archive: Path) -> str:
    """Where the expected names lie: the documented folder, else the top, else one level down."""
    folders = [staging / source.folder, staging, *sorted(path for path in staging.iterdir() if path.is_dir())]
    for folder in folders:
        if all((folder / name).exists() for name in source.expects):
            return folder.relative_to(staging).as_posix()
    found = ", ".join(sorted(path.name for path in staging.iterdir())[:20]) or "nothing"
    raise DataError(
        f"{archive} is not laid out as {source.title} should be: expected {', '.join(source.expects)}; "
        f"found {found}. The archive was kept: unpack it by hand and see data/README.md."
    )


@contextlib.contextmanager
def _bar(text: str, total: int, show: bool) -> Iterator[tuple[Callable[..., None], Callable[[str], None]]]:
    """A progress bar: what to call with bytes done (and a better total), and what to call with a remark."""
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.DownloadColumn())
    columns += (bars.TransferSpeedColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task(text, total=total)

        def on_bytes(done: int, better_total: int | None = None) -> None:
            bar.update(task, completed=done, total=better_total)  # rich keeps the total when given None

        yield on_bytes, lambda remark: bar.console.print(remark, markup=False) if show else None
