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

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mintad.config import SharpPriorConfig
from mintad.errors import ConfigError, MintadError
from mintad.features.table import FeatureTable
from mintad.model.reconstruction import Output, ReconstructionModel

SCORES = {
    "reconstruction": "reconstruction error (Eq. 7)",
    "gaussian": "sharp prior (ours)",
    "both": "both (ours)",
}
"""Values of `scoring.score`, with the words that a table adds to the model's name."""
BATCH = 64
COMPARED_SIDE = 7
"""Images are compared by maps of about this side: coarse, because fine detail never matches exactly."""
FOLDS, POSITIONS = 5, 4  # of `typical_distance`: folds of the images, and every how many-th position
SMALL_WEIGHT = 1e-3
"""A class with less probability than this is not scored."""


def score_method(variant: str, score: str) -> str:
    """Return the name of the method in results: "mint_ad" is the paper's score, "mint_ad+gaussian" one of ours."""
    return variant if score == "reconstruction" else f"{variant}+{score}"


class ClassGaussians(nn.Module):
    """The Gaussians of one class. The class's normal images are kept, as float16, to recentre new ones.

    Args:
        feat_nLF: features of the class's normal images.
        grid: (H, W), with L = H * W.
        config: how they are fitted.
    """

    def __init__(self, feat_nLF: Tensor, grid: tuple[int, int], config: SharpPriorConfig) -> None:
        super().__init__()
        self.grid, self.config = grid, config
        self.register_buffer("images_nLF", feat_nLF)
        for scale in config.scales:
            self.register_buffer(f"whiten{scale}_LFF", None)
            self.register_buffer(f"typical{scale}", None)

    @torch.no_grad()
    def fit(self) -> ClassGaussians:
        """Fit the Gaussians to the class's images, each recentred by the others, and return them."""
        batches = torch.arange(len(self.images_nLF), device=self.images_nLF.device).split(BATCH)
        residual_nLF = torch.cat([self._recentred(self.images_nLF[rows].float(), own=rows) for rows in batches])
        for scale in self.config.scales:
            coarse_nLF = self._pooled(residual_nLF, scale)
            setattr(self, f"whiten{scale}_LFF", whitening(coarse_nLF, self.config.ridge))
            setattr(self, f"typical{scale}", typical_distance(coarse_nLF, self.config.ridge))
        return self

    @torch.no_grad()
    def distance(self, feat_BLF: Tensor) -> Tensor:
        """Return squared Mahalanobis distances (B, L), in units of what a new normal image of the class has on average.

        In these units the scales, and the classes, can be added and compared; see `typical_distance`.
        """
        residual_BLF, distance_BL = self._recentred(feat_BLF), torch.zeros(feat_BLF.shape[:2], device=feat_BLF.device)
        for scale in self.config.scales:
            whiten_LFF, typical = getattr(self, f"whiten{scale}_LFF"), getattr(self, f"typical{scale}")
            coarse_BL = mahalanobis(self._pooled(residual_BLF, scale), whiten_LFF) / typical
            map_B1HW = coarse_BL.unflatten(1, self._coarse(scale))[:, None]
            distance_BL += F.interpolate(map_B1HW, size=self.grid, mode="bilinear").flatten(1)
        return distance_BL / len(self.config.scales)

    def _recentred(self, feat_BLF: Tensor, own: Tensor | None = None) -> Tensor:
        """Return the tokens less the mean of the most similar images of the class at their position.

        `own` are the numbers of the images where they are the class's own: an image is no neighbour of itself.
        """
        others = len(self.images_nLF) - (own is not None)
        if self.config.neighbours and others:
            distance_Bn = torch.cdist(self._compared(feat_BLF), self._compared_images)
            if own is not None:
                distance_Bn[torch.arange(len(own)), own] = torch.inf
            nearest_BK = distance_Bn.topk(min(self.config.neighbours, others), largest=False).indices
            return feat_BLF - self.images_nLF[nearest_BK].float().mean(dim=1)
        if own is not None and not others:  # a single image shows only how its positions differ
            return feat_BLF - feat_BLF.mean(dim=1, keepdim=True)
        return feat_BLF - self.images_nLF.float().mean(dim=0)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ClassGaussians:
        """Move or convert the buffers, and forget what was computed from them on another device."""
        self.__dict__.pop("_compared_images", None)
        self.__dict__.pop("_deviation_F", None)
        return super()._apply(fn, recurse)

    @functools.cached_property
    def _compared_images(self) -> Tensor:
        return self._compared(self.images_nLF.float())

    def _compared(self, feat_BLF: Tensor) -> Tensor:
        """Return what images are compared by: coarse maps (B, l * F), in units of each channel's deviation."""
        coarse_BlF = self._pooled(feat_BLF, -(-max(self.grid) // COMPARED_SIDE))
        return (coarse_BlF / self._deviation_F).flatten(1)

    @functools.cached_property
    def _deviation_F(self) -> Tensor:
        return self.images_nLF.float().flatten(0, 1).std(dim=0, correction=0).clamp(min=1e-6)

    def _coarse(self, scale: int) -> tuple[int, int]:
        return tuple(-(-side // scale) for side in self.grid)

    def _pooled(self, feat_BLF: Tensor, scale: int) -> Tensor:
        """Average tokens (B, L, F) over squares of side `scale`."""
        if scale == 1:
            return feat_BLF
        maps_BFHW = feat_BLF.transpose(1, 2).unflatten(2, self.grid)
        return F.adaptive_avg_pool2d(maps_BFHW, self._coarse(scale)).flatten(2).transpose(1, 2)


def whitening(residual_nLF: Tensor, ridge: float) -> Tensor:
    """Fit a covariance at every position and return W (L, F, F) with |W r|^2 = r^T C^-1 r, the Mahalanobis distance.

    C = (1 - a) S + a T, where S is the covariance at the position, T its mean over the positions, and a, one weight
    for all positions, Ledoit and Wolf's estimate (2004): the squared error of S over its squared distance from T. One
    or two images say nothing about that error, so a is 1 for them. `ridge` is then the share of a multiple of the
    identity, because with few images C may be singular.
    """
    n, eye_FF = len(residual_nLF), torch.eye(residual_nLF.shape[2], device=residual_nLF.device)
    residual_LnF = residual_nLF.transpose(0, 1)
    sample_LFF = residual_LnF.mT @ residual_LnF / n
    pooled_FF = sample_LFF.mean(dim=0)
    error = (residual_nLF.square().sum(-1).square().mean(0) - sample_LFF.square().sum((1, 2))).sum() / n
    distance = (sample_LFF - pooled_FF).square().sum()
    weight = (error / distance).clamp(0, 1) if n > 2 and distance > 0 else 1.0
    covariance_LFF = (1 - weight) * sample_LFF + weight * pooled_FF
    variance = pooled_FF.diagonal().mean().clamp(min=1e-12)
    covariance_LFF = ((1 - ridge) * covariance_LFF + ridge * variance * eye_FF).double()
    factor_LFF = torch.linalg.cholesky(covariance_LFF)
    inverse_LFF = torch.linalg.solve_triangular(factor_LFF, eye_FF.double().expand_as(factor_LFF), upper=False)
    return inverse_LFF.float()


def typical_distance(residual_nLF: Tensor, ridge: float) -> Tensor:
    """Estimate the mean Mahalanobis distance of new normal images by cross-validation over the images.

    The images that a covariance was fitted to lie too close, the fewer the closer: with 40 images and 192 channels, new
    ones are several times as far. Every fourth position is enough for a mean. A single image is its own estimate.
    """
    residual_nLF = residual_nLF[:, :: POSITIONS if residual_nLF.shape[1] >= 4 * POSITIONS else 1]
    fold_n = torch.arange(len(residual_nLF), device=residual_nLF.device) % min(FOLDS, len(residual_nLF))
    held_out = [
        mahalanobis(residual_nLF[fold_n == fold], whitening(residual_nLF[fold_n != fold], ridge))
        for fold in range(int(fold_n.max()) + 1)
        if len(residual_nLF) > 1
    ]
    distances_nL = torch.cat(held_out) if held_out else mahalanobis(residual_nLF, whitening(residual_nLF, ridge))
    return distances_nL.mean().clamp(min=1e-12)


def mahalanobis(residual_BLF: Tensor, whiten_LFF: Tensor) -> Tensor:
    """Return the squared Mahalanobis distances (B, L) of residuals (B, L, F)."""
    return (residual_BLF.transpose(0, 1) @ whiten_LFF.mT).square().sum(dim=-1).T


class SharpPrior(nn.Module):
    """The Gaussians of all classes.

    Args:
        classes: one per class of the model's head; a single one for a model without classes.
    """

    def __init__(self, classes: Sequence[ClassGaussians]) -> None:
        super().__init__()
        self.classes = nn.ModuleList(classes)
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

        Of a class with more than `config.images` images, that many are drawn from `seed`. For 14 x 14 tokens of 192
        channels, a class keeps 36 MB of covariances and 75 kB per image.
        """
        rng, classes = np.random.default_rng([seed, 2]), []
        for label in range(labels.max() + 1):
            chosen = rows[labels == label]
            if len(chosen) > config.images:
                chosen = np.sort(rng.choice(chosen, config.images, replace=False))
            parts = [features.gather(chosen[start : start + BATCH]) for start in range(0, len(chosen), BATCH)]
            fits = all(part.abs().amax() <= torch.finfo(torch.float16).max for part in parts)
            feat_nLF = torch.cat([part.half() if fits else part for part in parts])
            classes.append(ClassGaussians(feat_nLF, grid, config).fit())
        return cls(classes)

    def distance(self, feat_BLF: Tensor, weights_BN: Tensor) -> Tensor:
        """Return distances (B, L) of features (B, L, F), averaged over the classes with their weights (B, N)."""
        distance_BL = torch.zeros(feat_BLF.shape[:2], device=feat_BLF.device)
        for gaussians, weight_B in zip(self.classes, weights_BN.T, strict=True):
            mine = weight_B > SMALL_WEIGHT
            if mine.any():
                distance_BL[mine] += weight_B[mine, None] * gaussians.distance(feat_BLF[mine])
        return distance_BL

    def save(self, file: Path) -> None:
        """Write the Gaussians into a safetensors file."""
        first = self.classes[0]
        about = {"grid": list(first.grid), "config": asdict(first.config), "classes": len(self.classes)}
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        part = file.with_name(f".{file.name}.tmp")  # renamed when complete
        part.write_bytes(save(tensors, metadata={"about": json.dumps(about)}))
        part.replace(file)

    @classmethod
    def load(cls, file: Path) -> SharpPrior:
        """Read the Gaussians that `save` wrote; raise MintadError if the file is missing or damaged."""
        try:
            with safe_open(file, framework="pt") as opened:
                about = json.loads(opened.metadata()["about"])
            tensors, grid, config = load_file(file), tuple(about["grid"]), SharpPriorConfig(**about["config"])
            classes = []
            for k in range(about["classes"]):
                prefix = f"classes.{k}."
                own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
                gaussians = ClassGaussians(own.pop("images_nLF"), grid, config)
                for name, value in own.items():
                    setattr(gaussians, name, value)
                classes.append(gaussians)
            prior = cls(classes)
            prior.typical_error.copy_(tensors["typical_error"])
        except (OSError, SafetensorError, ConfigError, KeyError, TypeError, ValueError) as error:
            fix = "mintad evaluate writes it anew"
            raise MintadError(f"the Gaussians cannot be read ({error})", path=file, fix=fix) from error
        return prior


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
        output = self.model(feat_BLF, labels_B=labels_B)
        grid = self.prior.classes[0].grid
        map_BHW = self.prior.distance(feat_BLF, self.class_weights(output, labels_B)).unflatten(1, grid)
        if self.score == "gaussian":
            return map_BHW
        error_B1HW = output.token_error.unflatten(1, self.model.grid)[:, None] / self.prior.typical_error
        return (map_BHW + F.interpolate(error_B1HW, size=grid, mode="bilinear")[:, 0]) / 2

    def class_weights(self, output: Output, labels_B: Tensor | None) -> Tensor:
        """Return the weight (B, N) of every class: 1 for the class that is told or predicted, or its probability."""
        count = len(self.prior.classes)
        if count == 1:
            return output.target.new_ones(len(output.target), 1)
        if labels_B is not None:
            return F.one_hot(labels_B, count).float()
        if self.prior.classes[0].config.weighted:
            return output.class_logits.softmax(dim=-1)
        return F.one_hot(output.class_logits.argmax(dim=-1), count).float()
