"""Your own images in MVTec layout (see `mintad.data.tree`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from mintad.data.dataset import Dataset
from mintad.data.registry import DATASETS
from mintad.data.tree import Layout, absolute, build_records, scan_root


def load_folder(root: str | Path, *, dataset: str = "folder") -> pd.DataFrame:
    """Load the record table of your own data in MVTec layout.

    Args:
        root: folder of categories, or a single category (with train/ and test/ inside). A category with no
            ground_truth/ at all has image labels only; if it has one, every anomalous image needs a mask.
        dataset: the name in the table's `dataset` column.

    Raises:
        DataError: lists everything that departs from the layout; no image is opened.
    """
    folder = absolute(root)
    return build_records(scan_root(folder, Layout(dataset=dataset)), folder)


SCAN = partial(scan_root, layout=Layout(dataset="folder"))
DATASETS.add("folder", Dataset(name="folder", title="folder", load=load_folder, scan=SCAN))
