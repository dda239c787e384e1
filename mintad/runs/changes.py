"""The images of a run: recorded when it begins, and compared with what the data are now."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from mintad.config import Config
from mintad.data.records import category_keys, tested_rows
from mintad.disk import hash_file
from mintad.errors import DataError
from mintad.runs.directory import Run
from mintad.runs.prepare import list_images, split_holdout

log = logging.getLogger(__name__)

HASHES = ("hash", "masks_hash")
"""Columns of ``scores.csv``: the content of the image file, and of its masks ("" for none)."""


def changes_of(run: Run, records: pd.DataFrame, config: Config) -> dict[str, str]:
    """Compare the data with those that a finished run was trained and evaluated on, by the contents of the files.

    Returns:
        "training images" and "test images", as far as they have changed -> in what, with numbers.
    """
    hashes = _hash_files(records["image"])
    changes = {}
    try:
        rows = split_holdout(records, config.data.holdout, config.train.seed)
        images = list_images(records, *rows, hashes, config)
        if found := image_differences(run.training_images(), images):
            changes["training images"] = ", ".join(found)
    except DataError as error:  # too few images are left to hold some out
        changes["training images"] = error.problem
    rows = tested_rows(records)
    if found := _test_differences(run.scores(), with_hashes(records.iloc[rows], [hashes[row] for row in rows])):
        changes["test images"] = found
    return changes


def report_changes(run: Run, changes: dict[str, str], missing: Sequence[str]) -> None:
    """Log what has changed in the data of a finished run, see `changes_of`, and what to do.

    Raises:
        DataError: there are changes, and baselines of these names are missing, which would be scored on other images
            than the model was.
    """
    if not changes:
        log.info("%s is finished: there is nothing to train", run.path)
        return
    changed = "; ".join(f"{kind}: {text}" for kind, text in changes.items())
    anew = "train anew with --overwrite or into another --out"
    if missing:
        problem = f"the data have changed since the run ({changed}): baselines would be scored on other images"
        command = f"mintad evaluate {run.path} --baselines {','.join(missing)}"
        fix = anew if "training images" in changes else f"{command} evaluates all methods on the images as they are now"
        raise DataError(problem, path=run.path, fix=fix)
    fix = anew if "training images" in changes else f"mintad evaluate {run.path} measures them, or {anew}"
    log.warning(
        "%s is finished and nothing was trained, but its data have changed since: %s; %s", run.path, changed, fix
    )


def with_hashes(scores: pd.DataFrame, hashes: list[str]) -> pd.DataFrame:
    """Return scored rows with the columns `HASHES`; `hashes` are of their images."""
    masks = sorted({mask for masks in scores["masks"] for mask in masks})
    hash_of = dict(zip(masks, _hash_files(masks), strict=True))
    joined = ["+".join(hash_of[mask] for mask in masks) for masks in scores["masks"]]
    return scores.assign(**dict(zip(HASHES, (hashes, joined), strict=True)))


def _hash_files(paths: list[str] | pd.Series) -> list[str]:
    """Hash files; "unreadable" for those that cannot be read, which whoever opens them will say."""

    def attempt(path: str) -> str:
        try:
            return hash_file(path)
        except DataError:
            return "unreadable"

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(attempt, paths))


def _test_differences(before: pd.DataFrame, now: pd.DataFrame) -> str:
    """Say how many test images are new, gone or otherwise labelled; "" for the same ones, wherever they lie now."""
    before = before[before["split"] == "test"]
    by_content = "hash" in before
    keys = [_contents(table, by_content, HASHES[:1]) for table in (before, now)]
    counts = {"gone": keys[0] - keys[1], "new": keys[1] - keys[0]}
    found = {kind: sum(counter.values()) for kind, counter in counts.items()}
    if not any(found.values()) and by_content:
        labelled = [_contents(table, True, (*HASHES, "label", "defect")) for table in (before, now)]
        found = {"with another label or mask": sum((labelled[1] - labelled[0]).values())}
    return ", ".join(f"{number} {kind}" for kind, number in found.items() if number)


def _contents(table: pd.DataFrame, by_content: bool, columns: tuple[str, ...]) -> Counter:
    """Count what identifies the images; without hashes, in runs of older versions, these are names."""
    values = [table[name].astype(str) for name in columns] if by_content else [table["image"].map(os.path.basename)]
    return Counter(zip(category_keys(table), *values, strict=True)) if len(table) else Counter()


def row_hashes(hashes: list[str], rows: np.ndarray) -> list[str]:
    """Return the hashes of some rows; "" for features that do not come from files."""
    return [hashes[row] if hashes else "" for row in rows]


def record_training_images(run: Run, images: pd.DataFrame) -> None:
    """Record the images of `mintad.runs.prepare.image_list`, or compare them with those that the run began with.

    Raises:
        DataError: they differ; the message says in what.
    """
    file = run.path / "images.csv"
    if not file.exists():
        run.write_table("images", images)
        return
    changes = image_differences(run.training_images(), images)
    if changes:
        problem = f"the training images are not those that the run was trained on: {', '.join(changes)}"
        raise DataError(problem, path=run.path, fix="restore them, or train anew into another --out")


def image_differences(before: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """List how training images differ, one text per kind of change, each with the first image of its kind."""
    images = before.merge(now, on=["category", "image"], how="outer", suffixes=("_before", ""), indicator="side")
    hashed = (images[["hash_before", "hash"]].fillna("") != "").all(axis=1)
    changes = {
        "gone": images["side"] == "left_only",
        "new": images["side"] == "right_only",
        "with another content": hashed & (images["hash_before"] != images["hash"]),
    }
    if not any(mask.any() for mask in changes.values()):  # other images are split otherwise, which says nothing
        changes["moved between training and hold-out"] = images["role_before"] != images["role"]
    first = {kind: images[mask].iloc[0] for kind, mask in changes.items() if mask.any()}
    return [f"{changes[kind].sum()} {kind} (first: {row.image} of {row.category})" for kind, row in first.items()]
