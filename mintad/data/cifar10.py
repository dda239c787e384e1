"""CIFAR-10 as semantic anomaly detection (§4.1, Table 7): five classes are normal, the other five anomalous.

One table holds one of the four splits, since a split is an experiment of its own: what is normal in one is
anomalous in the next. Its category is "{01234}" and the like; the class encoder is taught the names of the
five normal classes.

Two forms on disk are read: the official batches (`mintad.data.cifar_batches`), which are written once as PNG
files, and image folders ``ROOT/train/CLASS/*`` and ``ROOT/test/CLASS/*``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mintad.data.cifar_batches import CLASSES, MD5, read_batches, write_images
from mintad.data.masks import Listing, alike, listing
from mintad.data.problems import Problem, error, raise_errors
from mintad.data.records import GOOD, make_records
from mintad.data.tree import Row, absolute
from mintad.errors import ConfigError, nearest

SPLITS = ("01234", "56789", "02468", "13579")
"""The normal classes of each split, as indices into CLASSES."""

_ARCHIVE_FOLDER = "cifar-10-batches-py"
IMAGES = "mintad-png"


def load_cifar10(root: str | Path, *, split: str = "01234", images: str | Path | None = None) -> pd.DataFrame:
    """The record table of one split: training images of the five normal classes, all test images.

    Args:
        root: folder of the official batches (or the one around it), or of train/ and test/.
        split: one of `SPLITS`.
        images: where the batches are written as PNG files; None for ``mintad-png`` beside them.

    Raises:
        DataError: the files are not the published ones, or the folders not as they must be.
        ConfigError: unknown split.
    """
    normal = normal_classes(split)
    folder = image_folder(absolute(root), None if images is None else absolute(images))
    found, problems = scan_images(folder)
    raise_errors(problems, folder)
    return make_records(rows(found, normal))


def image_folder(root: Path, images: Path | None = None, md5: Mapping[str, str] = MD5) -> Path:
    """The folder with train/CLASS and test/CLASS; written from the batches where there is none yet.

    Args:
        root: as for `load_cifar10`.
        images: as for `load_cifar10`.
        md5: of the batches' files.

    Raises:
        DataError: the batches are not the published files, or the images cannot be written.
    """
    if images is not None and images.is_dir():
        return images
    batches = batch_folder(root)
    if batches is None:
        return root
    target = images or batches / IMAGES
    if not target.is_dir():
        write_images(read_batches(batches, md5), target)
    return target


def batch_folder(root: Path) -> Path | None:
    """Where the official batches lie, None if there are none."""
    for folder in (root, root / _ARCHIVE_FOLDER):
        if any((folder / name).is_file() for name in MD5):
            return folder
    return None


def scan_images(root: Path) -> tuple[dict[tuple[str, str], Listing], list[Problem]]:
    """Image folders by (split, class), and everything that is wrong."""
    if not root.is_dir():
        cure = f"give data.root as the folder of {_ARCHIVE_FOLDER}, or of train/CLASS and test/CLASS"
        return {}, [error(root, "no such folder", cure)]
    found: dict[tuple[str, str], Listing] = {}
    problems: list[Problem] = []
    inside = listing(root)
    for split in ("train", "test"):
        if split not in inside.folders:
            what = f"missing split folder{alike(inside.folders, split)}"
            cure = f"expected {_ARCHIVE_FOLDER}/ or {split}/CLASS/ with the ten classes"
            problems.append(error(root / split, what, cure))
            continue
        names = listing(root / split).folders
        for name in names:
            if name not in CLASSES:
                cure = "remove it or rename it." + nearest(name, CLASSES)
                problems.append(error(root / split / name, "not a class of CIFAR-10", cure))
        for name in CLASSES:
            images = found[split, name] = listing(root / split / name)
            if not images.images:
                what = "no images" if name in names else f"missing class folder{alike(names, name)}"
                problems.append(error(images.folder, what, "unpack the data set again"))
    return found, problems


def rows(found: Mapping[tuple[str, str], Listing], normal: tuple[str, ...]) -> list[Row]:
    """Rows for `make_records`, given the names of the normal classes."""
    category = "{" + "".join(str(CLASSES.index(name)) for name in normal) + "}"
    return [
        {
            "dataset": "cifar10",
            "category": category,
            "split": split,
            "label": int(name not in normal),
            "defect": GOOD if name in normal else name,
            "image": images.path(file),
            "prompt_class": name if name in normal else "",
        }
        for (split, name), images in found.items()
        if split == "test" or name in normal
        for file in images.images
    ]


def normal_classes(split: str) -> tuple[str, ...]:
    digits = str(split).strip("{}")
    if digits not in SPLITS:
        hint = "; in YAML put it in quotes, else it is read as a number" if isinstance(split, int) else ""
        raise ConfigError(f"cifar10: unknown split '{split}'{hint}." + nearest(digits, SPLITS))
    return tuple(CLASSES[int(digit)] for digit in digits)
