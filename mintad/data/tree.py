"""Scanning a data set in MVTec layout: the folders say everything, no image is opened.

    ROOT/CATEGORY/train/good/*            normal images
    ROOT/CATEGORY/test/good/*             normal images
    ROOT/CATEGORY/test/DEFECT/*           anomalous images; the folder names the defect
    ROOT/CATEGORY/ground_truth/DEFECT/*   masks: STEM.png, STEM_mask*.png or in a folder STEM/; any image format

Folders whose names start with '.' or '_' are skipped, as is validation/ in a category. Everything else that
does not fit is a `Problem`, because a folder that is skipped without a word is lost data. In a published set most of
them are errors; of the user's own images (`Layout.own`) test/, defects and masks may be missing.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mintad.data.listing import Listing, absolute, hint_at_case, list_folder
from mintad.data.mask_names import MASK_FOLDERS, composed, match_masks, with_owner
from mintad.data.problems import Problem, error, has_errors, raise_errors
from mintad.data.records import GOOD, make_records
from mintad.data.words import ABNORMAL, Words

__all__ = ["Layout", "Listing", "Row", "Scan", "absolute", "build_records", "hint_at_case", "list_folder", "scan_root"]

Row = dict[str, Any]
Scan = tuple[list[Row], list[Problem]]
"""Rows for `make_records`, and everything that is wrong."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The details in which data sets of this layout differ."""

    dataset: str
    normal: tuple[str, ...] = (GOOD,)
    """Names of the folders of normal images; 'ok' in BTAD."""
    abnormal: tuple[str, ...] = ABNORMAL
    """Names of folders of anomalous images that say so; the others name defects."""
    masks_required: bool = False
    """Whether a category without ground_truth/ is an error; otherwise it has image labels only."""
    own: bool = False
    """Whether these are the user's images: test/, defects and masks may be missing, and `normal` is in any case."""

    def is_normal(self, folder: str) -> bool:
        """Return whether a folder of this name holds normal images."""
        return (folder.lower() if self.own else folder) in self.normal


def build_records(scan: Scan, root: Path) -> pd.DataFrame:
    """Build the record table of a scan of `root`; one DataError lists all errors of the scan.

    Masks of normal images are dropped: `mintad.data.check` says whether they are blank, as they must be.
    """
    raise_errors(scan[1], root)
    return make_records(row if row["label"] else {**row, "masks": ()} for row in scan[0])


def scan_root(root: Path, layout: Layout) -> Scan:
    """Scan a folder of categories (an absolute path), or a single category (train/ or test/ inside)."""
    if not root.is_dir():
        return [], [error(root, "no such folder", "give data.root as the folder that holds the categories")]
    problems: list[Problem] = []
    names = list_folder(root, problems).folders
    if {"train", "test"} & set(names):
        return scan_category(root, layout)
    if not names and not has_errors(problems):
        expected = f"expected folders CATEGORY/train/{layout.normal[0]} and CATEGORY/test"
        return [], [*problems, error(root, "no categories", expected)]
    scans = [scan_category(root / name, layout) for name in names]
    return [row for rows, _ in scans for row in rows], problems + [problem for _, more in scans for problem in more]


def scan_category(folder: Path, layout: Layout) -> Scan:
    """Scan one category, an absolute path with train/ or test/ inside."""
    problems: list[Problem] = []
    inside = list_folder(folder, problems)
    parts = inside.folders
    if not {"train", "test"} & set(parts) and not has_errors(problems):
        problem = f"no category: neither train/ nor test/ inside{hint_at_case(parts, 'train')}"
        fix = f"add train/{layout.normal[0]} and test/; if it is none, move it away or start its name with '_'"
        if layout.own:
            problem = f"no category: neither train/ nor a folder of normal images inside{hint_at_case(parts, 'train')}"
            fix = f"put normal images into {GOOD}/, or name the folder that has them (--normal NAME, --abnormal NAME)"
            fix += "; if it is not a category, move it away or start its name with '_'"
        return [], [*problems, error(folder, problem, fix)]
    if layout.own:
        problems += images_beside(inside)
        known, fix = ("train", "test", "validation", *MASK_FOLDERS), "move what is in it into train/ or test/"
        for name in (name for name in parts if name.lower() not in known):
            severity = "error" if list_folder(folder / name).images else "warning"
            problems.append(Problem(severity, str(folder / name), "folder that is not read", fix))
    train, test = (_split(folder, split, parts, layout, problems) for split in ("train", "test"))
    masks = _masks(folder, parts, test, layout, problems)
    rows = [
        {
            "dataset": layout.dataset,
            "category": folder.name,
            "split": split,
            "label": int(not layout.is_normal(kind)),
            "defect": GOOD if layout.is_normal(kind) else kind,
            "image": images.path(name),
            "masks": masks.get(images.path(name), ()),
        }
        for split, kinds in (("train", train), ("test", test))
        for kind, images in kinds.items()
        for name in images.images
        if split == "test" or layout.is_normal(kind)
    ]
    return rows, problems


def images_beside(inside: Listing) -> list[Problem]:
    """Return a warning where images lie beside the folders that are read."""
    if not inside.images:
        return []
    problem = f"{len(inside.images)} image(s) beside the folders, which are not read, e.g. {inside.images[0]}"
    return [
        Problem("warning", inside.folder, problem, "move them into a folder of normal or anomalous images, or away")
    ]


def _split(
    category: Path, split: str, parts: Collection[str], layout: Layout, problems: list[Problem]
) -> dict[str, Listing]:
    """Return the image folders of train/ or test/ by name; missing and unexpected ones go to `problems`."""
    folder, normal = category / split, layout.normal[0]
    if split not in parts:
        hint = hint_at_case(parts, split)
        if hint or split == "train" or not layout.own:
            untrained = category.name if layout.own and not hint else ""
            fix = f"put normal images into {split}/{normal}"
            problems.append(error(folder, f"missing split folder{hint}", fix, untrained=untrained))
        return {}
    inside = list_folder(folder, problems)
    folders = {name: list_folder(folder / name, problems) for name in inside.folders}
    defects = [name for name in folders if not layout.is_normal(name)]
    if inside.images:
        problem = f"{len(inside.images)} image(s) directly inside, e.g. {inside.images[0]}"
        fix = f"move them into {split}/{normal}" + (" or test/DEFECT" if split == "test" else "")
        problems.append(error(folder, problem, fix))
    for name, images in folders.items():
        fix = "move its images up, or the folder away"
        problems += [error(images.path(sub), "folder among images, which is not read", fix) for sub in images.folders]
        problem, fix = "file without the ending of an image", "it is ignored; convert it if it is an image"
        problems += [Problem("warning", images.path(other), problem, fix) for other in images.others]
        if not layout.is_normal(name) and not images.images:
            problems.append(Problem("warning", images.folder, "empty folder", "remove it or add its images"))
    if not any(folders[name].images for name in folders.keys() - defects):
        hint = "" if normal in folders else f" (no such folder){hint_at_case(inside.folders, normal)}"
        use = "to train on" if split == "train" else "to compare the anomalous ones with"
        optional = layout.own and split == "test"
        problem, fix = f"no normal images{hint}", f"put normal images {use} there"
        untrained = category.name if layout.own and split == "train" else ""
        problems.append(Problem("warning" if optional else "error", str(folder / normal), problem, fix, untrained))
    if layout.own and split == "test":
        fix = f"if they are normal, move them into {split}/{normal}, or say --normal NAME; if not, --abnormal NAME"
        words = Words(layout.normal, layout.abnormal)
        numbers = {int(name) for name in defects if name.isdecimal()}
        counted = bool(numbers - {0, 1}) or len(defects) < len(folders)  # kinds of defects by number, not labels
        problems += [
            Problem("warning", folders[name].folder, "folder of anomalous images that may be called normal", fix)
            for name in defects
            if words.perhaps_normal(name) and not (counted and name.isdecimal()) and folders[name].images
        ]
    if split == "train":
        fix = f"training images are all normal: move them to test/ or into train/{normal}"
        problems += [error(folder / name, "unexpected folder in train/", fix) for name in defects]
    elif not any(folders[name].images for name in defects) and not layout.own:
        problems.append(error(folder, "no anomalous images", "put them into test/DEFECT, a folder per kind of defect"))
    return folders


def _masks(
    category: Path, parts: Collection[str], test: dict[str, Listing], layout: Layout, problems: list[Problem]
) -> dict[str, tuple[str, ...]]:
    """Return the masks by image path."""
    truth = _truth(category, parts, problems) if layout.own else "ground_truth"
    folder = category / truth
    if truth not in parts:
        if layout.masks_required:
            problem = f"no masks: the folder is missing{hint_at_case(parts, 'ground_truth')}"
            problems.append(error(folder, problem, "unpack the data set again, or load it as 'folder'"))
        return {}
    inside = list_folder(folder, problems)
    loose, masks = inside.images, {}
    if layout.own and loose:
        images = _all_images(category / "test", test, layout)
        owned, rest = with_owner(replace(inside, folders=[], others=[]), images)
        loose, masks = rest.images, match_masks(images, owned, problems, required=None)
    fix = "move it into ground_truth/DEFECT"
    problems += [error(inside.path(name), "mask outside a defect folder", fix) for name in loose]
    written, tested = {composed(name): name for name in inside.folders}, set(map(composed, test))
    for name in sorted({*test, *(name for name in inside.folders if composed(name) not in tested)}):
        images = test.get(name, Listing(str(category / "test" / name)))
        if layout.is_normal(name) and not layout.own:
            if (stray := list_folder(folder / written.get(composed(name), name))).images:
                problem = f"{len(stray.images)} mask(s) of normal images, e.g. {stray.images[0]}"
                problems.append(error(stray.folder, problem, "normal images have no mask: remove the folder"))
            continue
        unmasked = replace(images, images=[image for image in images.images if images.path(image) not in masks])
        required = None if layout.is_normal(name) else not layout.own
        own = list_folder(folder / written.get(composed(name), name), problems)
        masks |= match_masks(unmasked, own, problems, required=required)
    return masks


def _truth(category: Path, parts: Collection[str], problems: list[Problem]) -> str:
    """Choose the folder of masks: the first that holds images, "ground_truth" before the others."""
    names = sorted((name for name in parts if name.lower() in MASK_FOLDERS), key=lambda name: name != "ground_truth")
    filled = [name for name in names if _holds_images(category / name)]
    truth = next(iter(filled or names), "ground_truth")
    for name in (name for name in names if name != truth):
        severity = "warning" if name in filled else "note"
        problem, fix = f"folder of masks that is not read: {truth}/ is", "move its masks there, or the other away"
        problems.append(Problem(severity, str(category / name), problem, fix))
    return truth


def _holds_images(folder: Path, depth: int = 2) -> bool:
    """Return whether images lie in a folder, or in folders in it: of a kind of defect, of an image."""
    inside = list_folder(folder, [])
    return bool(inside.images) or depth > 0 and any(_holds_images(folder / name, depth - 1) for name in inside.folders)


def _all_images(folder: Path, kinds: dict[str, Listing], layout: Layout) -> Listing:
    """Return the anomalous images of all kinds as one listing, for masks that are not sorted by kind."""
    names = [
        os.path.join(kind, name)
        for kind, images in kinds.items()
        for name in images.images
        if not layout.is_normal(kind)
    ]
    return Listing(str(folder), images=names)
