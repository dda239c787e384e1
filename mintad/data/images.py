"""Reading images and masks from disk: every stored form becomes 8-bit RGB, or a boolean mask.

These decisions change the measured numbers:

* 16-bit grey is divided by 257, a fixed scale (65535 -> 255). Stretching every image to its own range would
  hide differences in brightness, which are defects too. 12-bit data in a 16-bit file come out dark.
* 16-bit colour is cut to its high byte, as Pillow does. Of several frames or pages the first is read.
* Transparency is ignored, and so is the EXIF orientation tag, because masks are drawn on the pixels as stored.
* What is not black in a mask is anomalous (VisA's hold 1, 2, 3, ...); in a JPEG, which blurs edges, from 128 on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mintad.errors import DataError

MAX_PIXELS = 89_478_485  # of an image that is decoded (268 MB as RGB): Pillow's limit, even where that was lifted
IMAGE_SUFFIXES = frozenset(".png .jpg .jpeg .bmp .tif .tiff .webp .gif .pgm .ppm .pnm .jp2".split())
DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N", "I")
LOSSY_MASK_FORMATS = ("JPEG", "MPO")


def is_image(name: str | Path) -> bool:
    """Whether the file name ends like an image, in any case, and is not hidden."""
    base, suffix = os.path.splitext(os.path.basename(name))
    return suffix.lower() in IMAGE_SUFFIXES and not base.startswith(".")


def open_image(path: str | Path) -> Image.Image:
    """Open and decode a file in its stored mode; the file is closed again.

    Raises:
        DataError: missing, not an image, damaged, truncated, or larger than `MAX_PIXELS`.
    """
    try:
        with open(path, "rb") as file:
            image = Image.open(file)
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            image.load()
            return image
    except FileNotFoundError:
        raise DataError("no such file", path=path, fix="restore it, or load the data set again") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as fault:
        problem = f"too large to decode safely ({fault}, the limit is {MAX_PIXELS:,} pixels)"
        raise DataError(problem, path=path, fix="cut or scale the image down, or remove the file") from None
    except Exception as fault:  # decoders raise almost anything on a damaged file
        # Pillow's own words for an unknown format repeat the path, so that equal problems would not look equal
        reason = "unknown format" if isinstance(fault, UnidentifiedImageError) else f"{type(fault).__name__}: {fault}"
        fix = "it is truncated, damaged or no image: copy it again from its source, or remove it"
        raise DataError(f"cannot be read as an image ({reason})", path=path, fix=fix) from fault


def read_image(path: str | Path) -> Image.Image:
    """Read an image file of any kind as 8-bit RGB, at the stored size; see `open_image` and `to_rgb` for errors."""
    return to_rgb(open_image(path), path)


def read_mask(masks: Sequence[str | Path], size: tuple[int, int] | None = None) -> np.ndarray:
    """Read the masks of one image and unite them.

    `size` is the image's (width, height): checked when given, needed when there are no masks.

    Returns:
        (height, width) bool, True where anomalous, at native size.

    Raises:
        DataError: a mask cannot be read, or is not of `size`, or not of the size of the masks before it.
    """
    masks = (masks,) if isinstance(masks, (str, Path)) else masks
    if not masks and size is None:
        raise DataError("read_mask needs the image's size when there are no masks")
    union = None if size is None else np.zeros((size[1], size[0]), dtype=bool)
    for path in masks:
        mask = _read_single_mask(path)
        if union is not None and mask.shape != union.shape:
            sizes = [f"{width} x {height}" for height, width in (mask.shape, union.shape)]
            problem = f"the mask has {sizes[0]} pixels, its image (or first mask) has {sizes[1]}"
            raise DataError(problem, path=path, fix="export the mask at the size of its image")
        union = mask if union is None else union | mask
    return union


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a boolean mask (H, W) to `shape` (h, w) by nearest neighbour, pixel centres aligned. Small ones may go."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for new, old in zip(shape, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def to_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    """Convert a decoded image to 8-bit RGB; floating point, 32-bit and unknown colour spaces are a DataError."""
    values = np.asarray(image).astype(np.int64) if image.mode in DEEP_GREY else np.zeros(1)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        problem = f"{'floating point' if image.mode == 'F' else '32-bit'} pixels, whose range is not known"
        raise DataError(problem, path=path, fix="save the image with 8 or 16 bits per channel")
    if image.mode in DEEP_GREY:
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")  # rounded
    try:
        if image.mode in ("P", "PA", "RGBa", "La"):  # palettes with transparency, premultiplied colour
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        return image.convert("RGB")
    except ValueError as fault:
        problem = f"colour space {image.mode} cannot be converted"
        raise DataError(problem, path=path, fix="save the image as RGB") from fault


def _read_single_mask(path: str | Path) -> np.ndarray:
    image = open_image(path)
    if image.mode in (*DEEP_GREY, "F"):
        return np.asarray(image) != 0
    values_HWC = np.asarray(to_rgb(image, path))
    return (values_HWC >= (128 if image.format in LOSSY_MASK_FORMATS else 1)).any(-1)
