"""What students have handed in: one folder for each, with notebooks in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mintad.course.grade.isolation import DISK_MB
from mintad.errors import DataError

NUMBER = re.compile(r"\d\d(?=_)")


@dataclass(frozen=True)
class Submission:
    """A student's folder.

    Args:
        student: its name.
        folder: its path.
        digest: of the names and bytes of its files.
        problem: why it cannot be graded, or nothing.
    """

    student: str
    folder: Path
    digest: str
    problem: str = ""


def read_submissions(folders: Sequence[str | Path]) -> list[Submission]:
    """Return the submissions in these folders; other files, such as a README beside them, are left out.

    Raises:
        DataError: a path does not exist, there is no folder, or two folders have the same name.
    """
    paths = [Path(folder).absolute() for folder in folders]
    for path in paths:
        if not path.exists():
            raise DataError("this does not exist", path=path, fix="name the students' folders, for example handed_in/*")
    found: dict[str, Path] = {}
    for path in (path for path in paths if path.is_dir()):
        if path.name in found:
            raise DataError(f"two folders have the name '{path.name}'", path=path, fix="a name is a student")
        found[path.name] = path
    if not found:
        raise DataError("none of these is a folder; a submission is a folder with notebooks", path=paths[0])
    return [_read(name, path) for name, path in sorted(found.items())]


def notebooks_in(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Return name of a notebook -> path of the student's in the folder; a copy with another name counts by its number.

    "03 (1).ipynb" is none of them; "03_my_version.ipynb" is notebook 03 where there is no better one.
    """
    files = [path.relative_to(folder) for path in folder.rglob("*.ipynb") if path.is_file() and not path.is_symlink()]
    files = [file for file in files if not any(part.startswith(".") for part in file.parts)]
    files.sort(key=lambda file: (file.stem not in names, len(file.parts), str(file)))
    numbers = {match[0]: name for name in sorted(names, reverse=True) if (match := NUMBER.match(name))}
    chosen: dict[str, str] = {}
    for file in files:
        match = NUMBER.match(file.stem)
        name = file.stem if file.stem in names else numbers.get(match[0]) if match else None
        if name:
            chosen.setdefault(name, str(file))
    return chosen


def _read(student: str, folder: Path) -> Submission:
    try:
        digest = _digest(folder)
    except OSError as error:
        return Submission(student, folder, "", f"a file cannot be read: {error.strerror}")
    except Exception as error:  # whatever one hands in, the others are graded
        return Submission(student, folder, "", f"the folder cannot be read: {type(error).__name__}")
    return Submission(student, folder, digest, "" if digest else f"the folder has more than {DISK_MB} MB")


def _digest(folder: Path) -> str:
    """Return a digest of a folder's regular files, nothing if it is too large to be copied."""
    digest, size = hashlib.sha256(), 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        size += path.stat().st_size
        if size > DISK_MB << 20:
            return ""
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode(errors="surrogateescape"))
        digest.update(path.read_bytes())
    return digest.hexdigest()
