"""Which files are new images: the same rule as for a data set's folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mintad.data.images import IMAGE_SUFFIXES
from mintad.data.listing import list_folder
from mintad.data.problems import Problem
from mintad.disk import real_path
from mintad.errors import DataError
from mintad.runs.prediction_folder import LINES, TABLE


@dataclass
class NewImages:
    """Image files to score, and what lies beside them."""

    files: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    """How many files of other kinds there are, by the ends of their names, and how many 'hidden' names."""
    problems: list[str] = field(default_factory=list)
    """A message for each folder that cannot be listed."""
    results: list[Path] = field(default_factory=list)
    """Folders of earlier predictions, which are not searched: their heatmaps are no photographs."""

    def note(self) -> str:
        """Return a line about what was passed over, '' if nothing was."""
        listed = ", ".join(f"{count} {kind}" for kind, count in self.passed_over.most_common())
        lines = [f"skipped, because they are not image files: {listed}"] if listed else []
        if self.results:
            lines.append(f"not searched, because they hold earlier predictions: {', '.join(map(str, self.results))}")
        return "; ".join(lines)


def find_images(paths: Iterable[str | Path], *, exclude: str | Path | None = None, empty: bool = False) -> NewImages:
    """List image files: a file that is named is taken, a folder is searched in depth, in sorted order.

    As in training, a folder's hidden names, and its folders whose names begin with '_', are left out, and links are
    followed, each folder once. The folder `exclude` of the results is not searched, nor are those of other predictions
    below a folder: their heatmaps are no photographs. Whoever names such a folder itself means it.

    Raises:
        DataError: a path does not exist, a folder to search lies in `exclude`, or there is no image, unless `empty`
            allows that.
    """
    paths, found, seen = [Path(path) for path in paths], NewImages(), set()
    results = None if exclude is None else real_path(exclude)
    for path in paths:
        if not os.path.lexists(path):
            raise DataError("does not exist", path=path)
        if path.is_dir() and results and real_path(path).is_relative_to(results):
            raise DataError(f"{path} lies in the folder of the results, {exclude}; choose another --out")
        if path.is_dir():
            _search(path, results, found, seen)
        else:
            found.files.append(path)
    once: dict[Path, Path] = {}  # a file may be named twice, by itself, below its folder, or relative and absolute
    for file in found.files:
        once.setdefault(real_path(file.parent) / file.name, file)
    found.files = list(once.values())
    if not found.files and not found.problems and not empty:
        note = found.note()
        kinds = f"no images ({', '.join(sorted(IMAGE_SUFFIXES))}) in {', '.join(map(str, paths))}"
        raise DataError(kinds + (f"; {note}" if note else ""))
    return found


def _search(folder: Path, results: Path | None, found: NewImages, seen: set[Path], *, below: bool = False) -> None:
    real = real_path(folder)
    if real == results or real in seen:
        return
    seen.add(real)
    problems: list[Problem] = []
    listing = list_folder(folder, problems)
    if below and {TABLE, LINES} <= set(listing.others):
        found.results.append(folder)
        return
    faults = [str(problem) for problem in problems if problem.severity != "note"]  # litter is counted below
    found.problems += faults
    found.files += [folder / name for name in listing.images]
    found.passed_over.update(Path(name).suffix.lower() or "without an ending" for name in listing.others)
    if not faults:
        listed: Sequence[str] = [*listing.images, *listing.folders, *listing.others]
        hidden = len(os.listdir(folder)) - len(listed)
        if hidden > 0:
            found.passed_over["hidden"] += hidden
    for name in listing.folders:
        _search(folder / name, results, found, seen, below=True)
