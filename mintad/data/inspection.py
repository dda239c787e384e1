"""What one image file is like: whether it can be read, and what is unusual about it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from mintad.data.duplicates import thumbnail
from mintad.data.images import DEEP_GREY, image_header, one_large_at_a_time, open_image, to_rgb
from mintad.data.mask_check import inspect_masks
from mintad.data.problems import Problem, Severity
from mintad.data.tree import Row
from mintad.errors import DataError

TINY, HUGE, NARROW = 32, 20_000_000, 4
"""Shorter side in pixels, pixels, and ratio of the sides, from which on a picture loses much in the network's input."""
_ORIENTATION = 0x0112  # EXIF tag
_MODES = {
    **dict.fromkeys(DEEP_GREY, "16-bit grey: divided by 257"),
    "1": "1-bit image: read as black and white",
    **dict.fromkeys(("P", "PA"), "palette image: its colours are read"),
    "CMYK": "CMYK: converted without a colour profile",
}
Finding = tuple[Severity, str, str]
"""Severity, problem and fix."""


@dataclass
class Inspection:
    """What was found out about an image and its masks."""

    problems: list[Problem] = field(default_factory=list)
    digest: bytes | None = None  # of the RGB pixels; None if the image cannot be read
    thumbnail: np.ndarray | None = None


def inspect(row: Row) -> Inspection:
    """Decode the image of a row and its masks; whatever happens on the way becomes a problem."""
    path, masks, anomalous = row["image"], row.get("masks", ()), bool(row["label"])
    found, size = Inspection(), None
    try:
        with one_large_at_a_time(path):
            image = open_image(path)
            size, rgb = image.size, to_rgb(image, path)
            found.digest, found.thumbnail = _hash_pixels(rgb), thumbnail(rgb)
            found.problems += [Problem(severity, path, *texts) for severity, *texts in _shape_and_colour(rgb)]
            del rgb
            found.problems += [Problem(severity, path, *texts) for severity, *texts in _storage(path, image)]
            del image
            found.problems += inspect_masks(masks, size, anomalous=anomalous)
    except DataError as fault:
        found.problems.append(Problem("error", path, fault.problem, fault.fix))
        found.problems += inspect_masks(masks, size, anomalous=anomalous)
    except Exception as fault:  # a check that ends here says nothing of all other files
        problem = f"cannot be checked ({type(fault).__name__}: {fault})"
        found.problems.append(Problem("error", path, problem, "save it again as an 8-bit PNG, or remove it"))
    return found


def _hash_pixels(rgb: Image.Image) -> bytes:
    digest, width = hashlib.blake2b(repr(rgb.size).encode(), digest_size=16), rgb.width
    for top in range(0, rgb.height, 256):  # not all at once, which would be another copy of the picture
        digest.update(rgb.crop((0, top, width, min(top + 256, rgb.height))).tobytes())
    return digest.digest()


def _shape_and_colour(rgb: Image.Image) -> Iterator[Finding]:
    sides = f"{rgb.width} x {rgb.height} pixels"
    if all(low == high for low, high in rgb.getextrema()):
        yield "warning", "picture of a single colour", "nothing can be learnt from it or found in it: check the camera"
    if min(rgb.size) < TINY:
        yield "warning", "tiny picture", f"{sides}; it is enlarged to the network's input"
    if max(rgb.size) > NARROW * min(rgb.size):
        yield "warning", "long and narrow picture", f"{sides}, squeezed into a square: cut it into pieces"
    if rgb.width * rgb.height > HUGE:
        yield "note", "large picture", f"{sides}, scaled down to the network's input: small defects may vanish"


def _storage(path: str, image: Image.Image) -> Iterator[Finding]:
    """List what is unusual about how the pixels are stored."""
    suffix = os.path.splitext(path)[1]
    if suffix != suffix.lower():
        yield "note", "file ending in capital letters", ""
    if image.mode in _MODES:
        yield "note", _MODES[image.mode], ""
    elif "A" in image.getbands():
        low, high = image.getchannel("A").getextrema()
        fix = "flatten the image onto a background if the hidden colours are not meant to be seen"
        varies = ("warning", "transparency that varies, which is ignored", fix)
        yield varies if low != high else ("note", "transparency channel, which is ignored", "")
    if image.mode in DEEP_GREY and np.asarray(image).max() < 4096:  # Pillow finds no extrema of big-endian pixels
        fix = "scale the values to the whole range, by one factor for all images"
        yield "warning", "16-bit file with values below 4096 only, which comes out dark", fix
    with image_header(path) as header:  # decoding has lost how the pixels were stored
        if image.mode == "RGB" and any(";16" in str(tile) for tile in header.tile):
            yield "note", "16-bit colour: the high byte is read", ""
        if getattr(header, "is_animated", False):
            yield "warning", "several frames or pages: the first is read", "save the others as files of their own"
    if image.getexif().get(_ORIENTATION, 1) != 1:
        fix = "rotate the pixels themselves and drop the tag, if image and mask do not fit"
        yield "warning", "EXIF orientation, which is ignored", fix
