"""What every baseline has: a title, `fit`, and `anomaly_map`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from mintad.baselines import BASELINES
from mintad.features.table import FeatureTable


class Baseline(ABC):
    """A detector that is fitted to features; see `mintad.scoring.maps.Detector`.

    Args:
        grid: (H, W) of the features.
    """

    title: ClassVar[str]
    """Name as the literature writes it, for example "PaDiM"."""
    returns_squared_error = False

    def __init__(self, grid: tuple[int, int]) -> None:
        self.grid = grid

    @abstractmethod
    def fit(self, features: FeatureTable, rows: np.ndarray) -> Baseline:
        """Learn from the normal images in `rows` of `features` and return the baseline itself."""

    @abstractmethod
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return maps (B, H, W) of features (B, L, F), larger is more anomalous; `labels` as in `Detector`."""


def baseline(name: str) -> Callable[[type[Baseline]], type[Baseline]]:
    """Register a class as a baseline under a name, which files and the command line use."""
    return lambda cls: BASELINES.add(name, cls)
