"""Inspection of one image and its masks: can they be read, do they fit each other, what is unusual."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mintad.data.images import DEEP_GREY, LOSSY_MASK_FORMATS, open_image, read_mask, to_rgb
from mintad.data.problems import Problem, Severity
from mintad.errors import DataError

_ORIENTATION = 0x0112  # EXIF tag


@dataclass(frozen=True)
class Inspection:
    """Result of inspecting one image and its masks."""

    digest: bytes | None
    """Hash of the pixels as RGB, the same for the same picture in any lossless format; None if unreadable."""
    problems: list[Problem]


def inspect(path: str, masks: tuple[str, ...] = ()) -> Inspection:
    """Decode an image and its masks, and list their problems.

    Args:
        path: the image.
        masks: its masks.
    """
    problems: list[Problem] = []
    try:
        image = open_image(path)
        rgb = to_rgb(image, path)
    except DataError as fault:
        problems.append(Problem("error", path, fault.problem, fault.fix))
        return Inspection(None, problems + list(_masks(masks, None)))
    problems += [Problem(severity, path, problem, fix) for severity, problem, fix in _unusual(path, image)]
    problems += _masks(masks, image.size)
    digest = hashlib.blake2b(repr(rgb.size).encode() + rgb.tobytes(), digest_size=16).digest()
    return Inspection(digest, problems)


def _unusual(path: str, image: Image.Image) -> Iterator[tuple[Severity, str, str]]:
    suffix = os.path.splitext(path)[1]
    if suffix != suffix.lower():
        yield "note", "file ending in capital letters", ""
    yield from _unusual_mode(image)
    with Image.open(path) as header:  # decoding has lost how the pixels were stored
        if image.mode == "RGB" and any(";16" in str(tile) for tile in header.tile):
            yield "note", "16-bit colour: the high byte is read", ""
        if getattr(header, "is_animated", False):
            yield (
                "warning",
                "several frames or pages: the first is read",
                "save the others as files of their own",
            )
    if image.getexif().get(_ORIENTATION, 1) != 1:
        fix = "rotate the pixels themselves and drop the tag, if image and mask do not fit"
        yield "warning", "EXIF orientation, which is ignored", fix


def _unusual_mode(image: Image.Image) -> Iterator[tuple[Severity, str, str]]:
    if image.mode in DEEP_GREY:
        yield "note", "16-bit grey: divided by 257", ""
        if (image.getextrema()[1] or 0) < 4096:
            fix = "scale the values to the whole range, by one factor for all images"
            yield "warning", "16-bit file with values below 4096 only, which comes out dark", fix
    elif image.mode == "1":
        yield "note", "1-bit image: read as black and white", ""
    elif image.mode in ("P", "PA"):
        yield "note", "palette image: its colours are read", ""
    elif image.mode == "CMYK":
        yield "note", "CMYK: converted without a colour profile", ""
    elif "A" in image.getbands():
        low, high = image.getchannel("A").getextrema()
        if low == high:
            yield "note", "transparency channel, which is ignored", ""
        else:
            fix = "flatten the image onto a background if the hidden colours are not meant to be seen"
            yield "warning", "transparency that varies, which is ignored", fix


def _masks(masks: tuple[str, ...], size: tuple[int, int] | None) -> Iterator[Problem]:
    """List the problems of the masks of one image; `size` is None when the image could not be read."""
    if len(masks) > 1:
        yield Problem("note", masks[0], "several masks for one image: their union is used", "")
    union = None
    for path in masks:
        try:
            mask = read_mask((path,), size)
        except DataError as fault:
            yield Problem("error", path, fault.problem, fault.fix)
            continue
        if path.lower().endswith((".jpg", ".jpeg")) or _format(path) in LOSSY_MASK_FORMATS:
            yield Problem("warning", path, "JPEG mask: values from 128 on count", "save masks as PNG")
        union = mask if union is None or union.shape != mask.shape else union | mask
    if union is not None and not union.any():
        fix = "mark the defect: for the pixel metrics the image is normal as it is"
        yield Problem("warning", masks[0], "empty mask of an anomalous image", fix)
    elif union is not None and np.all(union):
        fix = "check that background is 0 in it"
        yield Problem("warning", masks[0], "mask that covers the whole image", fix)


def _format(path: str) -> str | None:
    with Image.open(path) as header:
        return header.format
