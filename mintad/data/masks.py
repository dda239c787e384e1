"""Which mask file belongs to which image, told by names alone."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mintad.data.images import is_image
from mintad.data.problems import Problem, error
from mintad.errors import DataError


@dataclass
class Listing:
    """Content of one folder, sorted; hidden names left out."""

    folder: str
    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)


def listing(folder: str | Path, problems: list[Problem] | None = None) -> Listing:
    """List one folder in one pass, without a look at each file; a folder that does not exist is empty.

    Args:
        folder: its path.
        problems: gets the problem if the folder may not be read.

    Raises:
        DataError: the folder may not be read, and `problems` was not given.
    """
    found = Listing(str(folder))
    if not os.path.isdir(folder):
        return found
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as problem:
        found_problem = error(folder, f"cannot be listed ({problem.strerror})", "mend its permissions")
        if problems is None:
            raise DataError(str(found_problem)) from problem
        problems.append(found_problem)
        return found
    for entry in ordered:
        if entry.is_dir():
            if not entry.name.startswith((".", "_")):
                found.folders.append(entry.name)
        elif is_image(entry.name):
            found.images.append(entry.name)
        elif not entry.name.startswith("."):
            found.others.append(entry.name)
    return found


def match_masks(images: Listing, masks: Listing, problems: list[Problem]) -> dict[str, tuple[str, ...]]:
    """Give every mask of one kind of defect to its image.

    Args:
        images: the anomalous images.
        masks: their masks: STEM.*, STEM_mask*.* or a folder STEM/ of masks.
        problems: gets the masks and images that stay alone.

    Returns:
        Paths of the masks by path of the image.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in images.images:
        by_stem[_stem(name)].append(name)
    found: dict[str, list[str]] = defaultdict(list)
    for name in masks.images:
        stem = _image_stem(_stem(name), by_stem)
        if stem is None:
            cure = f"add the image it is named after to {images.folder}, or remove the mask"
            problems.append(error(masks.path(name), "mask without an anomalous image", cure))
        else:
            found[stem].append(masks.path(name))
    for name in masks.folders:
        nested = listing(masks.path(name), problems)
        if name not in by_stem:
            cure = f"add the image '{name}' to {images.folder}, or remove the folder"
            problems.append(error(nested.folder, "mask folder without an anomalous image", cure))
        found[name] += [nested.path(mask) for mask in nested.images]
    for name in masks.others:
        problems.append(Problem("warning", masks.path(name), "no image by its ending", "it is ignored"))
    _report_lonely(images, masks, by_stem, found, problems)
    return {
        images.path(name): tuple(sorted(found[stem]))
        for stem, names in by_stem.items()
        for name in names
        if found.get(stem)
    }


def _report_lonely(
    images: Listing,
    masks: Listing,
    by_stem: dict[str, list[str]],
    found: dict[str, list[str]],
    problems: list[Problem],
) -> None:
    for stem, names in by_stem.items():
        if len(names) > 1:
            what = f"{', '.join(names)} share the name '{stem}', so that their masks cannot be told apart"
            problems.append(error(images.folder, what, "rename all but one, and its mask"))
    bare = [name for stem, names in by_stem.items() for name in names if not found.get(stem)]
    cure = f"add STEM_mask.png to {masks.folder}; to go without masks, remove the category's whole ground_truth/"
    if len(bare) == len(images.images) > 1:
        problems.append(error(images.folder, f"none of its {len(bare)} anomalous images has a mask", cure))
    else:
        problems += [error(images.path(name), "anomalous image without a mask", cure) for name in bare]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _image_stem(stem: str, images: Collection[str]) -> str | None:
    """The mask's own stem, or what stands before the last '_mask' that leaves the stem of an image."""
    if stem in images:
        return stem
    end = stem.lower().rfind("_mask")
    while end > 0:
        if stem[:end] in images:
            return stem[:end]
        end = stem.lower().rfind("_mask", 0, end)
    return None


def alike(names: Sequence[str], wanted: str) -> str:
    """' (but ...)' when a name differs from the wanted one in case only."""
    same = [name for name in names if name.lower() == wanted.lower()]
    return f" (but there is '{same[0]}': rename it)" if same else ""
