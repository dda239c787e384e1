"""The region of interest that a run was evaluated with, ``region.png`` in its directory."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
from PIL import Image

from mintad.disk import digest, write
from mintad.errors import MintadError
from mintad.runs.directory import REGION, Run
from mintad.scoring.region_of_interest import at_size, read_region

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


def store_region(run: Run, path: str | Path) -> np.ndarray:
    """Copy a region of interest into a run, whose results are to be made anew, and return it (S, S).

    Raises:
        DataError: see `mintad.scoring.region_of_interest`; nothing is written then.
    """
    mask = read_region(path)
    region_SS = at_size(mask, run.config().features.image_size, path)
    content = io.BytesIO()
    Image.fromarray(mask).save(content, "PNG")
    write(run.path / REGION, content.getvalue())
    log.info("region of interest: %.0f%% of the image, from %s", 100 * region_SS.mean(), path)
    return region_SS
