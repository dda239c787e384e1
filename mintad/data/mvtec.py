"""MVTec AD: 15 categories, 3,629 training and 1,725 test images, a mask for every anomalous one.

P. Bergmann et al., CVPR 2019. The root holds bottle/, cable/, ... in the layout of `mintad.data.tree`, or is one of
them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mintad.data.dataset import CC_BY_NC_SA, Dataset, Source
from mintad.data.registry import DATASETS
from mintad.data.tree import Layout, list_folder, scan_root

CATEGORIES = tuple(
    "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile toothbrush transistor wood "
    "zipper".split()
)
scan_mvtec = partial(scan_root, layout=Layout(dataset="mvtec", masks_required=True))


def looks_like_mvtec(root: Path) -> bool:
    """Whether every category below `root`, or `root` itself, has the name of one of MVTec AD's, and one has masks."""
    folders = set(list_folder(root).folders)
    if "train" in folders:
        return root.name in CATEGORIES and "ground_truth" in folders
    masked = any((root / name / "ground_truth").is_dir() for name in folders)
    return masked and folders <= set(CATEGORIES)


# We know of no hash published by the owner. The SHA-256 is the one that the public benchmark anomalib checks; several
# independent projects report the same value and size for their copy. The owner has moved the archive before: the
# newest address comes first.
SOURCE = Source(
    urls=(
        "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download/"
        "420938113-1629960298/mvtec_anomaly_detection.tar.xz",
        "https://www.mydrive.ch/shares/38536/3830184030e49fe74747669442f0f283/download/"
        "420938113-1629960298/mvtec_anomaly_detection.tar.xz",
        "https://www.mydrive.ch/shares/38536/3830184030e49fe74747669442f0f282/download/"
        "420938113-1629952094/mvtec_anomaly_detection.tar.xz",
    ),
    filename="mvtec_anomaly_detection.tar.xz",
    size=5_264_982_680,
    hashes=("sha256:cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",),
    unpacked=6_000_000_000,
    images=(3629, 1725),
    licence=CC_BY_NC_SA,
    homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad",
    citation="P. Bergmann, M. Fauser, D. Sattlegger, C. Steger. MVTec AD: A Comprehensive Real-World "
    "Dataset for Unsupervised Anomaly Detection. CVPR 2019.",
    expects=CATEGORIES,
)

MVTEC = Dataset(
    name="mvtec", title="MVTec AD", scan=scan_mvtec, looks_like=looks_like_mvtec, categories=CATEGORIES, source=SOURCE
)
DATASETS.add("mvtec", MVTEC)
