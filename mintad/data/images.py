"""Reading images and masks from disk: every stored form becomes 8-bit RGB, or a boolean mask.

These decisions change the measured numbers:

* 16-bit grey is divided by 257, a fixed scale (65535 -> 255). Stretching every image to its own range would
  hide differences in brightness, which are defects too. 12-bit data in a 16-bit file come out dark.
* 16-bit colour is cut to its high byte, as Pillow does. Of several frames or pages the first is read.
* Transparency is ignored, and so is the EXIF orientation tag, because masks are drawn on the pixels as stored.
* What is not black in a mask is anomalous (VisA's hold 1, 2, 3, ...); in a JPEG, which blurs edges, from 128 on.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError

from mintad.disk import open_file
from mintad.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""The only decoders that may see a file, whatever it is called: Pillow's others can start programs (EPS)."""
IMAGE_SUFFIXES = frozenset(".png .jpg .jpeg .bmp .tif .tiff .webp .gif .pgm .ppm .pnm .jp2".split())
MAX_PIXELS = 89_478_485  # of an image that is decoded (358 MB as RGB): Pillow's limit, even where that was lifted
MAX_SIDE = 65_535  # pixels, JPEG's limit; resizing takes memory in proportion to the longer side, too
LARGE = 8 << 20  # pixels from which on only one image is held at a time
DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N", "I")
LOSSY_MASK_FORMATS = ("JPEG", "MPO")


def is_image(name: str | Path) -> bool:
    """Whether the file name ends like an image, in any case, and is not hidden."""
    base, suffix = os.path.splitext(os.path.basename(name))
    return suffix.lower() in IMAGE_SUFFIXES and not base.startswith(".")


@contextmanager
def image_header(path: str | Path) -> Iterator[Image.Image]:
    """Open an image file without decoding it, for the block; the same errors as `open_image`, the block's included."""
    with open_file(path) as file:
        try:
            image = Image.open(file, formats=FORMATS)
            if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            yield image
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as fault:
            limits = f"the limits are {MAX_PIXELS:,} pixels and {MAX_SIDE:,} a side"
            problem, fix = (
                f"too large to decode safely ({fault}, {limits})",
                "cut or scale the image down, or remove it",
            )
            raise DataError(problem, path=path, fix=fix) from None
        except Exception as fault:  # decoders raise almost anything on a damaged file
            # Pillow's own words for an unknown format repeat the path, so that equal problems would not look equal
            unknown = isinstance(fault, UnidentifiedImageError)
            reason = (
                f"its content is none of {', '.join(FORMATS)}, or a rare form of one"
                if unknown
                else f"{type(fault).__name__}: {fault}"
            )
            fix = "it is truncated, damaged or no image: copy it again from its source, or remove it"
            raise DataError(f"cannot be read as an image ({reason})", path=path, fix=fix) from fault


def open_image(path: str | Path) -> Image.Image:
    """Open and decode a file in its stored mode; the file is closed again.

    Raises:
        DataError: missing, no file, not an image, damaged, truncated, or larger than `MAX_PIXELS` or `MAX_SIDE`.
    """
    with image_header(path) as image:
        image.load()
        return image


def read_image(path: str | Path) -> Image.Image:
    """Read an image file of any kind as 8-bit RGB, at the stored size; see `open_image` and `to_rgb` for errors."""
    return to_rgb(open_image(path), path)


_large = threading.Lock()


@contextmanager
def one_large_at_a_time(path: str | Path) -> Iterator[None]:
    """Keep other threads from holding a picture of more than `LARGE` pixels while the block works on a large `path`."""
    width, height = image_size(path)
    if width * height <= LARGE:
        yield
        return
    with _large:
        yield


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
        size = require_mask_size(path, size)
        values, lowest = mask_values(path)
        mask = values >= lowest
        union = mask if union is None else union | mask
    return union


def read_mask_of(image: str | Path, masks: Sequence[str | Path]) -> np.ndarray:
    """Read the masks of an image file as `read_mask` does, at the size of this image; metrics read them so.

    Raises:
        DataError: a mask cannot be read, or is not of the image's size; `image` cannot be read.
    """
    return read_mask(masks, image_size(image))


def require_masks_fit(image: str | Path, masks: Sequence[str | Path]) -> None:
    """Refuse masks that are not of their image's size, by the headers alone; a DataError names the mask."""
    size = image_size(image) if masks else None
    for path in masks:
        require_mask_size(path, size)


def image_size(path: str | Path) -> tuple[int, int]:
    """Return the (width, height) of an image file, which is not decoded; for errors see `open_image`."""
    with image_header(path) as header:
        return header.size


def require_mask_size(path: str | Path, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the size of a mask; raise DataError if it is not `size` (None for any), before anything is decoded."""
    own = image_size(path)
    if size is not None and own != size:
        problem = "the mask has {} x {} pixels, its image (or first mask) has {} x {}".format(*own, *size)
        raise DataError(problem, path=path, fix="export the mask at the size of its image")
    return own


def resize_mask(mask: np.ndarray, shape: tuple[int, int], strip: slice = slice(None)) -> np.ndarray:
    """Resize a boolean mask (H, W) to `shape` (h, w) by nearest neighbour, pixel centres aligned. Small ones may go.

    Of a large result, `strip` are the rows that are wanted.
    """
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for new, old in zip(shape, mask.shape, strict=True)
    )
    return mask[np.ix_(rows[strip], columns)]


def to_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    """Convert a decoded image to 8-bit RGB; floating point, 32-bit and unknown colour spaces are a DataError."""
    low, high = image.getextrema() if image.mode == "I" else (0, 0)
    if image.mode == "F" or low < 0 or high > 65535:
        kind = "floating point" if image.mode == "F" else "32-bit" if high > 65535 else "signed"
        problem = f"{kind} pixels, whose range is not known"
        raise DataError(problem, path=path, fix="save the image with 8 or 16 bits per channel")
    if image.mode == "RGB":
        return image
    if image.mode in DEEP_GREY:
        return _to_8_bit(image).convert("RGB")
    try:
        if image.mode in ("P", "PA", "RGBa", "La"):  # palettes with transparency, premultiplied colour
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        return image.convert("RGB")
    except ValueError as fault:
        problem = f"colour space {image.mode} cannot be converted"
        raise DataError(problem, path=path, fix="save the image as RGB") from fault


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Divide 16-bit grey by 257, rounded; strip by strip, because the wider integers take several times the memory."""
    grey_HW = np.empty((image.height, image.width), dtype=np.uint8)
    for top in range(0, image.height, 256):
        box = (0, top, image.width, min(top + 256, image.height))
        grey_HW[top : top + 256] = (np.asarray(image.crop(box)).astype(np.uint32) + 128) // 257
    return Image.fromarray(grey_HW)


def mask_values(path: str | Path) -> tuple[np.ndarray, int]:
    """Read one mask as stored: values (H, W), the brightest of the channels, and the lowest that counts as anomalous.

    The values are 8-bit, of deep images bool. For errors see `open_image`.
    """
    image = open_image(path)
    if image.mode in (*DEEP_GREY, "F"):
        return np.asarray(image) != 0, 1
    bands = (image,) if image.mode in ("1", "L") else to_rgb(image, path).split()
    values = np.asarray(functools.reduce(ImageChops.lighter, bands).convert("L"))
    return values, 128 if image.format in LOSSY_MASK_FORMATS else 1


def only_transparency_varies(path: str | Path) -> bool:
    """Whether a picture has one colour everywhere and shows something by transparency alone; see `open_image`."""
    image = open_image(path)
    if "A" not in image.getbands() and "transparency" not in image.info:
        return False
    *colours, alpha = (low != high for low, high in image.convert("RGBA").getextrema())
    return alpha and not any(colours)
