"""BTAD, the beanTech data set: products 01-03, 1,799 training and 741 test images (Mishra et al., ISIE 2021).

    ROOT/01/train/ok/*   ROOT/01/test/ok/*   ROOT/01/test/ko/*   ROOT/01/ground_truth/ko/*

This is the layout of `mintad.data.tree` with other names. Images and masks are .bmp or .png, and not always the same
for both, so a mask is found by the stem of its image alone.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mintad.data.dataset import Dataset, Licence, Source
from mintad.data.listing import list_folder
from mintad.data.registry import DATASETS
from mintad.data.tree import Layout, Scan, absolute, build_records, scan_root

LAYOUT = Layout(dataset="btad", normal="ok", masks_required=True)
CATEGORIES = ("01", "02", "03")
ARCHIVE_FOLDER = "BTech_Dataset_transformed"


def load_btad(root: str | Path) -> pd.DataFrame:
    """Load the record table of BTAD; the defect of an anomalous image is "ko".

    Args:
        root: folder with 01/, 02/, 03/; the folder around it as the archive has it; or a single product.

    Raises:
        DataError: lists everything that departs from the layout; no image is opened.
    """
    folder = absolute(root)
    return build_records(scan_btad(folder), folder)


def scan_btad(root: Path) -> Scan:
    """Scan BTAD below an absolute path; see `load_btad`."""
    inner = root / ARCHIVE_FOLDER
    return scan_root(inner if inner.is_dir() else root, LAYOUT)


def looks_like_btad(root: Path) -> bool:
    """Whether `root` is the archive's folder, a product of it, or holds products."""
    folders = list_folder(root).folders
    first = root / min(folders, default="")
    return ARCHIVE_FOLDER in folders or any((folder / "train" / "ok").is_dir() for folder in (root, first))


# The owner publishes no hash. The SHA-256 is used by anomalib and two independent public scripts. The size is what the
# server announced to one single project.
SOURCE = Source(
    urls=("https://avires.dimi.uniud.it/papers/btad/btad.zip",),
    filename="btad.zip",
    size=1_229_193_337,
    hashes=("sha256:461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",),
    unpacked=7_000_000_000,
    licence=Licence(
        name="CC BY-SA 4.0 (authors' repository); CC BY-NC-SA 4.0 (as listed by anomalib)",
        url="https://github.com/pankajmishra000/VT-ADL",
        summary="These disagree. In doubt follow the stricter one: give credit, no commercial use, "
        "pass adapted material on under the same licence.",
    ),
    homepage="https://github.com/pankajmishra000/VT-ADL",
    citation="P. Mishra, R. Verk, D. Fornasier, C. Piciarelli, G. L. Foresti. VT-ADL: A Vision "
    "Transformer Network for Image Anomaly Detection and Localization. IEEE ISIE 2021.",
    folder=ARCHIVE_FOLDER,
    expects=CATEGORIES,
)

DATASETS.add(
    "btad",
    Dataset(
        name="btad",
        title="BTAD",
        load=load_btad,
        scan=scan_btad,
        looks_like=looks_like_btad,
        categories=CATEGORIES,
        published=(1799, 741),
        source=SOURCE,
    ),
)
