"""The description of a data set: one `Dataset` in the data set's own module says everything about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.filesize import decimal

from mintad.data.tree import Scan, absolute, build_records

CC_BY_NC_SA = (
    "CC BY-NC-SA 4.0, https://creativecommons.org/licenses/by-nc-sa/4.0/: "
    "give credit; no commercial use; pass adapted material on under the same licence."
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The published archive of a data set: where it is, how to recognise it and what it holds."""

    urls: tuple[str, ...]
    """Addresses, tried in this order."""
    filename: str
    size: int
    """Bytes of the archive, for the check of the disk; the hashes decide whether it is the right file."""
    hashes: tuple[str, ...]
    """``"sha256:<hex>"`` or ``"md5:<hex>"``; all of them must match."""
    unpacked: int
    """Bytes after unpacking, rounded up, for the check of the disk."""
    images: tuple[int, int] | None = None
    """Training and test images of the complete data set."""
    licence: str
    """Name, address and summary; the text at the address is what counts."""
    homepage: str
    citation: str
    folder: str = ""
    """Folder inside the archive that the loader takes as its root; "" where there is no outer folder."""
    expects: tuple[str, ...]
    """Names that must lie in that folder."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set: its names, how to load, scan and recognise it, and where it is published."""

    name: str
    """Name in configurations and on the command line, and of its folder below the data root."""
    title: str  # in texts and tables
    load: Callable[..., pd.DataFrame] | None = None
    """``load(root, **options)`` returns the record table. The options are keyword-only arguments; where `root` has no
    default, the user must give one. None for the records of all that `scan` finds."""
    scan: Callable[..., Scan] | None = None
    """``scan(root, **options)`` returns the rows and all problems below an absolute path, opening no image; None where
    nothing is to check."""
    looks_like: Callable[[Path], bool] = lambda root: False
    """Whether a folder looks like this data set."""
    categories: tuple[str, ...] = ()
    """Categories of the published data set; () where they are up to the user."""
    source: Source | None = None
    """The archive that `mintad data get` fetches."""

    def __post_init__(self) -> None:
        if self.load is None:
            object.__setattr__(self, "load", self._load_scan)

    def _load_scan(self, root: str | Path) -> pd.DataFrame:
        return build_records(self.scan(absolute(root)), absolute(root))

    def notice(self) -> str:
        """Return what a user must know before downloading (`source` is not None): page, licence, citation, size."""
        source = self.source
        return (
            f"{self.title} ({decimal(source.size)} to download, up to {decimal(source.unpacked)} unpacked)\n"
            f"  page:     {source.homepage}\n  licence:  {source.licence}\n  citation: {source.citation}\n"
            "The data are not part of mintad. Downloading them means that you accept their licence."
        )
