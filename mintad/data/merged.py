"""Several data sets as one, by default the paper's merged set: 15 + 12 + 3 = 30 categories (§4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mintad.data.dataset import Dataset
from mintad.data.records import merge
from mintad.data.registry import DATASETS, load
from mintad.errors import ConfigError, DataError, nearest

MERGED = ("mvtec", "visa", "btad")


def load_merged(
    root: str | Path | None = None,
    *,
    roots: Mapping[str, str | Path | None] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Load several data sets as one table, by default the paper's 30 categories of MVTec AD, VisA and BTAD.

    Args:
        root: folder with mvtec/, visa/ and btad/ inside; used when `roots` is not given.
        roots: data set -> its folder. Any data set may be named, {"folder": ..., "elpv": None} for example.
        options: data set -> options of its load function.

    Raises:
        DataError, ConfigError: these arguments do not fit together, or a data set cannot be loaded or merged.
    """
    if roots is None and root is None:
        problem = "data set 'merged' needs the option 'roots', for example {'mvtec': ..., 'visa': ..., 'btad': ...}"
        raise DataError(f"{problem}, or data.root with those three folders inside")
    if roots is not None and root is not None:
        raise ConfigError("data set 'merged': give data.root or the option 'roots', not both")
    roots = {name: Path(root) / name for name in MERGED} if roots is None else roots
    options = dict(options or {})
    mergeable = [name for name in DATASETS if name != "merged"]
    for name in (*roots, *options):
        if name not in mergeable:
            raise DataError(f"merged: unknown data set '{name}'." + nearest(str(name), mergeable))
        if name not in roots:
            raise ConfigError(f"merged: options for '{name}', which has no entry in roots." + nearest(name, roots))
    return merge(*(load(name, roots[name], **options.get(name, {})) for name in roots))


DATASETS.add("merged", Dataset(name="merged", title="merged", load=load_merged))
