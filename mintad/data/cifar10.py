"""CIFAR-10 as semantic anomaly detection (§4.1, Table 7): five classes are normal, the other five anomalous.

One table holds one of the four splits, because what is normal in one is anomalous in the next. Its category is
"{01234}" and the like; the class encoder learns the names of the five normal classes.

Two forms on disk are read: the official batches (`mintad.data.cifar_batches`), which are written once as PNG files, and
image folders ``ROOT/train/CLASS/*`` and ``ROOT/test/CLASS/*``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mintad.data.cifar_batches import CLASSES, MD5, read_batches, verify_batches, write_images
from mintad.data.dataset import Dataset, Source
from mintad.data.problems import Problem, error
from mintad.data.records import GOOD
from mintad.data.registry import DATASETS
from mintad.data.tree import Listing, Row, Scan, absolute, build_records, hint_at_case, list_folder
from mintad.errors import ConfigError, nearest

SPLITS = ("01234", "56789", "02468", "13579")
"""The normal classes of each split, as indices into CLASSES."""

ARCHIVE_FOLDER = "cifar-10-batches-py"
IMAGES = "mintad-png"


def load_cifar10(
    root: str | Path, *, split: str = "01234", images: str | Path | None = None, per_class: int | None = None
) -> pd.DataFrame:
    """Load the record table of one split: training images of the five normal classes, and test images of all.

    Args:
        root: folder of the official batches (or the one around it), or of train/ and test/.
        split: one of `SPLITS`.
        images: where the batches are written as PNG files; None for ``mintad-png`` beside them.
        per_class: how many images of a class to take, of those for training and of those for testing: the first by
            name, which are no published split; None for all.

    Raises:
        DataError: the files are not the published ones, or the folders not as they must be.
        ConfigError: unknown split, or no number of images.
    """
    normal = normal_classes(split)
    if per_class is not None and (type(per_class) is not int or per_class < 1):
        raise ConfigError(f"data.options.per_class must be a whole number >= 1, not {per_class!r}")
    folder = image_folder(absolute(root), None if images is None else absolute(images))
    images_of, problems = scan_images(folder)
    return build_records((_build_rows(images_of, normal, per_class), problems), folder)


def image_folder(root: Path, images: Path | None = None, md5: Mapping[str, str] = MD5) -> Path:
    """Find the folder with train/CLASS and test/CLASS; write it from the batches where there is none yet.

    Raises:
        DataError: the batches do not have these `md5`, or the images cannot be written.
    """
    batches = batch_folder(root)
    target = images or (batches / IMAGES if batches else root)
    if not target.is_dir() and batches:
        write_images(read_batches(batches, md5), target)
    return target if target.is_dir() else root


def batch_folder(root: Path) -> Path | None:
    """Find the folder of the official batches; None if there are none."""
    folders = (root, root / ARCHIVE_FOLDER)
    return next((folder for folder in folders if any((folder / name).is_file() for name in MD5)), None)


def scan_images(root: Path) -> tuple[dict[tuple[str, str], Listing], list[Problem]]:
    """List the image folders by (split, class), and everything that is wrong."""
    if not root.is_dir():
        fix = f"give data.root as the folder of {ARCHIVE_FOLDER}, or of train/CLASS and test/CLASS"
        return {}, [error(root, "no such folder", fix)]
    images_of: dict[tuple[str, str], Listing] = {}
    problems: list[Problem] = []
    splits = list_folder(root).folders
    for split in ("train", "test"):
        if split not in splits:
            fix = f"expected {ARCHIVE_FOLDER}/ or {split}/CLASS/ with the ten classes"
            problems.append(error(root / split, f"missing split folder{hint_at_case(splits, split)}", fix))
            continue
        names = list_folder(root / split).folders
        for name in sorted(set(names) - set(CLASSES)):
            fix = "remove it or rename it." + nearest(name, CLASSES)
            problems.append(error(root / split / name, "not a class of CIFAR-10", fix))
        for name in CLASSES:
            images = images_of[split, name] = list_folder(root / split / name)
            if not images.images:
                problem = "no images" if name in names else f"missing class folder{hint_at_case(names, name)}"
                problems.append(error(images.folder, problem, "unpack the data set again"))
    return images_of, problems


def _build_rows(
    images_of: Mapping[tuple[str, str], Listing], normal: tuple[str, ...], per_class: int | None = None
) -> list[Row]:
    """Build the rows for `make_records`, given the names of the normal classes."""
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
        for (split, name), images in images_of.items()
        if split == "test" or name in normal
        for file in sorted(images.images)[:per_class]
    ]


def normal_classes(split: str) -> tuple[str, ...]:
    """Return the names of a split's five normal classes; an unknown split is a ConfigError."""
    digits = str(split).strip("{}")
    if digits not in SPLITS:
        hint = "; in YAML put it in quotes, else it is read as a number" if isinstance(split, int) else ""
        raise ConfigError(f"cifar10: unknown split '{split}'{hint}." + nearest(digits, SPLITS))
    return tuple(CLASSES[int(digit)] for digit in digits)


def scan_cifar10(root: Path) -> Scan:
    """Scan CIFAR-10 below an absolute path, with the rows of all four splits; batches are verified but not written."""
    batches, problems = batch_folder(root), []
    if batches is not None:
        problems, root = verify_batches(batches)[1], batches / IMAGES
        if not root.is_dir():
            problem = "batches not yet written as PNG files, so that there are no images to check"
            return [], [*problems, Problem("note", str(batches), problem, "loading writes them")]
    images_of, image_problems = scan_images(root)
    rows = [row for split in SPLITS for row in _build_rows(images_of, normal_classes(split))]
    return rows, problems + image_problems


def looks_like_cifar10(root: Path) -> bool:
    """Whether `root` holds the official batches or folders of CIFAR-10's classes."""
    return batch_folder(root) is not None or (root / "test" / CLASSES[0]).is_dir()


# The owner publishes the MD5 on the data set's page; the SHA-256 is the one that Keras checks. Both must match.
SOURCE = Source(
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    filename="cifar-10-python.tar.gz",
    size=170_498_071,
    hashes=(
        "md5:c58f30108f718f92721af3b95e74349a",
        "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    unpacked=200_000_000,
    images=(4 * 25000, 4 * 10000),  # of the scan, which has every split
    licence="none stated, https://www.cs.toronto.edu/~kriz/cifar.html: the owner asks users to cite the report.",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    citation="A. Krizhevsky. Learning Multiple Layers of Features from Tiny Images. "
    "Technical report, University of Toronto, 2009.",
    folder=ARCHIVE_FOLDER,
    expects=(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
)

CIFAR10 = Dataset(
    name="cifar10",
    title="CIFAR-10",
    load=load_cifar10,
    scan=scan_cifar10,
    looks_like=looks_like_cifar10,
    categories=tuple(f"{{{split}}}" for split in SPLITS),
    source=SOURCE,
)
DATASETS.add("cifar10", CIFAR10)
