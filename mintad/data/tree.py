"""Scanning a data set in MVTec layout: the folders say everything, no image is opened.

    ROOT/CATEGORY/train/good/*            normal images
    ROOT/CATEGORY/test/good/*             normal images
    ROOT/CATEGORY/test/DEFECT/*           anomalous images; the folder names the defect
    ROOT/CATEGORY/ground_truth/DEFECT/*   masks: STEM.png, STEM_mask*.png or in a folder STEM/; any image format

Folders whose names start with '.' or '_' are skipped, as is validation/ in a category. Everything else that
does not fit is a `Problem`, because a folder that is skipped without a word is lost data.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mintad.data.images import is_image
from mintad.data.problems import Problem, error, raise_errors
from mintad.data.records import GOOD, make_records
from mintad.errors import DataError

Row = dict[str, Any]
Scan = tuple[list[Row], list[Problem]]
"""Rows for `make_records`, and everything that is wrong."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The details in which data sets of this layout differ."""

    dataset: str
    normal: str = GOOD
    """Name of the folders of normal images; 'ok' in BTAD."""
    masks_required: bool = False
    """Whether a category without ground_truth/ is an error; otherwise it has image labels only."""


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

    A folder that may not be read becomes one of the `problems`; where these are not given, it raises a DataError.
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
        if entry.is_dir():
            listing.folders += [] if entry.name.startswith((".", "_")) else [entry.name]
        elif is_image(entry.name):
            listing.images.append(entry.name)
        elif not entry.name.startswith("."):
            listing.others.append(entry.name)
    return listing


def hint_at_case(names: Iterable[str], expected: str) -> str:
    """Return " (but there is 'NAME': rename it)" when a name differs from the expected one in case only, else ""."""
    same = [name for name in names if name.lower() == expected.lower()]
    return f" (but there is '{same[0]}': rename it)" if same else ""


def absolute(root: str | Path) -> Path:
    """Return the absolute path of a root, with '~' expanded and '..' resolved; links are kept."""
    return Path(os.path.abspath(os.path.expanduser(root)))


def build_records(scan: Scan, root: Path) -> pd.DataFrame:
    """Build the record table of a scan of `root`; one DataError lists all errors of the scan."""
    raise_errors(scan[1], root)
    return make_records(scan[0])


def scan_root(root: Path, layout: Layout) -> Scan:
    """Scan a folder of categories (an absolute path), or a single category (train/ or test/ inside)."""
    if not root.is_dir():
        return [], [error(root, "no such folder", "give data.root as the folder that holds the categories")]
    problems: list[Problem] = []
    names = list_folder(root, problems).folders
    if {"train", "test"} & set(names):
        return _scan_category(root, layout)
    if not names and not problems:
        return [], [error(root, "no categories", f"expected folders CATEGORY/train/{layout.normal} and CATEGORY/test")]
    scans = [_scan_category(root / name, layout) for name in names]
    return [row for rows, _ in scans for row in rows], problems + [problem for _, more in scans for problem in more]


def _scan_category(folder: Path, layout: Layout) -> Scan:
    problems: list[Problem] = []
    parts = list_folder(folder, problems).folders
    if not {"train", "test"} & set(parts) and not problems:
        problem = f"no category: neither train/ nor test/ inside{hint_at_case(parts, 'train')}"
        fix = f"add train/{layout.normal} and test/; if it is none, move it away or start its name with '_'"
        return [], [error(folder, problem, fix)]
    train, test = (_split(folder, split, parts, layout, problems) for split in ("train", "test"))
    masks = _masks(folder, parts, test, layout, problems)
    rows = [
        {
            "dataset": layout.dataset,
            "category": folder.name,
            "split": split,
            "label": int(kind != layout.normal),
            "defect": GOOD if kind == layout.normal else kind,
            "image": images.path(name),
            "masks": masks.get(images.path(name), ()),
        }
        for split, kinds in (("train", train), ("test", test))
        for kind, images in kinds.items()
        for name in images.images
        if split == "test" or kind == layout.normal
    ]
    return rows, problems


def _split(
    category: Path, split: str, parts: Collection[str], layout: Layout, problems: list[Problem]
) -> dict[str, Listing]:
    """Return the image folders of train/ or test/ by name; missing and unexpected ones go to `problems`."""
    folder, normal = category / split, layout.normal
    if split not in parts:
        problem = f"missing split folder{hint_at_case(parts, split)}"
        problems.append(error(folder, problem, f"put normal images into {split}/{normal}"))
        return {}
    inside = list_folder(folder, problems)
    folders = {name: list_folder(folder / name, problems) for name in inside.folders}
    defects = [name for name in folders if name != normal]
    if inside.images:
        problem = f"{len(inside.images)} image(s) directly inside, e.g. {inside.images[0]}"
        fix = f"move them into {split}/{normal}" + (" or test/DEFECT" if split == "test" else "")
        problems.append(error(folder, problem, fix))
    for name, images in folders.items():
        fix = "move its images up, or the folder away"
        problems += [error(images.path(sub), "folder among images, which is not read", fix) for sub in images.folders]
        problem, fix = "file without the ending of an image", "it is ignored; convert it if it is an image"
        problems += [Problem("warning", images.path(other), problem, fix) for other in images.others]
        if name != normal and not images.images:
            problems.append(Problem("warning", images.folder, "empty folder", "remove it or add its images"))
    if normal not in folders or not folders[normal].images:
        hint = "" if normal in folders else f" (no such folder){hint_at_case(inside.folders, normal)}"
        use = "to train on" if split == "train" else "to compare the anomalous ones with"
        problems.append(error(folder / normal, f"no normal images{hint}", f"put normal images {use} there"))
    if split == "train":
        fix = f"training images are all normal: move them to test/ or into train/{normal}"
        problems += [error(folder / name, "unexpected folder in train/", fix) for name in defects]
    elif not any(folders[name].images for name in defects):
        problems.append(error(folder, "no anomalous images", "put them into test/DEFECT, a folder per kind of defect"))
    return folders


def _masks(
    category: Path, parts: Collection[str], test: dict[str, Listing], layout: Layout, problems: list[Problem]
) -> dict[str, tuple[str, ...]]:
    """Return the masks by image path."""
    folder = category / "ground_truth"
    if "ground_truth" not in parts:
        if layout.masks_required:
            problem = f"no masks: the folder is missing{hint_at_case(parts, 'ground_truth')}"
            problems.append(error(folder, problem, "unpack the data set again, or load it as 'folder'"))
        return {}
    inside = list_folder(folder, problems)
    fix = "move it into ground_truth/DEFECT"
    problems += [error(inside.path(name), "mask outside a defect folder", fix) for name in inside.images]
    masks: dict[str, tuple[str, ...]] = {}
    for name in sorted({*inside.folders, *test} - {layout.normal}):
        images = test.get(name, Listing(str(category / "test" / name)))
        masks |= match_masks(images, list_folder(folder / name, problems), problems)
    stray = list_folder(folder / layout.normal)
    if stray.images:
        problem = f"{len(stray.images)} mask(s) of normal images, e.g. {stray.images[0]}"
        problems.append(error(stray.folder, problem, "normal images have no mask: remove the folder"))
    return masks


def match_masks(images: Listing, masks: Listing, problems: list[Problem]) -> dict[str, tuple[str, ...]]:
    """Assign every mask of one kind of defect to its image, by its name: STEM.*, STEM_mask*.* or in a folder STEM/.

    Returns the masks' paths by the image's. Masks without an image and images without a mask go to `problems`.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in images.images:
        by_stem[os.path.splitext(name)[0]].append(name)
    masks_of: dict[str, list[str]] = defaultdict(list)
    for name in masks.images:
        stem = _image_stem(os.path.splitext(name)[0], by_stem)
        if stem is None:
            fix = f"add the image it is named after to {images.folder}, or remove the mask"
            problems.append(error(masks.path(name), "mask without an anomalous image", fix))
        else:
            masks_of[stem].append(masks.path(name))
    for name in masks.folders:
        nested = list_folder(masks.path(name), problems)
        if name not in by_stem:
            fix = f"add the image '{name}' to {images.folder}, or remove the folder"
            problems.append(error(nested.folder, "mask folder without an anomalous image", fix))
        masks_of[name] += [nested.path(mask) for mask in nested.images]
    for name in masks.others:
        problems.append(Problem("warning", masks.path(name), "file without the ending of an image", "it is ignored"))
    for stem, names in by_stem.items():
        if len(names) > 1:
            problem = f"{', '.join(names)} share the name '{stem}', so that it is not clear whose mask is whose"
            problems.append(error(images.folder, problem, "rename all but one, and its mask"))
    unmatched = [name for stem, names in by_stem.items() for name in names if not masks_of[stem]]
    fix = f"add STEM_mask.png to {masks.folder}; to use no masks, remove the category's whole ground_truth/"
    if len(unmatched) == len(images.images) > 1:
        problems.append(error(images.folder, f"none of its {len(unmatched)} anomalous images has a mask", fix))
    else:
        problems += [error(images.path(name), "anomalous image without a mask", fix) for name in unmatched]
    matched = [(name, sorted(masks_of[stem])) for stem, names in by_stem.items() for name in names if masks_of[stem]]
    return {images.path(name): tuple(masks) for name, masks in matched}


def _image_stem(stem: str, images: Collection[str]) -> str | None:
    """Return the mask's own stem, or the part before the last '_mask' that leaves the stem of an image."""
    ends = [match.start() for match in re.finditer("_mask", stem, re.IGNORECASE)]
    return next((stem[:end] for end in (len(stem), *reversed(ends)) if stem[:end] in images), None)
