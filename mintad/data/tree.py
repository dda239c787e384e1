"""Scanning a data set in MVTec layout: the folders say everything, no image is opened.

    ROOT/CATEGORY/train/good/*            normal images
    ROOT/CATEGORY/test/good/*             normal images
    ROOT/CATEGORY/test/DEFECT/*           anomalous images; the folder names the defect
    ROOT/CATEGORY/ground_truth/DEFECT/*   their masks: STEM.png or STEM_mask.png, several as
                                          STEM_mask*.png or in a folder STEM/; any image format

Folders whose names start with '.' or '_' are skipped, as is validation/ in a category. Everything else that
does not fit is a `Problem`, since a folder passed over in silence is lost data.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mintad.data.masks import Listing, alike, listing, match_masks
from mintad.data.problems import Problem, error
from mintad.data.records import GOOD

Row = dict[str, Any]
Scan = tuple[list[Row], list[Problem]]
"""Rows for `make_records`, and everything that is wrong."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What differs between data sets in this layout."""

    dataset: str
    normal: str = GOOD
    """Name of the folders of normal images; BTAD says 'ok'."""
    masks_required: bool = False
    """Whether a category without ground_truth/ is an error; otherwise it has image labels only."""


def absolute(root: str | Path) -> Path:
    """Absolute path of a root, '~' expanded and '..' resolved, links kept."""
    return Path(os.path.abspath(os.path.expanduser(root)))


def scan_root(root: Path, layout: Layout) -> Scan:
    """Scan a folder of categories, or a single category (train/ or test/ inside).

    Args:
        root: absolute path.
        layout: of the data set.
    """
    if not root.is_dir():
        return [], [error(root, "no such folder", "give data.root as the folder that holds the categories")]
    problems: list[Problem] = []
    names = listing(root, problems).folders
    if {"train", "test"} & set(names):
        return scan_category(root, layout)
    if not names and not problems:
        cure = f"expected folders CATEGORY/train/{layout.normal} and CATEGORY/test"
        return [], [error(root, "no categories", cure)]
    rows: list[Row] = []
    for name in names:
        more_rows, more_problems = scan_category(root / name, layout)
        rows += more_rows
        problems += more_problems
    return rows, problems


def scan_category(folder: Path, layout: Layout) -> Scan:
    """Scan one category; its name is the folder's."""
    problems: list[Problem] = []
    parts = listing(folder, problems).folders
    if not {"train", "test"} & set(parts) and not problems:
        what = f"no category: neither train/ nor test/ inside{alike(parts, 'train')}"
        cure = f"add train/{layout.normal} and test/; if it is none, move it away or start its name with '_'"
        return [], [error(folder, what, cure)]
    train = _split(folder, "train", parts, layout, problems)
    test = _split(folder, "test", parts, layout, problems)
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
    """Image folders of train/ or test/ by name; what is missing or too much goes to `problems`."""
    folder, normal = category / split, layout.normal
    if split not in parts:
        cure = f"put normal images into {split}/{normal}"
        problems.append(error(folder, f"missing split folder{alike(list(parts), split)}", cure))
        return {}
    inside = listing(folder, problems)
    found = {name: listing(folder / name, problems) for name in inside.folders}
    defects = [name for name in found if name != normal]
    if inside.images:
        what = f"{len(inside.images)} image(s) directly inside, e.g. {inside.images[0]}"
        cure = f"move them into {split}/{normal}" + (" or test/DEFECT" if split == "test" else "")
        problems.append(error(folder, what, cure))
    for name, images in found.items():
        problems += _image_folder(images, report_empty=name != normal)  # an empty normal folder follows below
    if normal not in found or not found[normal].images:
        what = "no normal images" + ("" if normal in found else f" (no such folder){alike(inside.folders, normal)}")
        use = "to train on" if split == "train" else "to compare the anomalous ones with"
        problems.append(error(folder / normal, what, f"put normal images {use} there"))
    if split == "train":
        cure = f"training images are all normal: move them to test/ or into train/{normal}"
        problems += [error(folder / name, "unexpected folder in train/", cure) for name in defects]
    elif not any(found[name].images for name in defects):
        cure = "put them into test/DEFECT, one folder for each kind of defect"
        problems.append(error(folder, "no anomalous images", cure))
    return found


def _image_folder(images: Listing, *, report_empty: bool) -> Iterator[Problem]:
    for name in images.folders:
        cure = "move its images up, or the folder away"
        yield error(images.path(name), "folder among images, which is not read", cure)
    for name in images.others:
        cure = "it is ignored; convert it if it is an image"
        yield Problem("warning", images.path(name), "no image by its ending", cure)
    if report_empty and not images.images:
        yield Problem("warning", images.folder, "empty folder", "remove it or add its images")


def _masks(
    category: Path, parts: Collection[str], test: dict[str, Listing], layout: Layout, problems: list[Problem]
) -> dict[str, tuple[str, ...]]:
    """Masks by image path."""
    folder = category / "ground_truth"
    if "ground_truth" not in parts:
        if layout.masks_required:
            what = f"no masks: the folder is missing{alike(list(parts), 'ground_truth')}"
            problems.append(error(folder, what, "unpack the data set again, or load it as 'folder'"))
        return {}
    inside = listing(folder, problems)
    for name in inside.images:
        cure = "move it into ground_truth/DEFECT"
        problems.append(error(inside.path(name), "mask outside a defect folder", cure))
    masks: dict[str, tuple[str, ...]] = {}
    for name in sorted({*inside.folders, *test} - {layout.normal}):
        images = test.get(name, Listing(str(category / "test" / name)))
        masks |= match_masks(images, listing(folder / name, problems), problems)
    stray = listing(folder / layout.normal)
    if stray.images:
        what = f"{len(stray.images)} mask(s) of normal images, e.g. {stray.images[0]}"
        problems.append(error(stray.folder, what, "normal images have no mask: remove the folder"))
    return masks
