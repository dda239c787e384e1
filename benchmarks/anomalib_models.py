"""The paper's baselines as anomalib has them: built around our frozen backbone, trained and asked on pixels in memory.

Each is anomalib's own module with its own losses, optimiser and schedule, run by Lightning's plain trainer. Two things
are ours. The backbone: anomalib's would come from a model hub, so while a model is built, `Stages` takes its
extractor's place. And CFLOW's map, which is put on one scale for all test images (`OneScale`).
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
"""Parts of anomalib's modules that we do ourselves, or not at all."""
MODELS = {
    "padim": lambda: Padim(**BARE),
    "patchcore": lambda: Patchcore(**BARE),
    "cfa": lambda: Cfa("resnet18", **BARE),  # the name stands for layer1 to layer3
    "cflow": lambda: Cflow(**BARE),
    "supersimplenet": lambda: Supersimplenet(**BARE),
}
"""Those with a backbone; DRAEM has none."""
TEST_BATCH = 16


class Stages(nn.Module):
    """A frozen backbone as anomalib's extractor: images -> layer -> map, the layers called as those of a ResNet, layer1
    (a quarter of the resolution) to layer4 (a 32nd), which is what anomalib's models ask for."""

    def __init__(self, features: FeatureConfig, layers: Sequence[str]) -> None:
        super().__init__()
        reductions = tuple(2 ** (int(layer.removeprefix("layer")) + 1) for layer in layers)
        self.backbone = configured_backbone(dataclasses.replace(features, reductions=reductions))
        self.layers, self.out_dims = tuple(layers), list(self.backbone.stage_channels)

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = [stage.contiguous() for stage in self.backbone.network(images)]
        return dict(zip(self.layers, maps, strict=True))


class OneScale(nn.Module):
    """Takes the place of CFLOW's map generator. That one divides by the largest likelihood among the images it is
    handed, so that scores of two batches cannot be compared; here it is asked once, about all images."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator, self.parts = generator, []

    def forward(self, *, distribution: list[Tensor], **sizes: Any) -> Tensor:
        """Nothing (B, 1, 1) yet."""
        self.sizes = sizes
        self.parts.append([likelihood.cpu() for likelihood in distribution])
        return torch.zeros(len(distribution[0]) // (sizes["height"][0] * sizes["width"][0]), 1, 1)

    def maps(self) -> Tensor:
        """Maps (n, H, W) of all images seen."""
        whole = [torch.cat(parts) for parts in zip(*self.parts, strict=True)]
        return self.generator(distribution=whole, **self.sizes)


class Normals(LightningDataModule):
    """Normal training images for Lightning's trainer, every epoch in a new order; `whole` epochs have a last batch that
    may be smaller."""

    def __init__(
        self, pixels_nHW3: np.ndarray, to_input: Callable[[np.ndarray], Tensor], batch: int, whole: bool
    ) -> None:
        super().__init__()
        self.pixels, self.to_input, self.whole = pixels_nHW3, to_input, whole
        self.batch = min(batch, len(pixels_nHW3))

    def train_dataloader(self) -> DataLoader:
        options = {"shuffle": True, "drop_last": not self.whole, "collate_fn": self._batch}
        return DataLoader(range(len(self.pixels)), self.batch, **options)

    def _batch(self, rows: list[int]) -> ImageBatch:
        images_B3HW, labels_B = self.to_input(self.pixels[rows]), torch.zeros(len(rows), dtype=torch.long)
        return ImageBatch(image=images_B3HW, gt_label=labels_B, gt_mask=torch.zeros_like(images_B3HW[:, 0]).bool())


def build(name: str, features: FeatureConfig, textures: Path | None = None) -> AnomalibModule:
    """An untrained model.

    Args:
        name: a key of `MODELS`, or 'draem'.
        features: the backbone, its weights and the size of its input; the model takes the stages that it has in
            anomalib, whatever `features.reductions` says.
        textures: DRAEM's source of anomalies, a folder of images; without it anomalib takes noise.
    """
    if name == "draem":
        with tempfile.TemporaryDirectory() as empty:  # an existing folder: anomalib would download one otherwise
            return Draem(textures or empty, **BARE)
    made_by = "get_feature_extractor" if name == "cfa" else "TimmFeatureExtractor"
    ours = mock.patch(
        f"anomalib.models.image.{name}.torch_model.{made_by}",
        lambda backbone, layers, pre_trained=True: Stages(features, layers),
    )
    with ours:
        model = MODELS[name]()
    if name == "cfa":  # its first layer is as wide as torchvision's backbones
        width = sum(model.model.feature_extractor.out_dims)
        model.model.descriptor.layer = CoordConv2d(width, width, kernel_size=1)
    return model


def to_input(name: str, features: FeatureConfig) -> Callable[[np.ndarray], Tensor]:
    """From 8-bit pixels (B, H, W, 3) to what a model sees (B, 3, H, W): scaled as the backbone was trained, and for
    DRAEM, which has none, to 0..1."""
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
    """Train a model on normal images by its own recipe.

    PaDiM and PatchCore see every image once. The others, whose schedules count epochs, leave out the images that fill
    no batch, others in each epoch.

    Args:
        model: from `build`.
        pixels_nHW3: the images, 8-bit.
        to_input: see there.
        batch: images a step.
        steps: at least so many; epochs are not broken off.
        epochs: so many, whatever `steps` is.
        device: where to train.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no hints, no "GPU available"
    data = Normals(pixels_nHW3, to_input, batch, whole=isinstance(model, MemoryBankMixin))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    place = {"accelerator": "gpu" if torch.device(device).type == "cuda" else "cpu", "devices": 1}
    length = {"max_epochs": epochs or math.ceil(steps / len(data.train_dataloader()))}
    Trainer(**quiet, **{"logger": False, **place, **length, **model.trainer_arguments}).fit(model, datamodule=data)


@torch.no_grad()
def score(
    model: AnomalibModule,
    pixels_nHW3: np.ndarray,
    to_input: Callable[[np.ndarray], Tensor],
    *,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Image scores (n,) and maps (n, H, W) at the images' size, both the model's own.

    Raises:
        MintadError: a score is not a finite number.
    """
    network, is_cflow = model.model.eval().to(device), isinstance(model, Cflow)
    if is_cflow:
        network.anomaly_map_generator = OneScale(network.anomaly_map_generator)
    scores, maps = [], []
    for start in range(0, len(pixels_nHW3), TEST_BATCH):
        found = network(to_input(pixels_nHW3[start : start + TEST_BATCH]).to(device))
        scores.append(found.pred_score.flatten().cpu().numpy())
        maps.append(found.anomaly_map.flatten(0, -3).cpu().numpy())
    if is_cflow:
        maps = [network.anomaly_map_generator.maps().numpy()]
        scores = [maps[0].max(axis=(1, 2))]
        network.anomaly_map_generator = network.anomaly_map_generator.generator
    scores_n, maps_nHW = np.concatenate(scores), np.concatenate(maps)
    if not (np.isfinite(scores_n).all() and np.isfinite(maps_nHW).all()):
        raise MintadError(f"{model.name}: some scores are not finite numbers, so nothing can be ranked by them")
    return scores_n, maps_nHW
