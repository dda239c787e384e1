"""From per-token errors to anomaly maps, image scores and a threshold (§3.6, Eq. 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.config import ScoringConfig
from mintad.features.table import FeatureTable


class Detector(Protocol):
    """Anything that turns features into anomaly maps: the models, and their baselines."""

    squared: bool
    """Whether its maps are squared errors (Eq. 7), of which `scoring.distance` = 'root' takes the root. The baselines'
    maps are distances already."""

    def anomaly_map(self, feat_BLF: Tensor) -> Tensor:
        """Map (B, H, W) at the grid's resolution, larger is more anomalous."""
        ...


class Told:
    """A detector that is told the class of every image: `told` for exactly the rows that it will be handed, in this
    order, in batches of any size.

    Args:
        detector: its ``anomaly_map(feat_BLF, told_B)`` takes a slice of `told`, too.
        told: class indices or category names, one a row.
    """

    def __init__(self, detector: Any, told: Sequence[Any]) -> None:
        self.detector, self.told, self.seen = detector, told, 0
        self.squared = detector.squared

    def anomaly_map(self, feat_BLF: Tensor) -> Tensor:
        """Map (B, H, W) of the next B rows.

        Raises:
            ValueError: there are more images than rows told of.
        """
        told_B = self.told[self.seen : self.seen + len(feat_BLF)]
        if len(told_B) < len(feat_BLF):
            raise ValueError("more images than the rows this detector was told of; make a new one to start over")
        self.seen += len(feat_BLF)
        return self.detector.anomaly_map(feat_BLF, told_B)


def grid_maps(
    detector: Detector, features: FeatureTable, rows: np.ndarray, config: ScoringConfig, batch_size: int = 64
) -> np.ndarray:
    """Anomaly maps (n, H, W), float32, of the given rows, at the grid's resolution.

    Args:
        detector: gives the maps.
        features: of the whole data set.
        rows: rows of `features`.
        config: see `ScoringConfig`.
        batch_size: images at a time.
    """
    maps = []
    for start in range(0, len(rows), batch_size):
        map_BHW = detector.anomaly_map(features.gather(rows[start : start + batch_size]))
        maps.append(as_distance(map_BHW, config, squared=detector.squared))
    return np.concatenate(maps)


def as_distance(map_BHW: Tensor, config: ScoringConfig, *, squared: bool) -> np.ndarray:
    """A detector's maps as they are scored, float32 on the CPU: of squared errors the root if `config.distance` is
    'root' (UniAD's code)."""
    map_BHW = map_BHW.float().cpu()
    return (map_BHW.clamp(min=0).sqrt() if squared and config.distance == "root" else map_BHW).numpy()


def upsample(map_BHW: np.ndarray, size: int) -> np.ndarray:
    """Maps (B, size, size), bilinearly interpolated to the input's resolution (§3.6).

    Half-pixel centres (`align_corners=False`): a grid cell covers the image area that its token stands for. That is
    exact for `features.resize` = 'area' and for the stage that has the grid's own resolution. 'bilinear' resizes the
    finer stages with aligned corners, as UniAD does, which moves their samples outwards, by less than half a cell;
    UniAD aligns the corners of its map, too, which moves the coarsest stage instead. Measured with EfficientNet-Lite0
    and a spoiled square of 17 pixels at 35 places of a noise image: the peak lies 4.1 pixels beside the square's
    centre on average this way and 5.2 with aligned corners ('bilinear', 14x14), 4.3 and 4.6 for 'area' on 7x7.
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


def fit_threshold(normal_scores: np.ndarray, quantile: float) -> dict[str, float | int | bool]:
    """Decision threshold from the scores of held-out normal training images; no test image is involved.

    The value is the k-th smallest of the n scores with k = ceil((n + 1) * quantile), split-conformal prediction's
    rank (Vovk et al., 2005). A new normal image, drawn like the held-out ones, is then called anomalous with a
    probability of at most 1 - quantile, on average over draws of the n. The plain quantile promises that only for
    large n. With k > n (n below quantile / (1 - quantile): 19 images for 0.95) no score is high enough: the maximum
    is taken, which a new normal image exceeds with a probability of up to 1 / (n + 1), more than was asked for.

    Returns:
        ``{"value", "quantile", "n", "rank", "reached"}``; an image is called anomalous if its score is above the value.
        `reached` is False where the maximum stands in for the quantile, and `rank` is then n.
    """
    n = len(normal_scores)
    rank = math.ceil((n + 1) * quantile - 1e-9)  # 20 * 0.95 is 19, whatever rounding says
    reached = rank <= n
    rank = min(rank, n)
    value = float(np.sort(normal_scores)[rank - 1])
    return {"value": value, "quantile": quantile, "n": n, "rank": rank, "reached": reached}
