"""VisA: 12 categories, 8,659 training and 2,162 test images, one-class protocol (Zou et al., ECCV 2022).

Two forms on disk are read:

* as published, with the split in a table ``ROOT/split_csv/1cls.csv`` (columns object, split, label, image,
  mask) and the files below ``ROOT/CATEGORY/Data``;
* as the owners' script rearranges it: MVTec layout (`mintad.data.tree`) in ``ROOT/1cls`` or ``ROOT``.

In both the defect is called "bad". The masks of the published form hold small integers, one for each kind
of defect; everything except 0 is anomalous.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

import pandas as pd

from mintad.data.dataset import Dataset, Licence, Source
from mintad.data.listing import list_folder
from mintad.data.problems import Problem, error
from mintad.data.records import GOOD
from mintad.data.registry import DATASETS
from mintad.data.tree import Layout, Row, Scan, absolute, build_records, scan_root

LAYOUT = Layout(dataset="visa", masks_required=True)
CATEGORIES = tuple("candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 pipe_fryum".split())
DEFECT = "bad"
REARRANGED = ("1cls", "visa_pytorch")
"""Folders that hold the rearranged form: of the owners' script, and of anomalib."""

_HEADING = ("object", "split", "label", "image", "mask")
_RESTORE = "unpack the data set again"


def load_visa(root: str | Path) -> pd.DataFrame:
    """Load the record table of VisA.

    Args:
        root: folder that holds split_csv/ and the categories, or the rearranged folders.

    Raises:
        DataError: lists everything that departs from the layout; no image is opened.
    """
    folder = absolute(root)
    return build_records(scan_visa(folder), folder)


def scan_visa(root: Path) -> Scan:
    """Scan VisA below an absolute path; see `load_visa`."""
    table = root / "split_csv" / "1cls.csv"
    if table.is_file():
        return _scan_table(root, table)
    published = [name for name in list_folder(root).folders if (root / name / "Data").is_dir()]
    if published:
        problem = f"missing, though {published[0]} has the published form"
        return [], [error(table, problem, f"{_RESTORE}, or copy split_csv/ from the owners' repository")]
    rearranged = [root / name for name in REARRANGED if (root / name).is_dir()]
    return scan_root(rearranged[0] if rearranged else root, LAYOUT)


def looks_like_visa(root: Path) -> bool:
    """Whether `root` holds VisA's table, a rearranged form, or nothing but VisA's categories."""
    folders = set(list_folder(root).folders)
    return bool(folders & {"split_csv", *REARRANGED}) or (bool(folders) and folders <= set(CATEGORIES))


def _scan_table(root: Path, table: Path) -> Scan:
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        heading = tuple(next(reader, ()))
        if heading != _HEADING:
            problem = f"the heading is '{','.join(heading)[:80]}' where '{','.join(_HEADING)}' is expected"
            return [], [error(table, problem, _RESTORE)]
        lines = [(reader.line_num, cells) for cells in reader if any(cells)]
    files = _Files(root)
    rows: list[Row] = []
    problems: list[Problem] = []
    for number, cells in lines:
        faults = list(_faults(cells, files))
        problems += [error(f"{table}, line {number}", fault, _RESTORE) for fault in faults]
        if not faults:
            rows.append(_row(root, *cells))
    problems += _incomplete(table, rows) if not problems else []
    return rows, problems


def _row(root: Path, category: str, split: str, label: str, image: str, mask: str) -> Row:
    normal = label == "normal"
    return {
        "dataset": "visa",
        "category": category,
        "split": split,
        "label": int(not normal),
        "defect": GOOD if normal else DEFECT,
        "image": str(root / image),
        "masks": (str(root / mask),) if mask else (),
    }


def _faults(cells: list[str], files: _Files) -> Iterator[str]:
    """Say what is wrong with one line of the table."""
    if len(cells) != len(_HEADING):
        yield f"{len(cells)} cells instead of {len(_HEADING)}"
        return
    category, split, label, image, mask = cells
    if split not in ("train", "test") or label not in ("normal", "anomaly") or not category:
        yield f"cannot read '{category},{split},{label}' (an object, train or test, normal or anomaly)"
    if split == "train" and label == "anomaly":
        yield f"a training image is labelled anomalous: {image}"
    if label == "anomaly" and not mask:
        yield f"anomalous image without a mask: {image}"
    if label == "normal" and mask:
        yield f"mask without an anomalous image: {mask}"
    yield from (f"no such file: {name}" for name in (image, *filter(None, [mask])) if name not in files)


def _incomplete(table: Path, rows: list[Row]) -> Iterator[Problem]:
    counts = Counter((row["category"], row["split"], row["label"]) for row in rows)
    for category in sorted({row["category"] for row in rows}):
        for split, label, words in (
            ("train", 0, "normal training"),
            ("test", 0, "normal test"),
            ("test", 1, "anomalous test"),
        ):
            if not counts[category, split, label]:
                yield error(table, f"category '{category}' has no {words} images", _RESTORE)
    if not rows:
        yield error(table, "no images listed", _RESTORE)


class _Files:
    """The files below a root; every folder is listed once."""

    def __init__(self, root: Path) -> None:
        self._names = lru_cache(maxsize=None)(lambda folder: frozenset(list_folder(root / folder).images))

    def __contains__(self, path: str) -> bool:
        pure = PurePosixPath(path)
        inside = not pure.is_absolute() and ".." not in pure.parts
        return inside and pure.name in self._names(str(pure.parent))


# We know of no hash published by the owner. The SHA-256 is the one that the public benchmark anomalib checks; several
# independent projects report the same value and size for their copy.
SOURCE = Source(
    urls=("https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar",),
    filename="VisA_20220922.tar",
    size=1_929_840_640,
    hashes=("sha256:2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",),
    unpacked=2_000_000_000,
    licence=Licence(
        name="CC BY 4.0",
        url="https://creativecommons.org/licenses/by/4.0/",
        summary="Give credit and name changes; commercial use is allowed.",
    ),
    homepage="https://github.com/amazon-science/spot-diff",
    citation="Y. Zou, J. Jeong, L. Pemula, D. Zhang, O. Dabeer. SPot-the-Difference Self-Supervised "
    "Pre-training for Anomaly Detection and Segmentation. ECCV 2022.",
    expects=(*CATEGORIES, "split_csv"),
)

DATASETS.add(
    "visa",
    Dataset(
        name="visa",
        title="VisA",
        load=load_visa,
        scan=scan_visa,
        looks_like=looks_like_visa,
        categories=CATEGORIES,
        published=(8659, 2162),
        source=SOURCE,
    ),
)
