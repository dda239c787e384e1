"""What every baseline has: a title, `fit`, and `anomaly_map`; and the features and scores that its authors use."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from mintad.baselines import BASELINES
from mintad.config import FeatureConfig, ScoringConfig
from mintad.features.table import FeatureTable


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """What a run tells a baseline about itself, besides features and rows; most methods need nothing of it."""

    stages: tuple[int, ...] = ()
    """Channels of each backbone stage in the features; empty: they are one stage."""
    categories: np.ndarray | None = None
    """Category of every row of the feature table; None: there is one."""
    length: float = 1.0
    """What the steps of a training are multiplied by."""
    show_progress: bool = False
    """Whether `fit` may show a progress bar."""


class Baseline(ABC):
    """A detector that is fitted to features; see `mintad.scoring.maps.Detector`.

    A comparison is fair only if each method sees what its authors built it for. So a run gives a baseline the features
    of `published_features` and scores its maps by `published_scoring`; both leave the run's own as they are unless a
    class overrides them.

    Args:
        grid: (H, W) of the features.
        seed: of all random choices.
    """

    title: ClassVar[str]
    """Name as the literature writes it, for example "PaDiM"."""
    trained: ClassVar[bool] = False
    """Whether `fit` trains a network, which takes minutes and not seconds."""
    reads_images: ClassVar[bool] = False
    """Whether it reads images and not features, see `mintad.baselines.images.ImageBaseline`."""
    returns_squared_error = False
    context: Context = Context()
    """What a run tells every baseline before `fit`."""
    needs_labels: ClassVar[bool] = False
    """Whether a unified one is given the category of every test image, and so knows more than the others."""

    def __init__(self, grid: tuple[int, int], *, seed: int = 0) -> None:
        self.grid, self.seed = grid, seed

    @classmethod
    def option_types(cls) -> dict[str, Any]:
        """Return the types of what `baselines.options` may set, by name: the parameters without grid and seed."""
        hints, parameters = typing.get_type_hints(cls.__init__), inspect.signature(cls).parameters.values()
        named = [own.name for own in parameters if own.kind is not own.VAR_KEYWORD]
        return {name: hints.get(name, Any) for name in named if name not in ("grid", "features", "seed")}

    @classmethod
    def published_features(cls, config: FeatureConfig) -> FeatureConfig:
        """Return the features that the authors use, from the backbone and image size of a run's `config`."""
        return config

    @classmethod
    def published_scoring(cls, config: ScoringConfig) -> ScoringConfig:
        """Return how the authors score a map, where a run scores its own by `config`."""
        return config

    @abstractmethod
    def fit(self, features: FeatureTable, rows: np.ndarray) -> Baseline:
        """Learn from the normal images in `rows` of `features` and return the baseline itself."""

    @abstractmethod
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return maps (B, H, W) of features (B, L, F), larger is more anomalous; `labels` as in `Detector`."""

    def image_score(self, feat_BLF: Tensor, map_BHW: Tensor, labels: Any = None) -> Tensor | None:
        """Return the method's own image scores (B,) from features and their maps; None to score the maps alone."""
        return None


def locally_averaged(config: FeatureConfig, reductions: tuple[int, ...]) -> FeatureConfig:
    """Return stages that are averaged over 3 x 3 of their own cells, on the grid of stage 8."""
    grid = -(-config.image_size // 8)
    return dataclasses.replace(config, reductions=reductions, grid=grid, local_mean=3, resize="half_pixel")


def baseline(name: str) -> Callable[[type[Baseline]], type[Baseline]]:
    """Register a class as a baseline under a name, which files and the command line use."""
    return lambda cls: BASELINES.add(name, cls)
