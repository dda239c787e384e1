"""Where the public data sets come from: addresses, sizes, hashes, licences, layout; used by `download.get`.

Where the hashes come from
--------------------------
* ``cifar10``: the MD5 is published by the owner on the data set's page; the SHA-256 is the one that Keras
  checks. Both must match.
* ``mvtec``, ``visa``: we know of no hash published by the owner. The SHA-256 is the one that the public
  benchmark anomalib checks; several independent projects report the same value and size for their copy.
* ``btad``: no hash by the owner either. SHA-256 as used by anomalib and two independent public scripts. The
  size is what the server told one single project, so it serves progress bar and disk check only.

The addresses come from the owners' pages and anomalib's sources. The tests run against a loopback server; the
live addresses have not been tried. MVTec has moved its archive before: the newest address comes first.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.filesize import decimal

from mintad.errors import DataError, nearest


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Terms of a data set, in short; the text at `url` is what counts."""

    name: str
    url: str
    summary: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """One downloadable archive and what it holds."""

    name: str
    """Key in `SOURCES`, and the folder below the data root that the archive is unpacked into."""
    title: str
    """Name for people."""
    urls: tuple[str, ...]
    """Addresses, tried in this order."""
    filename: str
    """Name of the archive on disk."""
    size: int
    """Bytes of the archive."""
    exact_size: bool = True
    """Whether `size` is certain enough to refuse a file of another size; the hash always decides."""
    hashes: tuple[str, ...]
    """``"sha256:<hex>"`` or ``"md5:<hex>"``; all of them must match."""
    unpacked: int
    """Bytes after unpacking, rounded up: for the disk check. Unpacking stops at twice this."""
    licence: Licence
    homepage: str
    citation: str
    folder: str = ""
    """Folder inside the archive that the loader takes as its root; "" where there is no outer folder."""
    expects: tuple[str, ...]
    """Names that must lie in that folder."""

    @property
    def archive_limit(self) -> int:
        """Most bytes accepted from a server for the archive."""
        return self.size if self.exact_size else 4 * self.size

    def notice(self) -> str:
        """What a user must know before downloading: owner's page, licence, citation, size on disk."""
        return (
            f"{self.title} ({decimal(self.size)} to download, up to {decimal(self.unpacked)} unpacked)\n"
            f"  page:     {self.homepage}\n"
            f"  licence:  {self.licence.name}, {self.licence.url}\n"
            f"            {self.licence.summary}\n"
            f"  citation: {self.citation}\n"
            "The data are not part of mintad. Downloading them means that you accept their licence."
        )


def source_of(name: str) -> Source:
    """The entry of `SOURCES`; an unknown name is refused with the nearest valid one."""
    if name not in SOURCES:
        raise DataError(f"No data set '{name}' can be downloaded.{nearest(name, SOURCES)}")
    return SOURCES[name]


_CC_BY_NC_SA = Licence(
    name="CC BY-NC-SA 4.0",
    url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
    summary="Give credit; no commercial use; pass adapted material on under the same licence.",
)

_MVTEC_CATEGORIES = tuple(
    "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile toothbrush transistor "
    "wood zipper".split()
)
_VISA_CATEGORIES = tuple(
    "candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 pipe_fryum".split()
)

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            name="mvtec",
            title="MVTec AD",
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
            licence=_CC_BY_NC_SA,
            homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad",
            citation="P. Bergmann, M. Fauser, D. Sattlegger, C. Steger. MVTec AD: A Comprehensive Real-World "
            "Dataset for Unsupervised Anomaly Detection. CVPR 2019.",
            expects=_MVTEC_CATEGORIES,
        ),
        Source(
            name="visa",
            title="VisA",
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
            expects=(*_VISA_CATEGORIES, "split_csv"),
        ),
        Source(
            name="btad",
            title="BTAD",
            urls=("https://avires.dimi.uniud.it/papers/btad/btad.zip",),
            filename="btad.zip",
            size=1_229_193_337,
            exact_size=False,
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
            folder="BTech_Dataset_transformed",
            expects=("01", "02", "03"),
        ),
        Source(
            name="cifar10",
            title="CIFAR-10",
            urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            filename="cifar-10-python.tar.gz",
            size=170_498_071,
            hashes=(
                "md5:c58f30108f718f92721af3b95e74349a",
                "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
            unpacked=200_000_000,
            licence=Licence(
                name="none stated",
                url="https://www.cs.toronto.edu/~kriz/cifar.html",
                summary="The owner states no licence and asks users to cite the technical report.",
            ),
            homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
            citation="A. Krizhevsky. Learning Multiple Layers of Features from Tiny Images. "
            "Technical report, University of Toronto, 2009.",
            folder="cifar-10-batches-py",
            expects=(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
        ),
    )
}
