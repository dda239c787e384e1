"""The record table: one row per image, the same columns for every data set.

Everything after loading reads only this table, so data sets are merged by concatenation. The columns are

    dataset       str               "mvtec"
    category      str               "screw"; metrics are computed for each (dataset, category)
    split         "train" | "test"  training rows are normal, all of them
    label         int               0 normal, 1 anomalous: as the data set says, never derived from a mask
    defect        str               type of defect, "good" for normal images
    image         str               absolute path
    masks         tuple[str, ...]   absolute paths of the masks, whose union is the ground truth; () for none
    prompt_class  str               what the class encoder learns: "dataset/category", but on CIFAR-10 the
                                    image's own class, and "" for test images of classes never trained on
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mintad.errors import DataError, nearest

COLUMNS = ("dataset", "category", "split", "label", "defect", "image", "masks", "prompt_class")
REMARKS = "remarks"  # key of a table's `attrs`: lines about what is unusual in the data, or was decided
GOOD = "good"  # the `defect` of a normal image
_LISTED = 20


def make_records(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Build the record table from one mapping per row.

    The keys are those of `COLUMNS`; `masks` may be left out for (), `prompt_class` for "dataset/category". The table is
    sorted by data set, category, split (train first), label, defect and image.

    Raises:
        DataError: no rows, unknown or missing keys, or `validate` finds a fault.
    """
    filled = [{"masks": (), "prompt_class": None, **row} for row in rows]
    if not filled:
        raise DataError("no images: a record table needs at least one row")
    for row in filled:
        for key in row.keys() - set(COLUMNS):
            raise DataError(f"unknown column '{key}' in a record." + nearest(str(key), COLUMNS))
        if missing := [name for name in COLUMNS if name not in row]:
            raise DataError(f"a record lacks {', '.join(missing)}: {row.get('image', row)}")
        if row["prompt_class"] is None:
            row["prompt_class"] = f"{row['dataset']}/{row['category']}"  # a text even if the two are none
    filled.sort(key=_order)
    records = pd.DataFrame(filled, columns=list(COLUMNS))
    validate(records)
    return records


def validate(records: pd.DataFrame) -> None:
    """Check that a table is as described above.

    Raises:
        DataError: lists every kind of fault, with the images of the rows that have it.
    """
    if tuple(records.columns) != COLUMNS:
        columns = ", ".join(map(str, records.columns))
        raise DataError(f"a record table has the columns {', '.join(COLUMNS)}; got {columns}")
    faults: list[str] = []
    if not (isinstance(records.index, pd.RangeIndex) and records.index.equals(pd.RangeIndex(len(records)))):
        faults.append("the index is not 0, 1, 2, ...; call reset_index(drop=True)")
    rows = list(records.itertuples(index=False))
    images = {fault: [row.image for row in rows if is_faulty(row)] for fault, is_faulty in _ROW_RULES.items()}
    images["the image is listed twice"] = list(records["image"][records["image"].duplicated()].unique())
    for fault, faulty in images.items():
        if faulty:
            more = f" and {len(faulty) - _LISTED} more" if len(faulty) > _LISTED else ""
            faults.append(f"{fault}: {', '.join(map(str, faulty[:_LISTED]))}{more}")
    if faults:
        raise DataError("the record table is not valid:\n" + "\n".join(f"  - {fault}" for fault in faults))


def merge(*tables: pd.DataFrame) -> pd.DataFrame:
    """Concatenate record tables in the order given; a (dataset, category) in two of them is a DataError."""
    if not tables:
        raise DataError("nothing to merge: give at least one record table")
    owner: dict[str, int] = {}
    for number, table in enumerate(tables, start=1):
        for key in category_keys(table).unique():
            if owner.setdefault(key, number) != number:
                fix = "leave one out, or give its data set another name (option 'dataset' of the folder loader)"
                raise DataError(f"category '{key}' is in tables {owner[key]} and {number} of the merge", fix=fix)
    merged = pd.concat(tables, ignore_index=True)
    validate(merged)
    return merged


def category_keys(records: Any) -> Any:
    """Return "dataset/category" of every row of a table, or of a single row."""
    return records["dataset"] + "/" + records["category"]


def categories(records: pd.DataFrame) -> list[str]:
    """List all "dataset/category" names, sorted."""
    return sorted(category_keys(records).unique())


def tested_rows(records: pd.DataFrame) -> np.ndarray:
    """Return the row numbers (n,) of the test split, in the table's order: these are the rows that are scored."""
    return np.flatnonzero((records["split"] == "test").to_numpy())


def select(records: pd.DataFrame, categories: Iterable[str]) -> pd.DataFrame:
    """Select the rows of the categories "dataset/category", or "category" for all data sets that have it.

    Raises:
        DataError: no name, or a name that the table does not have (the nearest one is suggested).
    """
    names = [categories] if isinstance(categories, str) else list(categories)
    if not names:
        raise DataError("no category selected; name at least one, or leave the selection out for all")
    keys = category_keys(records)
    allowed = {*records["category"], *keys}
    unknown = [name for name in names if name not in allowed]
    if unknown:
        shown = allowed if any("/" in name for name in unknown) else set(records["category"])
        raise DataError("\n".join(f"unknown category '{name}'." + nearest(name, shown) for name in unknown))
    return records[records["category"].isin(names) | keys.isin(names)].reset_index(drop=True)


_ROW_RULES: dict[str, Callable[[Any], bool]] = {
    "a text column holds something else, or nothing": lambda row: not _texts(row),
    "split is neither 'train' nor 'test'": lambda row: row.split not in ("train", "test"),
    "label is neither 0 nor 1": lambda row: isinstance(row.label, bool) or row.label not in (0, 1),
    "a training image is labelled anomalous": lambda row: row.split == "train" and row.label == 1,
    "label and defect disagree (only label 0 is 'good')": lambda row: (row.label == 0) != (row.defect == GOOD),
    "the image path is not absolute": lambda row: not _absolute(row.image),
    "masks is not a tuple of absolute paths": lambda row: not (isinstance(row.masks, tuple) and _absolute(*row.masks)),
    "a normal image has a mask": lambda row: row.label == 0 and isinstance(row.masks, tuple) and bool(row.masks),
    "a training image has no prompt_class": lambda row: row.split == "train" and row.prompt_class == "",
}


def _texts(row: Any) -> bool:
    texts = (row.dataset, row.category, row.split, row.defect, row.image)
    return isinstance(row.prompt_class, str) and all(isinstance(text, str) and text for text in texts)


def _absolute(*paths: object) -> bool:
    return all(isinstance(path, str) and os.path.isabs(path) for path in paths)


def _order(row: Mapping[str, Any]) -> tuple:
    # str() orders faulty rows too: `validate` then names the fault, where sorting would raise TypeError.
    texts = [str(row[key]) for key in ("dataset", "category", "label", "defect", "image")]
    return *texts[:2], row["split"] != "train", *texts[2:]
