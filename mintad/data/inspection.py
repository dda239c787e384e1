"""Looking at one image and its masks: can they be read, do they fit each other, what is unusual."""

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
    """What was found about one image and its masks."""

    digest: bytes | None
    """Hash of the pixels as RGB, the same for the same picture in any lossless format; None if unreadable."""
    problems: list[Problem]


def inspect(path: str, masks: tuple[str, ...] = ()) -> Inspection:
    """Decode an image and its masks.

    Args:
        path: the image.
        masks: its masks.
    """
    problems: list[Problem] = []
    try:
        image = open_image(path)
        rgb = to_rgb(image, path)
    except DataError as fault:
        problems.append(_from_message(fault, path))
        return Inspection(None, problems + list(_masks(masks, None)))
    problems += [Problem(severity, path, what, cure) for severity, what, cure in _unusual(path, image)]
    problems += _masks(masks, image.size)
    digest = hashlib.blake2b(repr(rgb.size).encode() + rgb.tobytes(), digest_size=16).digest()
    return Inspection(digest, problems)


def _unusual(path: str, image: Image.Image) -> Iterator[tuple[Severity, str, str]]:
    suffix = os.path.splitext(path)[1]
    if suffix != suffix.lower():
        yield "note", "file ending in capitals", ""
    yield from _unusual_mode(image)
    with Image.open(path) as header:  # decoding has forgotten how the pixels were stored
        if image.mode == "RGB" and any(";16" in str(tile) for tile in header.tile):
            yield "note", "16-bit colour: the high byte is read", ""
        if getattr(header, "is_animated", False):
            yield (
                "warning",
                "several frames or pages: the first is read",
                "save the others as files of their own",
            )
    if image.getexif().get(_ORIENTATION, 1) != 1:
        cure = "rotate the pixels themselves and drop the tag, if image or mask lies on its side"
        yield "warning", "EXIF orientation, which is ignored", cure


def _unusual_mode(image: Image.Image) -> Iterator[tuple[Severity, str, str]]:
    if image.mode in DEEP_GREY:
        yield "note", "16-bit grey: divided by 257", ""
        if (image.getextrema()[1] or 0) < 4096:
            cure = "scale the values to the whole range, by one factor for all images"
            yield "warning", "16-bit file with values below 4096 only, which comes out dark", cure
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
            cure = "flatten the image onto a background if the hidden colours are not meant to be seen"
            yield "warning", "transparency that varies, which is ignored", cure


def _masks(masks: tuple[str, ...], size: tuple[int, int] | None) -> Iterator[Problem]:
    """Problems of the masks of one image; `size` is None when the image could not be read."""
    if len(masks) > 1:
        yield Problem("note", masks[0], "several masks for one image: their union is used", "")
    union = None
    for path in masks:
        try:
            mask = read_mask((path,), size)
        except DataError as fault:
            yield _from_message(fault, path)
            continue
        if path.lower().endswith((".jpg", ".jpeg")) or _format(path) in LOSSY_MASK_FORMATS:
            yield Problem("warning", path, "JPEG mask: values from 128 on count", "save masks as PNG")
        union = mask if union is None or union.shape != mask.shape else union | mask
    if union is not None and not union.any():
        cure = "mark the defect: for the pixel metrics the image is normal as it is"
        yield Problem("warning", masks[0], "empty mask of an anomalous image", cure)
    elif union is not None and np.all(union):
        cure = "check that background is 0 in it"
        yield Problem("warning", masks[0], "mask that covers the whole image", cure)


def _format(path: str) -> str | None:
    with Image.open(path) as header:
        return header.format


def _from_message(fault: DataError, path: str) -> Problem:
    """Split 'PATH: what; cure' again."""
    what, _, cure = str(fault).removeprefix(f"{path}: ").partition("; ")
    return Problem("error", path, what, cure)
