"""BTAD, the beanTech data set: products 01-03, 1,799 training and 741 test images (Mishra et al., ISIE 2021).

    ROOT/01/train/ok/*   ROOT/01/test/ok/*   ROOT/01/test/ko/*   ROOT/01/ground_truth/ko/*

This is the layout of `mintad.data.tree` with other names. ROOT may also be the folder around it, as the archive has it,
or a single product. Images and masks are .bmp or .png, not always the same for both, so masks are found by stem alone.
"""

from __future__ import annotations

from pathlib import Path

from mintad.data.dataset import Dataset, Source
from mintad.data.registry import DATASETS
from mintad.data.tree import Layout, Scan, list_folder, scan_root

CATEGORIES = ("01", "02", "03")
ARCHIVE_FOLDER = "BTech_Dataset_transformed"


def scan_btad(root: Path) -> Scan:
    """Scan BTAD below an absolute path; the defect of an anomalous image is "ko"."""
    inner = root / ARCHIVE_FOLDER
    return scan_root(inner if inner.is_dir() else root, Layout(dataset="btad", normal=("ok",), masks_required=True))


def looks_like_btad(root: Path) -> bool:
    """Whether `root` is the archive's folder, a product of it, or holds nothing but its products."""
    folders = list_folder(root).folders
    products = [root] if "train" in folders else [root / name for name in folders]
    as_btad = any((product / "train" / "ok").is_dir() and (product / "ground_truth").is_dir() for product in products)
    return ARCHIVE_FOLDER in folders or (as_btad and {product.name for product in products} <= set(CATEGORIES))


# The owner publishes no hash. The SHA-256 is used by anomalib and two independent public scripts. The size is what the
# server announced to one single project.
SOURCE = Source(
    urls=("https://avires.dimi.uniud.it/papers/btad/btad.zip",),
    filename="btad.zip",
    size=1_229_193_337,
    hashes=("sha256:461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",),
    unpacked=7_000_000_000,
    images=(1799, 741),
    licence="CC BY-SA 4.0 (authors' repository, https://github.com/pankajmishra000/VT-ADL) or CC BY-NC-SA 4.0 (as "
    "listed by anomalib): these disagree. In doubt follow the stricter one: give credit, no commercial use, "
    "pass adapted material on under the same licence.",
    homepage="https://github.com/pankajmishra000/VT-ADL",
    citation="P. Mishra, R. Verk, D. Fornasier, C. Piciarelli, G. L. Foresti. VT-ADL: A Vision "
    "Transformer Network for Image Anomaly Detection and Localization. IEEE ISIE 2021.",
    folder=ARCHIVE_FOLDER,
    expects=CATEGORIES,
)

BTAD = Dataset(
    name="btad", title="BTAD", scan=scan_btad, looks_like=looks_like_btad, categories=CATEGORIES, source=SOURCE
)
DATASETS.add("btad", BTAD)
