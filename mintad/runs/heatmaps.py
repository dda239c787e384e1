"""Anomaly maps in a photograph's own size and shape: overlays, raw numbers, boxes of regions.

The detector sees every image as a square of S pixels a side. Here the square map goes back over the photograph,
strip by strip, so that a large one takes no more memory than its own pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image
from scipy import ndimage

from mintad.data.images import one_large_at_a_time, read_image, resize_mask
from mintad.disk import published
from mintad.plots import overlay
from mintad.scoring.region_of_interest import border

STRIP = 1 << 20  # pixels that are computed at a time
BORDER = (0, 200, 255)  # red, green, blue of the line around a region of interest
MOST_REGIONS = 20  # of an image that are kept, those with the highest scores


class Region(TypedDict):
    """A connected region of high scores: the corner, width and height of its box in the photograph's pixels."""

    x: int
    y: int
    width: int
    height: int
    score: float  # its highest
    share: float  # of the image's area that the region itself covers


def regions(map_SS: np.ndarray, level: float, size: tuple[int, int]) -> list[Region]:
    """Return the regions of a map that lie above `level`, the highest first; at least the one with the maximum.

    `size` is the photograph's (width, height). Pixels that touch at a corner belong together.
    """
    above_SS = map_SS > level
    if not above_SS.any():  # a score may lie above each pixel of the interpolated map, by a little
        above_SS = map_SS == map_SS.max()
    labels_SS, count = ndimage.label(above_SS, structure=np.ones((3, 3)))
    scale_x, scale_y = size[0] / map_SS.shape[1], size[1] / map_SS.shape[0]
    found: list[Region] = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels_SS, count), start=1):
        inside = labels_SS[rows, columns] == number
        left, top = int(columns.start * scale_x), int(rows.start * scale_y)
        right, bottom = (int(np.ceil(end)) for end in (columns.stop * scale_x, rows.stop * scale_y))
        box = {"x": left, "y": top, "width": min(right, size[0]) - left, "height": min(bottom, size[1]) - top}
        score, share = map_SS[rows, columns][inside].max(), inside.sum() / map_SS.size
        found.append(Region(**box, score=float(score), share=round(float(share), 6)))
    return sorted(found, key=lambda region: -region["score"])[:MOST_REGIONS]


def strips(map_SS: np.ndarray, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a map in the size of a photograph (width, height), float32: the first row's number, and some rows.

    It is interpolated bilinearly, with half-pixel centres as everywhere.
    """
    width, height = size
    rows, columns = _positions(map_SS.shape[0], height), _positions(map_SS.shape[1], width)
    step = max(1, STRIP // width)
    for top in range(0, height, step):
        strip = _between(map_SS, *(values[top : top + step] for values in rows))
        yield top, _between(strip.T, *columns).T


def _positions(cells: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for `length` pixels the cell before each and how far each is on its way to the next one."""
    position = ((np.arange(length) + 0.5) * cells / length - 0.5).clip(0, cells - 1)
    before = np.minimum(position.astype(np.intp), max(cells - 2, 0))
    return before, (position - before).astype(np.float32)


def _between(values: np.ndarray, before: np.ndarray, share: np.ndarray) -> np.ndarray:
    after = np.minimum(before + 1, len(values) - 1)
    return values[before] * (1 - share[:, None]) + values[after] * share[:, None]


def write_overlay(
    file: Path,
    photograph: str | Path,
    map_SS: np.ndarray,
    value_range: tuple[float, float],
    region_SS: np.ndarray | None = None,
) -> None:
    """Write a photograph in grey with its map over it, as PNG in its own size; for errors see `read_image`.

    The border of a region of interest is a line of `BORDER`'s colour.
    """
    line_SS = None if region_SS is None else border(region_SS)
    with one_large_at_a_time(photograph):
        picture = read_image(photograph)
        for top, strip in strips(map_SS, picture.size):
            box = (0, top, picture.width, top + len(strip))
            pixels = np.asarray(picture.crop(box), dtype=np.float32)
            drawn = overlay(pixels, strip, value_range)
            if line_SS is not None:
                drawn[resize_mask(line_SS, picture.size[::-1], slice(top, top + len(strip)))] = BORDER
            picture.paste(Image.fromarray(drawn), box)
        with published(file, durable=False) as opened:
            picture.save(opened, "PNG", compress_level=3)


def write_map(file: Path, map_SS: np.ndarray, size: tuple[int, int]) -> None:
    """Write a map in the size of its photograph (width, height) as a NumPy file: (height, width), float32."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (size[1], size[0])}
    with published(file, durable=False) as opened:
        np.lib.format.write_array_header_1_0(opened, header)
        for _, strip in strips(map_SS, size):
            opened.write(np.ascontiguousarray(strip, dtype="<f4").tobytes())
