"""Listing one folder: images, folders and other files, without what is hidden and what systems leave there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mintad.data.images import is_image
from mintad.data.litter import LITTER, is_litter
from mintad.data.problems import Problem, error
from mintad.errors import DataError


@dataclass
class Listing:
    """Content of one folder, sorted; hidden names are left out."""

    folder: str
    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def path(self, name: str) -> str:
        """Return the path of a name in the listing."""
        return os.path.join(self.folder, name)


def list_folder(folder: str | Path, problems: list[Problem] | None = None) -> Listing:
    """List one folder without opening any file; a folder that does not exist is empty.

    A folder that may not be read becomes one of the `problems`; where these are not given, it raises a DataError. What
    `mintad.data.litter` knows becomes a note there.
    """
    listing = Listing(str(folder))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name) if os.path.isdir(folder) else []
    except OSError as fault:
        problem = error(folder, f"cannot be listed ({fault.strerror})", "change its permissions")
        if problems is None:
            raise DataError(problem.problem, path=folder, fix=problem.fix) from fault
        problems.append(problem)
        return listing
    for entry in entries:
        if (shown := printable(entry.path)) != entry.path:  # it could be written into no table, log or page
            if problems is not None:
                problems.append(error(shown, "name that is not in UTF-8", "rename it, or remove it"))
        elif is_litter(entry.name):
            if problems is not None:
                problems.append(Problem("note", entry.path, LITTER))
        elif _is_folder(entry):
            listing.folders += [] if entry.name.startswith((".", "_")) else [entry.name]
        elif is_image(entry.name):
            listing.images.append(entry.name)
        elif not entry.name.startswith("."):
            listing.others.append(entry.name)
    return listing


def _is_folder(entry: os.DirEntry) -> bool:
    """Return whether an entry is a folder; a link that leads in a circle or is forbidden to follow is a file."""
    try:
        return entry.is_dir()
    except OSError:  # whoever opens it will say why it cannot be read
        return False


def printable(path: str) -> str:
    """Return a path with its bytes that are no UTF-8 written as \\xff."""
    return os.fsencode(path).decode(errors="backslashreplace")


def hint_at_case(names: Iterable[str], expected: str) -> str:
    """Return " (but there is 'NAME': rename it)" when a name differs from the expected one in case only, else ""."""
    same = [name for name in names if name.lower() == expected.lower()]
    return f" (but there is '{same[0]}': rename it)" if same else ""


def absolute(root: str | Path) -> Path:
    """Return the absolute path of a root, with '~' expanded and '..' resolved; links are kept."""
    return Path(os.path.abspath(os.path.expanduser(root)))
