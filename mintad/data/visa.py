"""VisA: 12 categories, 8,659 training and 2,162 test images, one-class protocol (Zou et al., ECCV 2022).

Two forms are read: as published, with the split in ``ROOT/split_csv/1cls.csv`` (columns object, split, label, image,
mask) and the files below ``ROOT/CATEGORY/Data``; and as the owners' script rearranges it, in MVTec layout
(`mintad.data.tree`) in ``ROOT/1cls`` or ``ROOT``. In both the defect is called "bad". Published masks hold small
integers, one for each kind of defect; everything except 0 is anomalous.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from mintad.data.dataset import Dataset, Source
from mintad.data.problems import Problem, error
from mintad.data.records import GOOD
from mintad.data.registry import DATASETS
from mintad.data.tree import Layout, Row, Scan, list_folder, scan_root

CATEGORIES = tuple("candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 pipe_fryum".split())
REARRANGED = ("1cls", "visa_pytorch")  # folders of the rearranged form: of the owners' script, and of anomalib
_COLUMNS = ["object", "split", "label", "image", "mask"]
_RESTORE = "unpack the data set again"


def scan_visa(root: Path) -> Scan:
    """Scan VisA below an absolute path that holds split_csv/ and the categories, or the rearranged folders."""
    table = root / "split_csv" / "1cls.csv"
    if table.is_file():
        return _scan_table(root, table)
    published = [name for name in list_folder(root).folders if (root / name / "Data").is_dir()]
    if published:
        problem = f"missing, though {published[0]} has the published form"
        return [], [error(table, problem, f"{_RESTORE}, or copy split_csv/ from the owners' repository")]
    rearranged = [root / name for name in REARRANGED if (root / name).is_dir()]
    return scan_root(rearranged[0] if rearranged else root, Layout(dataset="visa", masks_required=True))


def looks_like_visa(root: Path) -> bool:
    """Whether `root` holds VisA's table, a rearranged form, or nothing but VisA's categories, as VisA has them."""
    folders = set(list_folder(root).folders)
    as_visa = any((root / name / inside).is_dir() for name in folders for inside in ("Data", "ground_truth"))
    return bool(folders & {"split_csv", *REARRANGED}) or (as_visa and folders <= set(CATEGORIES))


def _scan_table(root: Path, table: Path) -> Scan:
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != _COLUMNS:
            return [], [error(table, f"has the columns {reader.fieldnames}, not {_COLUMNS}", _RESTORE)]
        lines = [(reader.line_num, line) for line in reader]
    files = _image_files(root, (line[column] or "" for _, line in lines for column in ("image", "mask")))
    problems = [
        error(f"{table}, line {number}", fault, _RESTORE) for number, line in lines for fault in _faults(line, files)
    ]
    rows = [] if problems else [_row(root, **line) for _, line in lines]
    return rows, problems or list(_incomplete(table, rows))


def _image_files(root: Path, paths: Iterable[str]) -> set[str]:
    """Return the images in the folders of these relative paths; folders outside of `root` are left out."""
    folders = {PurePosixPath(path).parent for path in paths}
    folders = [folder for folder in folders if not folder.is_absolute() and ".." not in folder.parts]
    return {str(folder / name) for folder in folders for name in list_folder(root / folder).images}


def _faults(line: dict[str, str], files: Collection[str]) -> Iterator[str]:
    """Say what is wrong with one line of the table."""
    if None in (*line, *line.values()):  # as csv fills up what is too long or too short
        yield f"it does not have {len(_COLUMNS)} cells"
        return
    category, split, label, image, mask = (line[column] for column in _COLUMNS)
    if split not in ("train", "test") or label not in ("normal", "anomaly") or not category:
        yield f"cannot read '{category},{split},{label}' (an object, train or test, normal or anomaly)"
    if split == "train" and label == "anomaly":
        yield f"a training image is labelled anomalous: {image}"
    if label == "anomaly" and not mask:
        yield f"anomalous image without a mask: {image}"
    if label == "normal" and mask:
        yield f"mask without an anomalous image: {mask}"
    yield from (f"no such file: {name}" for name in (image, *filter(None, [mask])) if name not in files)


def _row(root: Path, object: str, split: str, label: str, image: str, mask: str) -> Row:
    return {
        "dataset": "visa",
        "category": object,
        "split": split,
        "label": int(label == "anomaly"),
        "defect": "bad" if label == "anomaly" else GOOD,
        "image": str(root / image),
        "masks": (str(root / mask),) if mask else (),
    }


def _incomplete(table: Path, rows: list[Row]) -> Iterator[Problem]:
    present = {(row["category"], row["split"], row["defect"]) for row in rows}
    for category in sorted({row["category"] for row in rows}):
        for split, defect in (("train", GOOD), ("test", GOOD), ("test", "bad")):
            if (category, split, defect) not in present:
                yield error(table, f"category '{category}' has no '{defect}' images in {split}", _RESTORE)
    if not rows:
        yield error(table, "no images listed", _RESTORE)


# We know of no hash published by the owner. The SHA-256 is the one that the public benchmark anomalib checks; several
# independent projects report the same value and size for their copy.
SOURCE = Source(
    urls=("https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar",),
    filename="VisA_20220922.tar",
    size=1_929_840_640,
    hashes=("sha256:2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",),
    unpacked=2_000_000_000,
    images=(8659, 2162),
    licence="CC BY 4.0, https://creativecommons.org/licenses/by/4.0/: "
    "give credit and name changes; commercial use is allowed.",
    homepage="https://github.com/amazon-science/spot-diff",
    citation="Y. Zou, J. Jeong, L. Pemula, D. Zhang, O. Dabeer. SPot-the-Difference Self-Supervised "
    "Pre-training for Anomaly Detection and Segmentation. ECCV 2022.",
    expects=(*CATEGORIES, "split_csv"),
)

VISA = Dataset(
    name="visa", title="VisA", scan=scan_visa, looks_like=looks_like_visa, categories=CATEGORIES, source=SOURCE
)
DATASETS.add("visa", VISA)
