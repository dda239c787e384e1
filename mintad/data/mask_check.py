"""What masks hold: blank, soft, inverted or suspiciously large ones, with the numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from mintad.data.images import (
    LOSSY_MASK_FORMATS,
    image_header,
    image_size,
    mask_values,
    only_transparency_varies,
    require_mask_size,
)
from mintad.data.problems import Problem
from mintad.errors import DataError

LARGE = 0.5  # share of the picture that a mask marks, from which on it is suspicious
HALF = 128  # a soft edge's middle, of 8 bits


def check_masks(records: pd.DataFrame) -> list[Problem]:
    """Read all masks of a record table, and list what is wrong with them or may mislead."""
    rows = records[records["masks"].map(len) > 0]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        parts = pool.map(lambda row: list(inspect_masks(row.masks, _size(row.image))), rows.itertuples())
        return [problem for part in parts for problem in part]


def _size(image: str) -> tuple[int, int] | None:
    try:
        return image_size(image)
    except DataError:
        return None


def inspect_masks(masks: Sequence[str], size: tuple[int, int] | None, *, anomalous: bool = True) -> Iterator[Problem]:
    """List the problems of one image's masks.

    Args:
        masks: their paths.
        size: width and height of the image; None when it could not be read.
        anomalous: what the label says of the image; the masks of a normal one must be blank.
    """
    if len(masks) > 1 and anomalous:
        yield Problem("note", masks[0], "several masks for one image: their union is used", "")
    union = None
    for path in masks:
        try:
            require_mask_size(path, size)
            values, lowest = mask_values(path)
            mask = values >= lowest
            yield from _unusual_values(path, values, mask)
        except DataError as fault:
            yield Problem("error" if anomalous else "warning", path, fault.problem, fault.fix)
            continue
        union = mask if union is None or union.shape != mask.shape else union | mask
    if union is None:
        return
    share = f"{union.mean():.1%} of the picture is marked"
    if not anomalous:
        if union.any():
            fix = f"{share}; the label decides, so the mask is ignored: move the image if it has a defect"
            yield Problem("warning", masks[0], "mask of a normal image that is not blank", fix)
    elif (union.all() or not union.any()) and any(_only_transparency_varies(path) for path in masks):
        fix = "it is ignored as in all images: save the defect in white on black, without transparency"
        yield Problem("warning", masks[0], "mask of one colour, in which transparency alone varies", fix)
    elif not union.any():
        fix = "mark the defect: for the pixel metrics the image is normal as it is"
        yield Problem("warning", masks[0], "empty mask of an anomalous image", fix)
    elif union.all():
        yield Problem("warning", masks[0], "mask that covers the whole image", "check that background is 0 in it")
    elif union.mean() > LARGE:
        border = np.concatenate([union[0], union[-1], union[:, 0], union[:, -1]]).mean()
        fix = f"{share}, and {border:.0%} of its border: "
        fix += "it looks inverted, the defect must be white on black" if border > LARGE else "check what is marked"
        yield Problem("warning", masks[0], "mask that marks more than half of the picture", fix)


def _only_transparency_varies(path: str) -> bool:
    try:
        return only_transparency_varies(path)
    except DataError:  # which has been reported
        return False


def _unusual_values(path: str, values: np.ndarray, mask: np.ndarray) -> Iterator[Problem]:
    with image_header(path) as header:
        if header.format in LOSSY_MASK_FORMATS:
            yield Problem("warning", path, "JPEG mask: values from 128 on count", "save masks as PNG")
            return
    if values.dtype == bool or values.max() < HALF or values.max() > 255:
        return  # small numbers name kinds of defects, as in VisA
    solid = float((values >= HALF).mean())
    if soft := mask.mean() - solid:
        fix = f"{mask.mean():.1%} of the picture is above 0 and counts as anomalous, {solid:.1%} is 128 or above: save "
        fix += "the mask with 0 and 255 alone"
        severity = "warning" if soft > 0.1 * solid else "note"
        yield Problem(severity, path, "soft mask: values between black and white", fix)
