"""BTAD, the beanTech data set: products 01-03, 1,799 training and 741 test images (Mishra et al., ISIE 2021).

    ROOT/01/train/ok/*   ROOT/01/test/ok/*   ROOT/01/test/ko/*   ROOT/01/ground_truth/ko/*

The MVTec layout with other words. Images and masks are .bmp or .png, not always the same for both, so that
a mask is found by the stem of its image alone.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mintad.data.problems import raise_errors
from mintad.data.records import make_records
from mintad.data.tree import Layout, Scan, absolute, scan_root

BTAD = Layout(dataset="btad", normal="ok", masks_required=True)
CATEGORIES = ("01", "02", "03")
ARCHIVE_FOLDER = "BTech_Dataset_transformed"


def load_btad(root: str | Path) -> pd.DataFrame:
    """The record table of BTAD; the defect of an anomalous image is "ko".

    Args:
        root: folder with 01/, 02/, 03/; the folder around it as the archive has it; or a single product.

    Raises:
        DataError: lists everything that departs from the layout; no image is opened.
    """
    folder = absolute(root)
    rows, problems = scan_btad(folder)
    raise_errors(problems, folder)
    return make_records(rows)


def scan_btad(root: Path) -> Scan:
    """Rows and problems; see `load_btad`."""
    inner = root / ARCHIVE_FOLDER
    return scan_root(inner if inner.is_dir() else root, BTAD)
