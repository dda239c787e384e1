"""The region of interest that a run was evaluated with, ``region.png`` in its directory."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import numpy as np

from mintad.disk import digest
from mintad.errors import MintadError
from mintad.runs.directory import Run
from mintad.runs.files import REGION
from mintad.scoring.region_of_interest import at_size, read_region

SHAPE_MARGIN = 1.03  # factor by which width / height may differ without a word: a few pixels that were cut off
log = logging.getLogger(__name__)


def stored_region(run: Run) -> np.ndarray | None:
    """Return the region of interest (S, S) bool, that a run's results and thresholds rest on; None for the whole image.

    Raises:
        MintadError: it is missing or another than when the results were written, or cannot be read.
    """
    file = run.path / REGION
    if digests := run.digests():
        there = digest(file) if file.is_file() else None
        if there != digests.get(REGION):
            problem = "is not the region of interest that the results rest on"
            fix = f"mintad evaluate {run.path} --region FILE (or --whole-image) makes them anew"
            raise MintadError(problem, path=file, fix=fix)
    return at_size(read_region(file), run.config().features.image_size, file) if file.exists() else None


def _warn_of_another_shape(run: Run, mask: np.ndarray, path: str | Path) -> None:
    """Warn of a region that is wider or narrower than all training photographs: it would be stretched over them."""
    with contextlib.suppress(MintadError):  # of damage, which an evaluation mends
        shape = mask.shape[1] / mask.shape[0]
        described = [about for about in run.photographs().values() if max(about["orientations"]) < 5]  # none is turned
        narrowest = min((about["width"][0] / about["height"][1] for about in described), default=shape)
        widest = max((about["width"][1] / about["height"][0] for about in described), default=shape)
        if not narrowest / SHAPE_MARGIN <= shape <= widest * SHAPE_MARGIN:
            text = "%s has %d x %d pixels, another shape than the training photographs (width / height %.2f to %.2f, "
            text += "not %.2f): it is stretched over them; draw it on one of them"
            log.warning(text, path, *mask.shape[::-1], narrowest, widest, shape)


def new_region(run: Run, path: str | Path) -> np.ndarray:
    """Read a region of interest (S, S) for a run, whose results are to be made anew; they are written with it.

    Raises:
        DataError: see `mintad.scoring.region_of_interest`.
    """
    mask = read_region(path)
    region_SS = at_size(mask, run.config().features.image_size, path)
    _warn_of_another_shape(run, mask, path)
    if region_SS.mean() * run.config().features.grid ** 2 < 1:
        log.warning("%s is smaller than one token of the map, which is no finer: draw it larger", path)
    log.info("region of interest: %.0f%% of the image, from %s", 100 * region_SS.mean(), path)
    return region_SS
