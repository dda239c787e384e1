"""The truth about a drawn picture beyond its label: the sub-class and the pose it was drawn with.

The set's files do not hold it, so no model can be trained on it. It comes from drawing the product again from the
picture's own random stream and noting the numbers drawn.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mintad.data.mini.products import PRODUCTS
from mintad.errors import DataError

SUBCLASSES: dict[str, tuple[str, str]] = {
    "weave": ("blue warp", "red warp"),
    "wood": ("light stain", "dark stain"),
    "gear": ("12 teeth", "14 teeth"),
    "capsule": ("red and cream", "green and yellow"),
    "button": ("red", "blue"),
}
"""Products with two sub-classes, see `mintad.data.mini.products`."""
SIZE = 64
"""Pixels of the redrawing; pose and sub-class are drawn before anything that depends on the size."""


class _Noting(np.random.Generator):
    """A generator that gives the same numbers and keeps them."""

    def __init__(self, stream: list[int]) -> None:
        super().__init__(np.random.PCG64(np.random.SeedSequence(stream)))
        self.uniforms: list[Any] = []
        self.choices: list[Any] = []

    def uniform(self, *arguments: Any, **named: Any) -> Any:
        self.uniforms.append(super().uniform(*arguments, **named))
        return self.uniforms[-1]

    def integers(self, *arguments: Any, **named: Any) -> Any:
        self.choices.append(super().integers(*arguments, **named))
        return self.choices[-1]


def drawn_with(category: str, split: str, defect: str, index: int, *, seed: int = 0) -> tuple[str, float]:
    """Return the sub-class and the angle (degrees) of the picture that `render` draws with these arguments.

    Raises:
        DataError: a product without sub-classes.
    """
    if category not in SUBCLASSES:
        raise DataError(f"mini: {category} has no sub-classes; these have: {', '.join(SUBCLASSES)}")
    noted = _Noting([seed, zlib.crc32(category.encode()), zlib.crc32(f"{split}/{defect}".encode()), index, 0])
    PRODUCTS[category](SIZE, noted)
    return SUBCLASSES[category][noted.choices[0]], float(np.degrees(noted.uniforms[0]))


def add_truth(records: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Add the columns subclass ('' where the product has none) and angle (NaN) to a record table of mini's `seed`."""
    drawn = [
        drawn_with(row.category, row.split, row.defect, int(Path(row.image).stem), seed=seed)
        if row.category in SUBCLASSES
        else ("", np.nan)
        for row in records.itertuples()
    ]
    return records.assign(subclass=[name for name, _ in drawn], angle=[angle for _, angle in drawn])
