"""Six pictures of which two are defective: the puzzle that opens the series."""

from __future__ import annotations

import numpy as np

from mintad.data.mini import render

DEFECTS = {"weave": "good", "brick": "good", "gear": "good", "terrazzo": "swap", "button": "scratch", "leather": "good"}
"""Product -> what is wrong with its picture."""


def puzzle(seed: int = 0) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, str]]:
    """Draw a picture of each of six products; return product -> (picture, mask of the defect), product -> defect."""
    return {name: render(name, "test", defect, 1, seed=seed) for name, defect in DEFECTS.items()}, dict(DEFECTS)
