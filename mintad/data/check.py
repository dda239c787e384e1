"""All problems of a data set at once: its layout, every image and mask, and pictures that occur twice."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mintad.data import btad, cifar10, elpv, folders, visa
from mintad.data.check_report import Report, count
from mintad.data.cifar_batches import verify_batches
from mintad.data.inspection import inspect
from mintad.data.masks import listing
from mintad.data.problems import Problem
from mintad.data.tree import Layout, Row, Scan, absolute, scan_root
from mintad.errors import DataError, nearest
from mintad.progress import track


@dataclass(frozen=True)
class _Published:
    """What the complete data set holds."""

    title: str
    categories: tuple[str, ...]
    train: int
    test: int


_PUBLISHED = {
    "mvtec": _Published("MVTec AD", folders.MVTEC_CATEGORIES, 3629, 1725),
    "visa": _Published("VisA", visa.CATEGORIES, 8659, 2162),
    "btad": _Published("BTAD", btad.CATEGORIES, 1799, 741),
    "cifar10": _Published("CIFAR-10", tuple(f"{{{split}}}" for split in cifar10.SPLITS), 4 * 25000, 4 * 10000),
}


def check(
    root: str | Path, name: str | None = "auto", *, workers: int | None = None, progress: bool = True
) -> Report:
    """Check a data set without stopping at the first problem.

    Args:
        root: its folder.
        name: a name of `SCANS`, or "auto" to recognise the layout.
        workers: threads that decode images; None for one a core, at most 8.
        progress: show a bar on a terminal.

    Returns:
        Counts and problems; `Report.ok` is False if loading or reading would fail somewhere.

    Raises:
        DataError: unknown name.
    """
    folder = absolute(root)
    if name in (None, "auto"):
        name = recognise(folder)
    if name not in SCANS:
        raise DataError(f"unknown data set '{name}'." + nearest(str(name), {*SCANS, "auto"}))
    rows, problems = SCANS[name](folder)
    problems = [*problems, *_compare_with_published(name, folder, rows)]
    entries = list({row["image"]: row for row in rows}.values())  # CIFAR-10 has its images in four categories
    digests: list[bytes | None] = []
    for found in _inspect_all(entries, workers, progress):
        digests.append(found.digest)
        problems += found.problems
    problems += _repeated_pictures(entries, digests)
    return Report(name, str(folder), count(rows), problems)


def recognise(root: Path) -> str:
    """Which data set a folder looks like; "folder" if nothing speaks for another one."""
    names = set(listing(root).folders)
    first = root / min(names, default="")
    if cifar10.batch_folder(root) or (root / "test" / cifar10.CLASSES[0]).is_dir():
        return "cifar10"
    if (root / "labels.csv").is_file():
        return "elpv"
    if names & {"split_csv", *visa.REARRANGED} or (names and names <= set(visa.CATEGORIES)):
        return "visa"
    if btad.ARCHIVE_FOLDER in names or any((place / "train" / "ok").is_dir() for place in (root, first)):
        return "btad"
    categories = {root.name} if "train" in names else names
    return "mvtec" if categories and categories <= set(folders.MVTEC_CATEGORIES) else "folder"


def _scan_cifar10(root: Path) -> Scan:
    batches = cifar10.batch_folder(root)
    problems: list[Problem] = []
    if batches is not None:
        problems = verify_batches(batches)[1]
        root = batches / cifar10.IMAGES
        if not root.is_dir():
            what = "batches that were not yet written as PNG files, so that there are no images to check"
            return [], [*problems, Problem("note", str(batches), what, "loading the data set writes them")]
    found, more = cifar10.scan_images(root)
    rows = [row for split in cifar10.SPLITS for row in cifar10.rows(found, cifar10.normal_classes(split))]
    return rows, problems + more


SCANS: dict[str, Callable[[Path], Scan]] = {
    "mvtec": lambda root: scan_root(root, folders.MVTEC),
    "visa": visa.scan_visa,
    "btad": btad.scan_btad,
    "cifar10": _scan_cifar10,
    "elpv": elpv.scan_elpv,
    "folder": lambda root: scan_root(root, Layout(dataset="folder")),
    "mini": lambda root: scan_root(root, Layout(dataset="mini", masks_required=True)),
}
"""How each data set is scanned."""


def _compare_with_published(name: str, root: Path, rows: Sequence[Row]) -> Iterator[Problem]:
    if name not in _PUBLISHED or not rows:
        return
    published = _PUBLISHED[name]
    present = {row["category"] for row in rows}
    for category in sorted(present - set(published.categories)):
        yield Problem("warning", str(root / category), f"not a category of {published.title}", "load it as 'folder'")
    missing = [category for category in published.categories if category not in present]
    if missing:
        what = f"{len(missing)} of the {len(published.categories)} categories of {published.title} are not here"
        yield Problem("note", str(root), f"{what}: {', '.join(missing)}")
        return
    own = [row["split"] for row in rows if row["category"] in published.categories]
    train, test = own.count("train"), own.count("test")
    if (train, test) != (published.train, published.test):
        what = f"{train:,} training and {test:,} test images; {published.title} has "
        what += f"{published.train:,} and {published.test:,}"
        yield Problem("warning", str(root), what, "unpack the data set again; results do not compare otherwise")


def _inspect_all(entries: Sequence[Row], workers: int | None, progress: bool) -> Iterator:
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        inspected = pool.map(lambda row: inspect(row["image"], row.get("masks", ())), entries)
        yield from track(inspected, "reading images", len(entries), show=progress)


def _repeated_pictures(entries: Sequence[Row], digests: Iterable[bytes | None]) -> Iterator[Problem]:
    """The same picture in two files: a leak from training to test, two labels, or a mere repetition."""
    groups: dict[bytes, list[Row]] = defaultdict(list)
    for row, digest in zip(entries, digests, strict=True):
        if digest is not None:
            groups[digest].append(row)
    for group in groups.values():
        train = [row for row in group if row["split"] == "train"]
        test = [row for row in group if row["split"] == "test"]
        for row in test if train else ():
            cure = f"remove one of the two; the other is {train[0]['image']}"
            yield Problem("warning", row["image"], "test image that is a training image, too", cure)
        for row in test:
            other = [o for o in test if o["category"] == row["category"] and o["label"] != row["label"]]
            if row["label"] == 1 and other:
                cure = f"remove one of the two; as normal image it is {other[0]['image']}"
                yield Problem("warning", row["image"], "picture that is labelled normal, too", cure)
        for part in (train, [row for row in test if not row["label"]], [row for row in test if row["label"]]):
            for row in part[1:]:
                what = f"picture that occurs twice in {row['split']}"
                yield Problem("note", row["image"], what, f"the other is {part[0]['image']}")
