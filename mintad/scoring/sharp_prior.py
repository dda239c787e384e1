"""The sharp prior: a Gaussian with full covariance for each class and position (ours, not the paper's).

The paper fits a diagonal Gaussian to the adapted features (Eqs 2-4), calls it fuzzy, and scores without it (Eq. 7). Its
App. C.1 estimates the prior "using statistics", which needs no training: this module does so, on the features of the
backbone, after the training. The class of a test image comes from the model's own head, so no label is needed.

What it adds to PaDiM, which has one Gaussian per position for all classes:

* **The class.** On eight real categories it brings .02 of image AUROC, and .055 without the recentring (see below).
* **Shrinkage that is estimated.** A class may have 50 images for 192 channels. Ledoit and Wolf's weight (2004) mixes
  each position's covariance with the mean over the class's positions, which is their target here instead of a
  multiple of the identity, because it knows how the channels vary together.
* **Recentring.** What a token should be is not the class's mean at its position but the mean of the most similar normal
  images of the class. A texture has no fixed positions, and a part may lie in any direction.
* **Two scales.** Tokens, and means of 2 x 2 tokens, which show larger defects.

Letters: n images of a class, L tokens, F channels, N classes, B images of a batch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.config import SharpPriorConfig
from mintad.features.table import FeatureTable
from mintad.model.precision import joined_in_float16
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.scoring.class_gaussians import BATCH, ClassGaussians
from mintad.scoring.sealed_tensors import opened_sealed, save_sealed

SCORES = {
    "reconstruction": "reconstruction error (Eq. 7)",
    "gaussian": "sharp prior (ours)",
    "both": "both (ours)",
}
"""Values of `scoring.score`, with the words that a table adds to the model's name."""
SMALL_WEIGHT = 1e-3
"""A class with less probability than this is not scored."""


def score_method(variant: str, score: str) -> str:
    """Return the name of the method in results: "mint_ad" is the paper's score, "mint_ad+gaussian" one of ours."""
    return variant if score == "reconstruction" else f"{variant}+{score}"


def split_method(method: str) -> tuple[str, str]:
    """Return the variant and the score of a method that `score_method` named; a baseline is a variant of one score."""
    variant, _, score = method.partition("+")
    return variant, score or "reconstruction"


class SharpPrior(nn.Module):
    """The Gaussians of all classes.

    Args:
        classes: one per class of the model's head; a single one for a model without classes.
        channels_K: numbers of the K channels that the Gaussians are of, see `SharpPriorConfig.channels`.
    """

    def __init__(self, classes: Sequence[ClassGaussians], channels_K: Tensor) -> None:
        super().__init__()
        self.classes = nn.ModuleList(classes)
        self.register_buffer("channels_K", channels_K)
        self.register_buffer("typical_error", torch.ones(()))  # mean reconstruction error, the unit in 'both'

    @classmethod
    def fit(
        cls,
        features: FeatureTable,
        rows: np.ndarray,
        labels: np.ndarray,
        grid: tuple[int, int],
        config: SharpPriorConfig,
        *,
        seed: int = 0,
    ) -> SharpPrior:
        """Fit the Gaussians of every class to the normal images in `rows` of `features`, with class indices `labels`.

        Of a class with more than `config.images` images, that many are drawn from `seed`, and so are the channels if
        there are more than `config.channels`. For 14 x 14 tokens of 192 channels, a class keeps 36 MB of covariances
        and 75 kB per image.
        """
        rng, classes = np.random.default_rng([seed, 2]), []
        count = min(config.channels or features.channels, features.channels)
        chosen_K = np.random.default_rng([seed, 3]).choice(features.channels, count, replace=False)
        channels_K = torch.from_numpy(np.sort(chosen_K))
        for label in range(labels.max() + 1):
            chosen = rows[labels == label]
            if len(chosen) > config.images:
                chosen = np.sort(rng.choice(chosen, config.images, replace=False))
            batches = (chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH))
            parts = [of_channels(features.gather(batch), channels_K) for batch in batches]
            classes.append(ClassGaussians(joined_in_float16(parts), grid, config).fit())
        return cls(classes, channels_K)

    def distance(self, feat_BLF: Tensor, weights_BN: Tensor) -> Tensor:
        """Return distances (B, L) of features (B, L, F), averaged over the classes with their weights (B, N)."""
        feat_BLF = of_channels(feat_BLF, self.channels_K)
        distance_BL = torch.zeros(feat_BLF.shape[:2], device=feat_BLF.device)
        for gaussians, weight_B in zip(self.classes, weights_BN.T, strict=True):
            mine = weight_B > SMALL_WEIGHT
            if mine.any():
                distance_BL[mine] += weight_B[mine, None] * gaussians.distance(feat_BLF[mine])
        return distance_BL

    def save(self, file: Path, weights: str | None = None) -> None:
        """Write the Gaussians into a safetensors file; `weights` identifies the weights of the model they belong to."""
        first = self.classes[0]
        about = {"grid": list(first.grid), "config": asdict(first.config), "classes": len(self.classes)}
        save_sealed(file, self.state_dict(), json.dumps(about | {"weights": weights}))

    @classmethod
    def load(cls, file: Path, weights: str | None = None) -> SharpPrior:
        """Read the Gaussians that `save` wrote.

        Raises:
            MintadError: the file is missing, of an older version, was changed, or belongs to other `weights`, where
                both are known.
        """
        with opened_sealed(file, "the Gaussians") as (tensors, text):
            about, classes = json.loads(text), []
            grid, config = tuple(about["grid"]), SharpPriorConfig(**about["config"])
            if weights and about.get("weights") not in (None, weights):
                raise ValueError("they belong to the weights of another model")
            for k in range(about["classes"]):
                prefix = f"classes.{k}."
                own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
                gaussians = ClassGaussians(own.pop("normal.images_nLF"), grid, config)
                for name, value in own.items():
                    setattr(gaussians, name, value)
                classes.append(gaussians)
            prior = cls(classes, tensors["channels_K"])
            prior.typical_error.copy_(tensors["typical_error"])
        return prior


def of_channels(feat_BLF: Tensor, channels_K: Tensor) -> Tensor:
    """Return the chosen channels (B, L, K), without a copy where all are chosen."""
    return feat_BLF if len(channels_K) == feat_BLF.shape[2] else feat_BLF[..., channels_K.to(feat_BLF.device)]


class SharpPriorDetector:
    """A trained model scored by the sharp prior, alone or together with the reconstruction error (Eq. 7).

    Args:
        model: it predicts the class, and reconstructs; in evaluation mode.
        prior: fitted to features of a grid that the model's own divides.
        score: 'gaussian' or 'both': the mean of both maps, each in units of its mean over normal images.
    """

    returns_squared_error = True

    def __init__(self, model: ReconstructionModel, prior: SharpPrior, *, score: str = "gaussian") -> None:
        self.model, self.prior, self.score = model, prior.to(model.output.weight.device), score

    @torch.no_grad()
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the maps (B, H, W) of features (B, L, F), see `mintad.scoring.maps.Detector`.

        With `labels` the class is told; without, the model's head gives it.
        """
        device = self.model.output.weight.device
        feat_BLF, labels_B = feat_BLF.to(device), None if labels is None else torch.as_tensor(labels, device=device)
        return self.map_of(feat_BLF, self.model(feat_BLF, labels_B=labels_B), labels_B)

    def map_of(self, feat_BLF: Tensor, output: Output, labels_B: Tensor | None = None) -> Tensor:
        """Return the maps (B, H, W) of features (B, L, F) for which the model gave `output`."""
        gaussians = self.prior.classes[0]
        of_residuals, grid = gaussians.config.input == "residuals", gaussians.grid
        described_BLF = output.residual if of_residuals else feat_BLF
        map_BHW = self.prior.distance(described_BLF, self.class_weights(output, labels_B)).unflatten(1, grid)
        if self.score == "gaussian":
            return map_BHW
        error_B1HW = output.token_error.unflatten(1, self.model.grid)[:, None] / self.prior.typical_error
        return (map_BHW + F.interpolate(error_B1HW, size=grid, mode="bilinear")[:, 0]) / 2

    def class_weights(self, output: Output, labels_B: Tensor | None) -> Tensor:
        """Return the weight (B, N) of every class: 1 for the class that is told or predicted, or its probability."""
        count = len(self.prior.classes)
        if count == 1:
            return torch.ones_like(
                output.target[:, 0, :1]
            )  # no len(): an exporter would take this batch's size for all
        if labels_B is not None:
            return F.one_hot(labels_B, count).float()
        if self.prior.classes[0].config.weighted:
            return output.class_logits.softmax(dim=-1)
        return F.one_hot(output.class_logits.argmax(dim=-1), count).float()


ModelDetector = ReconstructionModel | SharpPriorDetector
"""A detector that makes its map of a model's output: the model itself, or one with a sharp prior."""
