"""Inspection of one image and its masks: can they be read, do they fit each other, what is unusual."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

from PIL import Image

from mintad.data.images import DEEP_GREY, LOSSY_MASK_FORMATS, open_image, read_mask, to_rgb
from mintad.data.problems import Problem, Severity
from mintad.errors import DataError

_ORIENTATION = 0x0112  # EXIF tag
_MODES = {
    **dict.fromkeys(DEEP_GREY, "16-bit grey: divided by 257"),
    "1": "1-bit image: read as black and white",
    **dict.fromkeys(("P", "PA"), "palette image: its colours are read"),
    "CMYK": "CMYK: converted without a colour profile",
}


def inspect(path: str, masks: Sequence[str] = ()) -> tuple[bytes | None, list[Problem]]:
    """Decode an image and its masks, and list their problems.

    Returns:
        A hash of the pixels as RGB, the same for the same picture in any lossless format, None if unreadable; and the
        problems.
    """
    try:
        image = open_image(path)
        rgb = to_rgb(image, path)
    except DataError as fault:
        return None, [Problem("error", path, fault.problem, fault.fix), *_inspect_masks(masks, None)]
    digest = hashlib.blake2b(repr(rgb.size).encode() + rgb.tobytes(), digest_size=16).digest()
    problems = [Problem(severity, path, problem, fix) for severity, problem, fix in _unusual(path, image)]
    return digest, [*problems, *_inspect_masks(masks, image.size)]


def _unusual(path: str, image: Image.Image) -> Iterator[tuple[Severity, str, str]]:
    suffix = os.path.splitext(path)[1]
    if suffix != suffix.lower():
        yield "note", "file ending in capital letters", ""
    if image.mode in _MODES:
        yield "note", _MODES[image.mode], ""
    elif "A" in image.getbands():
        low, high = image.getchannel("A").getextrema()
        if low == high:
            yield "note", "transparency channel, which is ignored", ""
        else:
            fix = "flatten the image onto a background if the hidden colours are not meant to be seen"
            yield "warning", "transparency that varies, which is ignored", fix
    if image.mode in DEEP_GREY and (image.getextrema()[1] or 0) < 4096:
        fix = "scale the values to the whole range, by one factor for all images"
        yield "warning", "16-bit file with values below 4096 only, which comes out dark", fix
    with Image.open(path) as header:  # decoding has lost how the pixels were stored
        if image.mode == "RGB" and any(";16" in str(tile) for tile in header.tile):
            yield "note", "16-bit colour: the high byte is read", ""
        if getattr(header, "is_animated", False):
            yield "warning", "several frames or pages: the first is read", "save the others as files of their own"
    if image.getexif().get(_ORIENTATION, 1) != 1:
        fix = "rotate the pixels themselves and drop the tag, if image and mask do not fit"
        yield "warning", "EXIF orientation, which is ignored", fix


def _inspect_masks(masks: Sequence[str], size: tuple[int, int] | None) -> Iterator[Problem]:
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
        with Image.open(path) as header:
            if header.format in LOSSY_MASK_FORMATS:
                yield Problem("warning", path, "JPEG mask: values from 128 on count", "save masks as PNG")
        union = mask if union is None or union.shape != mask.shape else union | mask
    if union is not None and not union.any():
        fix = "mark the defect: for the pixel metrics the image is normal as it is"
        yield Problem("warning", masks[0], "empty mask of an anomalous image", fix)
    elif union is not None and union.all():
        yield Problem("warning", masks[0], "mask that covers the whole image", "check that background is 0 in it")
