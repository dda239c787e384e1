"""The region of interest of a fixed camera: where in the picture anomalies count (not in the paper).

Outside the region an anomaly map is zero, and pixel metrics leave it out. Maps are nowhere negative (those of baselines
that are get raised first, see `mintad.scoring.maps.maps_and_scores`), so the score of an image is then that of its
region, and the held-out images that thresholds and p-values rest on must be scored under the same region. So a region
belongs to a run: `mintad evaluate RUN --region FILE` stores it and calibrates anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from mintad.data.images import mask_values, only_transparency_varies, resize_mask
from mintad.errors import DataError

FIX = "draw it in black (ignore) and white (look), without smoothing or transparency, and save it as PNG"


def read_region(path: str | Path) -> np.ndarray:
    """Read a region of interest from an image file: black where pictures are ignored, another value elsewhere.

    Returns:
        (height, width) bool, True where to look, at the file's own size.

    Raises:
        DataError: the file cannot be read as an image, has more than two values, no black, or nothing but black.
    """
    values, _ = mask_values(path)
    found = np.unique(values)
    if len(found) > 2:
        problem = f"is not a region of interest: it has {len(found)} grey values, not two"
        raise DataError(problem, path=path, fix=FIX)
    if len(found) == 1 and only_transparency_varies(path):
        problem = "is not a region of interest: it has one colour, and transparency, which is ignored as in all images"
        raise DataError(problem, path=path, fix=FIX)
    if not found.any():
        raise DataError("is an empty region of interest: all of it is black", path=path, fix=FIX)
    if found[0]:
        raise DataError("is not a region of interest: nothing of it is black", path=path, fix=FIX)
    return values > 0


def at_size(region: np.ndarray, side: int, path: str | Path) -> np.ndarray:
    """Return a region (side, side) bool, as pictures are resized to a square; a DataError if nothing of it is left."""
    region_SS = resize_mask(region, (side, side))
    if not region_SS.any():
        problem = f"is too small a region of interest: nothing is left at {side} x {side} pixels"
        raise DataError(problem, path=path, fix="draw it larger")
    return region_SS


def share_of_cells(region_SS: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return the share (H, W), float32, of each cell of a grid that lies in a region."""
    return F.adaptive_avg_pool2d(torch.from_numpy(region_SS)[None].float(), grid)[0].numpy()


def border(region_SS: np.ndarray) -> np.ndarray:
    """Return the outermost pixels (S, S) of a region, bool, without those at the edge of the picture."""
    return region_SS & ~ndimage.binary_erosion(region_SS, structure=np.ones((3, 3)), border_value=1)
