"""From per-token errors to anomaly maps, image scores and a threshold (§3.6, Eq. 7)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.config import ScoringConfig
from mintad.features.table import FeatureTable


class Detector(Protocol):
    """Anything that turns features into anomaly maps: the models, and their peers."""

    def anomaly_map(self, feat_BLF: Tensor) -> Tensor:
        """Map (B, H, W) at the grid's resolution, larger is more anomalous."""
        ...


def grid_maps(
    detector: Detector, features: FeatureTable, rows: np.ndarray, config: ScoringConfig, batch_size: int = 64
) -> np.ndarray:
    """Anomaly maps (n, H, W), float32, of the given rows, at the grid's resolution.

    Args:
        detector: its maps are squared errors; `config.distance` = 'root' takes their square root, as UniAD's code does.
        features: of the whole data set.
        rows: rows of `features`.
        config: see `ScoringConfig`.
        batch_size: images at a time.
    """
    maps = []
    for start in range(0, len(rows), batch_size):
        map_BHW = detector.anomaly_map(features.gather(rows[start : start + batch_size])).float().cpu()
        maps.append((map_BHW.clamp(min=0).sqrt() if config.distance == "root" else map_BHW).numpy())
    return np.concatenate(maps)


def upsample(map_BHW: np.ndarray, size: int) -> np.ndarray:
    """Maps (B, size, size), bilinearly interpolated to the input's resolution (§3.6).

    Half-pixel centres (`align_corners=False`): a grid cell covers the image area that its token stands for.
    """
    tensor_BCHW = torch.as_tensor(map_BHW)[:, None]
    return F.interpolate(tensor_BCHW, size=(size, size), mode="bilinear", align_corners=False)[:, 0].numpy()


def image_scores(map_BHW: np.ndarray, image_size: int, config: ScoringConfig) -> np.ndarray:
    """Image scores (B,) from grid maps.

    'max' is the maximum of the interpolated map (§3.6), 'pooled_max' UniAD's maximum after average pooling with a
    window of `config.pool` pixels (stride 1), 'mean' the map's mean (UniAD on CIFAR-10).
    """
    if config.image_score == "mean":
        return map_BHW.mean(axis=(1, 2))
    scores = []
    for start in range(0, len(map_BHW), 64):
        pixels_BHW = torch.from_numpy(upsample(map_BHW[start : start + 64], image_size))
        if config.image_score == "pooled_max":
            pixels_BHW = F.avg_pool2d(pixels_BHW[:, None], min(config.pool, image_size), stride=1)[:, 0]
        scores.append(pixels_BHW.flatten(1).amax(dim=1).numpy())
    return np.concatenate(scores)


def fit_threshold(normal_scores: np.ndarray, quantile: float) -> dict[str, float | int]:
    """Decision threshold from the scores of held-out normal training images; no test image is involved.

    Returns:
        ``{"value", "quantile", "n"}``; an image is called anomalous if its score is above the value. With n held-out
        images the expected share of false alarms on new normals is about (1 - quantile), known to within 1 / sqrt(n)
        or so.
    """
    value = float(np.quantile(normal_scores, quantile, method="higher"))
    return {"value": value, "quantile": quantile, "n": len(normal_scores)}
