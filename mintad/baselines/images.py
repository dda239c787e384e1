"""Baselines that learn from the images themselves: decoded when they are needed, at a size of the method's own."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mintad.baselines.training import TrainedBaseline
from mintad.config import FeatureConfig
from mintad.errors import ConfigError, nearest
from mintad.features.backbone import Backbone, build_backbone, read_pixels


class ImageTable:
    """Images of a record table, row for row, in the place of its `FeatureTable`.

    Nothing is kept: memory holds the images that were asked for. Any stored size is brought to `size`.

    Args:
        paths: image files.
        size: side S in pixels.
        device: on which `gather` puts its result.
    """

    def __init__(self, paths: Sequence[str], size: int, device: torch.device | str = "cpu") -> None:
        self.paths, self.size, self.device = np.asarray(paths, dtype=object), size, torch.device(device)

    def __len__(self) -> int:
        return len(self.paths)

    def gather(self, indices: np.ndarray | Sequence[int]) -> Tensor:
        """Decode the images (B, 3, S, S), float32 from 0 to 1, of row numbers.

        Raises:
            DataError: see `mintad.features.backbone.read_pixels`.
        """
        paths = self.paths[np.asarray(indices, dtype=np.int64)]
        pixels_BSS3 = np.stack([read_pixels(path, self.size) for path in paths])
        return torch.from_numpy(pixels_BSS3).to(self.device).permute(0, 3, 1, 2).float().div_(255).contiguous()


@dataclasses.dataclass(frozen=True)
class Setting:
    """How large and how long a training on images is."""

    image_size: int
    """Side S of the images, pixels."""
    width: int
    """Channels of what the method adds to the backbone; each method says of what."""
    steps: int
    images: int
    """Images in a step, before the method adds changed ones."""
    rate: float
    """Learning rate."""


class ImageBaseline(TrainedBaseline):
    """A baseline that reads images (B, 3, S, S) where the others read features, with values from 0 to 1.

    `fit`, `anomaly_map` and `image_score` are given images; the maps may have any resolution. A subclass has its
    `settings`, and builds its networks in `prepare`.

    Args:
        features: the run's, of which the backbone and its weights count; the images' size is the setting's.
        setting: 'lesson', minutes on two cores, or 'paper', about the published size and length, for a GPU: epochs were
            turned into steps for a category of 240 images.
        seed: of initial weights, batches and augmentations.
        changes: fields of `Setting` that differ.

    Raises:
        ConfigError: an unknown setting or field, or one that the method does not use.
    """

    reads_images = True
    settings: ClassVar[dict[str, Setting]]
    unused: ClassVar[tuple[str, ...]] = ()
    """Fields of `Setting` that say nothing here."""
    reductions: ClassVar[tuple[int, ...]] = ()
    """The backbone's stages that it uses, by their reduction; none for a method with networks of its own."""

    def __init__(self, features: FeatureConfig, *, setting: str = "lesson", seed: int = 0, **changes: Any) -> None:
        if setting not in self.settings:
            raise ConfigError(f"{self.title} has no setting '{setting}'." + nearest(setting, self.settings))
        for name in changes.keys() - self.option_types().keys():
            raise ConfigError(f"{self.title} has no option '{name}'." + nearest(name, self.option_types()))
        self.setting = dataclasses.replace(self.settings[setting], **changes)
        side = self.setting.image_size
        super().__init__((side, side), steps=self.setting.steps, images=self.setting.images, seed=seed)
        self.features = features

    @classmethod
    def option_types(cls) -> dict[str, Any]:
        """Return the types of what `baselines.options` may set, by name: the setting, and the fields of `Setting`."""
        fields = typing.get_type_hints(Setting).items()
        used = {name: hint for name, hint in fields if name not in cls.unused}
        return super().option_types() | {"setting": str} | used

    def begin(self, table: ImageTable, rows: np.ndarray) -> None:
        """Note the device; images need no scale."""
        self.device = table.device

    def new_backbone(self, weights: str | None = None) -> Backbone:
        """Build the run's backbone for images of the setting's size, on the grid of the last of its `reductions`.

        `weights` replaces the run's.

        Raises:
            ConfigError, WeightsError: see `build_backbone`; or its maps have their channels last, as Swin's have.
        """
        size, grid = self.setting.image_size, -(-self.setting.image_size // self.reductions[-1])
        options = {"image_size": size, "grid": grid, "reductions": self.reductions, "resize": "half_pixel"}
        backbone = build_backbone(self.features.backbone, weights=weights or self.features.weights, **options)
        if backbone.channels_last:
            problem = (
                f"{self.title} cannot use the backbone {self.features.backbone}: its maps have their channels last"
            )
            raise ConfigError(problem, fix="choose another backbone, or leave the baseline out")
        return backbone

    def batches(self, table: ImageTable, rows: np.ndarray) -> Iterator[Tensor]:
        """Yield the images of `rows` in their order, as many at a time as in a step."""
        for first in range(0, len(rows), self.images):
            yield table.gather(rows[first : first + self.images])


def normalised(images_B3SS: Tensor, backbone: Backbone) -> Tensor:
    """Return images from 0 to 1 as a backbone's network was trained on them."""
    mean_311, std_311 = (value.to(images_B3SS.device) for value in backbone.mean_and_std())
    return (images_B3SS - mean_311) / std_311
