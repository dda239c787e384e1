"""Build anomalib's models around our frozen backbone, train them and score images, all on pixels in memory.

Each model is anomalib's own module with its own losses, optimiser and schedule, run by Lightning's plain trainer. Two
things are ours. The first is the backbone: anomalib's would come from a model hub, so `Stages` replaces its extractor
while a model is built. The second is CFLOW's map, which gets one scale for all test images (`OneScale`).
"""

from __future__ import annotations

import dataclasses
import logging
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mintad.config import FeatureConfig
from mintad.errors import MintadError
from mintad.runs.prepare import configured_backbone

try:
    from anomalib.data import ImageBatch
    from anomalib.models.components import AnomalibModule, MemoryBankMixin
    from anomalib.models.image import Cfa, Cflow, Draem, Padim, Patchcore, Supersimplenet
    from anomalib.models.image.cfa.torch_model import CoordConv2d
    from lightning.pytorch import LightningDataModule, Trainer
except ImportError as error:
    raise MintadError(f'anomalib\'s models need anomalib ({error}): pip install "mintad[anomalib]"') from None

BARE = dict.fromkeys(("pre_processor", "post_processor", "evaluator", "visualizer"), False)
"""Parts of anomalib's modules that are switched off, because we do this ourselves or not at all."""
MODELS = {
    "padim": lambda: Padim(**BARE),
    "patchcore": lambda: Patchcore(**BARE),
    "cfa": lambda: Cfa("resnet18", **BARE),  # this name selects layer1 to layer3
    "cflow": lambda: Cflow(**BARE),
    "supersimplenet": lambda: Supersimplenet(**BARE),
}
"""Models with a backbone; DRAEM has none."""
TEST_BATCH = 16
"""Images scored at a time."""


class Stages(nn.Module):
    """A frozen backbone with the interface of anomalib's extractors.

    The layers have the names of a ResNet's, because anomalib's models ask for these: layer1 (a quarter of the
    resolution) to layer4 (a 32nd).
    """

    def __init__(self, features: FeatureConfig, layers: Sequence[str]) -> None:
        super().__init__()
        reductions = tuple(2 ** (int(layer.removeprefix("layer")) + 1) for layer in layers)
        self.backbone = configured_backbone(dataclasses.replace(features, reductions=reductions))
        self.layers, self.out_dims = tuple(layers), list(self.backbone.stage_channels)

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the map (B, C, h, w) of each layer of images (B, 3, H, W)."""
        maps = [stage.contiguous() for stage in self.backbone.network(images)]
        return dict(zip(self.layers, maps, strict=True))


class OneScale(nn.Module):
    """CFLOW's map generator, run once on all images.

    It divides by the largest likelihood among the images that it gets. Run per batch, as in anomalib, it would give
    scores that cannot be compared between batches.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator, self.parts = generator, []

    def forward(self, *, distribution: list[Tensor], **sizes: Any) -> Tensor:
        """Keep the likelihoods of a batch and return zeros (B, 1, 1); `maps` returns the maps."""
        self.sizes = sizes
        self.parts.append([likelihood.cpu() for likelihood in distribution])
        return torch.zeros(len(distribution[0]) // (sizes["height"][0] * sizes["width"][0]), 1, 1)

    def maps(self) -> Tensor:
        """Return the maps (n, H, W) of all images so far."""
        distribution = [torch.cat(parts) for parts in zip(*self.parts, strict=True)]
        return self.generator(distribution=distribution, **self.sizes)


class Normals(LightningDataModule):
    """Normal training images for Lightning's trainer, in a new order in every epoch.

    Args:
        pixels_nHW3: the images, 8-bit.
        to_input: from `to_input`.
        batch: images per step.
        whole: keep a last batch that is smaller, so that an epoch has all images.
    """

    def __init__(
        self, pixels_nHW3: np.ndarray, to_input: Callable[[np.ndarray], Tensor], batch: int, whole: bool
    ) -> None:
        super().__init__()
        self.pixels, self.to_input, self.whole = pixels_nHW3, to_input, whole
        self.batch = min(batch, len(pixels_nHW3))

    def train_dataloader(self) -> DataLoader:
        """Return a loader of shuffled batches."""
        options = {"shuffle": True, "drop_last": not self.whole, "collate_fn": self._batch}
        return DataLoader(range(len(self.pixels)), self.batch, **options)

    def _batch(self, rows: list[int]) -> ImageBatch:
        images_B3HW, labels_B = self.to_input(self.pixels[rows]), torch.zeros(len(rows), dtype=torch.long)
        return ImageBatch(image=images_B3HW, gt_label=labels_B, gt_mask=torch.zeros_like(images_B3HW[:, 0]).bool())


def build(name: str, features: FeatureConfig, textures: Path | None = None) -> AnomalibModule:
    """Build an untrained model.

    Args:
        name: a key of `MODELS`, or 'draem'.
        features: the backbone, its weights and its input size. The stages are those that the model has in anomalib,
            whatever `features.reductions` says.
        textures: folder of images for DRAEM's synthetic anomalies; without it anomalib uses noise.
    """
    if name == "draem":
        with tempfile.TemporaryDirectory() as empty:  # anomalib downloads textures if the folder does not exist
            return Draem(textures or empty, **BARE)
    factory = "get_feature_extractor" if name == "cfa" else "TimmFeatureExtractor"
    with_our_backbone = mock.patch(
        f"anomalib.models.image.{name}.torch_model.{factory}",
        lambda backbone, layers, pre_trained=True: Stages(features, layers),
    )
    with with_our_backbone:
        model = MODELS[name]()
    if name == "cfa":  # anomalib sets the width of its first layer for torchvision's backbones
        width = sum(model.model.feature_extractor.out_dims)
        model.model.descriptor.layer = CoordConv2d(width, width, kernel_size=1)
    return model


def to_input(name: str, features: FeatureConfig) -> Callable[[np.ndarray], Tensor]:
    """Return the function from 8-bit pixels (B, H, W, 3) to a model's input (B, 3, H, W).

    It scales as the backbone's training did, and for DRAEM, which has no backbone, to 0..1.
    """
    if name == "draem":
        return lambda pixels_BHW3: torch.from_numpy(pixels_BHW3).permute(0, 3, 1, 2).float().div(255)
    return configured_backbone(features).normalise


def fit(
    model: AnomalibModule,
    pixels_nHW3: np.ndarray,
    to_input: Callable[[np.ndarray], Tensor],
    *,
    batch: int,
    steps: int,
    epochs: int | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Train a model on normal images with its own recipe.

    PaDiM and PatchCore see every image once. The schedules of the others count epochs. In each epoch they leave out the
    images that do not fill a batch, which are different ones every time.

    Args:
        model: from `build`.
        pixels_nHW3: the images, 8-bit.
        to_input: from `to_input`.
        batch: images per step.
        steps: at least so many steps; the last epoch is completed.
        epochs: exactly so many epochs, whatever `steps` is.
        device: where to train.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no hints, no "GPU available"
    data = Normals(pixels_nHW3, to_input, batch, whole=isinstance(model, MemoryBankMixin))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    hardware = {"accelerator": "gpu" if torch.device(device).type == "cuda" else "cpu", "devices": 1}
    length = {"max_epochs": epochs or math.ceil(steps / len(data.train_dataloader()))}
    Trainer(**quiet, **{"logger": False, **hardware, **length, **model.trainer_arguments}).fit(model, datamodule=data)


@torch.no_grad()
def score(
    model: AnomalibModule,
    pixels_nHW3: np.ndarray,
    to_input: Callable[[np.ndarray], Tensor],
    *,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Return a model's own image scores (n,) and maps (n, H, W), which have the size of the images.

    Raises:
        MintadError: a score is not a finite number.
    """
    network, is_cflow = model.model.eval().to(device), isinstance(model, Cflow)
    if is_cflow:
        network.anomaly_map_generator = OneScale(network.anomaly_map_generator)
    scores, maps = [], []
    for start in range(0, len(pixels_nHW3), TEST_BATCH):
        prediction = network(to_input(pixels_nHW3[start : start + TEST_BATCH]).to(device))
        scores.append(prediction.pred_score.flatten().cpu().numpy())
        maps.append(prediction.anomaly_map.flatten(0, -3).cpu().numpy())
    if is_cflow:
        maps = [network.anomaly_map_generator.maps().numpy()]
        scores = [maps[0].max(axis=(1, 2))]
        network.anomaly_map_generator = network.anomaly_map_generator.generator
    scores_n, maps_nHW = np.concatenate(scores), np.concatenate(maps)
    if not (np.isfinite(scores_n).all() and np.isfinite(maps_nHW).all()):
        raise MintadError(f"{model.name}: some scores are not finite numbers, so they cannot rank images")
    return scores_n, maps_nHW
