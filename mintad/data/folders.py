"""MVTec AD, and any folder in its layout (see `mintad.data.tree`).

MVTec AD (Bergmann et al., CVPR 2019): 15 categories, 3,629 training and 1,725 test images, a mask for every
anomalous one.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mintad.data.problems import raise_errors
from mintad.data.records import make_records
from mintad.data.tree import Layout, absolute, scan_root

MVTEC = Layout(dataset="mvtec", masks_required=True)
MVTEC_CATEGORIES = tuple(
    "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile toothbrush transistor wood "
    "zipper".split()
)


def load_mvtec(root: str | Path) -> pd.DataFrame:
    """The record table of MVTec AD, of all categories that `root` holds.

    Args:
        root: folder with bottle/, cable/, ...; or a single one of them.

    Raises:
        DataError: lists everything that departs from the layout; no image is opened.
    """
    return load_tree(absolute(root), MVTEC)


def load_folder(root: str | Path, *, dataset: str = "folder") -> pd.DataFrame:
    """The record table of your own data in MVTec layout.

    Args:
        root: folder of categories, or a single category (with train/ and test/ inside). A category with no
            ground_truth/ at all has image labels only; if it has one, every anomalous image needs a mask.
        dataset: the name in the table's `dataset` column.

    Raises:
        DataError: lists everything that departs from the layout; no image is opened.
    """
    return load_tree(absolute(root), Layout(dataset=dataset))


def load_tree(root: Path, layout: Layout) -> pd.DataFrame:
    """Scan `root` and build the table, or raise all problems at once."""
    rows, problems = scan_root(root, layout)
    raise_errors(problems, root)
    return make_records(rows)
