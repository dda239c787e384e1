"""From per-token errors to anomaly maps and image scores (§3.6, Eq. 7)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from mintad.config import ScoringConfig
from mintad.features.table import FeatureTable
from mintad.scoring.region_of_interest import share_of_cells


class Detector(Protocol):
    """Anything that turns features into anomaly maps: the models and the baselines.

    A detector may also have `image_score`, see `mintad.baselines.base.Baseline`.
    """

    returns_squared_error: bool
    """Whether its maps are squared errors (Eq. 7), of which `scoring.distance` = 'root' takes the root. A baseline's
    maps are distances already."""

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return maps (B, H, W) at the grid's resolution, larger is more anomalous.

        `labels` are the class index or name of each image, for a detector that must be given the class.
        """


def grid_maps(
    detector: Detector,
    features: FeatureTable,
    rows: np.ndarray,
    config: ScoringConfig,
    *,
    labels: Sequence[Any] | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Compute the anomaly maps (n, H, W), float32, of some rows of `features`; see `Detector.anomaly_map`.

    Raises:
        ValueError: not as many labels as rows.
    """
    return np.concatenate(
        [
            as_distance(detector.anomaly_map(*batch), config, squared=detector.returns_squared_error)
            for batch in batches(features, rows, labels, batch_size)
        ]
    )


def maps_and_scores(
    detector: Detector,
    features: FeatureTable,
    rows: np.ndarray,
    image_size: int,
    config: ScoringConfig,
    *,
    labels: Sequence[Any] | None = None,
    region: np.ndarray | None = None,
    batch_size: int = 64,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the maps as `grid_maps` does, and image scores (n,): the detector's own, else those of the maps.

    With a region of interest (S, S) all scores are of the maps, because a detector's own are of the whole image. Maps
    with negative values, which only baselines have, are then raised by their lowest one: outside the region they are
    zero, and that must be nowhere higher than inside.
    """
    if region is not None:
        maps_nHW = grid_maps(detector, features, rows, config, labels=labels, batch_size=batch_size)
        maps_nHW -= min(0.0, float(maps_nHW.min()))
        return maps_nHW, image_scores(maps_nHW, image_size, config, region)
    maps, scores = [], []
    for feat_BLF, labels_B in batches(features, rows, labels, batch_size):
        map_BHW = detector.anomaly_map(feat_BLF, labels_B)
        maps.append(as_distance(map_BHW, config, squared=detector.returns_squared_error))
        own = detector.image_score(feat_BLF, map_BHW, labels_B) if hasattr(detector, "image_score") else None
        if own is None:
            scores.append(image_scores(maps[-1], image_size, config))
        else:
            scores.append(own.float().cpu().numpy())
    return np.concatenate(maps), np.concatenate(scores)


def batches(
    features: FeatureTable, rows: np.ndarray, labels: Sequence[Any] | None, batch_size: int
) -> Iterator[tuple[Tensor, Sequence[Any] | None]]:
    """Yield features and labels, batch after batch; raise ValueError if there are not as many labels as rows."""
    if labels is not None and len(labels) != len(rows):
        raise ValueError(f"{len(labels)} labels for {len(rows)} rows")
    for start in range(0, len(rows), batch_size):
        batch = slice(start, start + batch_size)
        yield features.gather(rows[batch]), None if labels is None else labels[batch]


def as_distance(map_BHW: Tensor, config: ScoringConfig, *, squared: bool) -> np.ndarray:
    """Return maps as they are scored, float32 on the CPU: squared errors are rooted if `config.distance` says so."""
    map_BHW = map_BHW.float().cpu()
    return (map_BHW.clamp(min=0).sqrt() if squared and config.distance == "root" else map_BHW).numpy()


def upsample(map_BHW: np.ndarray, size: int, *, blur: float = 0.0, align_corners: bool = False) -> np.ndarray:
    """Interpolate maps bilinearly to the input's resolution (B, size, size) (§3.6), and blur them (`scoring.blur`).

    With half-pixel centres a grid cell covers the image area that its token stands for; UniAD aligns the corners
    (`scoring.align_corners`), which lowers pixel AP on 7x7 tokens and leaves image AUROC as it is.
    Measured with EfficientNet-Lite0 on a spoiled square at 35 places of a noise image: the peak lies 4.1 pixels from
    its centre this way and 5.2 with aligned corners ('bilinear', 14x14), 4.3 and 4.6 for 'area' on 7x7.
    """
    if blur:
        rows_sH, columns_sW = (interpolation_matrix(size, cells, blur, align_corners) for cells in map_BHW.shape[1:])
        return rows_sH @ map_BHW @ columns_sW.T
    tensor_BCHW = torch.as_tensor(map_BHW)[:, None]
    return F.interpolate(tensor_BCHW, size=(size, size), mode="bilinear", align_corners=align_corners)[:, 0].numpy()


@functools.lru_cache
def interpolation_matrix(size: int, cells: int, blur: float = 0.0, align_corners: bool = False) -> np.ndarray:
    """Return the matrix (size, cells) that interpolates and blurs one side of a map; both are linear, side by side."""
    unit_Hs = F.interpolate(torch.eye(cells)[:, None], size, mode="linear", align_corners=align_corners)[:, 0].numpy()
    return (ndimage.gaussian_filter1d(unit_Hs, blur, axis=1) if blur else unit_Hs).T.copy()


def full_maps(
    map_BHW: np.ndarray, image_size: int, config: ScoringConfig, region: np.ndarray | None = None
) -> np.ndarray:
    """Return grid maps in the size in which they are scored (B, S, S), zero outside a region of interest (S, S).

    With a region, the blur averages over its pixels alone (normalised convolution), so that nothing comes in from
    outside but what the interpolation brings: a token at the border lies on both sides of it.
    """
    if region is None or not config.blur:
        map_BSS = upsample(map_BHW, image_size, blur=config.blur, align_corners=config.align_corners)
        return map_BSS if region is None else map_BSS * region
    map_BSS = upsample(map_BHW, image_size, align_corners=config.align_corners) * region
    blur_SS = interpolation_matrix(image_size, image_size, config.blur)
    return blur_SS @ map_BSS @ blur_SS.T * share_after_blur(region, blur_SS)


def share_after_blur(region_SS: np.ndarray, blur_SS: np.ndarray) -> np.ndarray:
    """Return for each pixel of a region by what its blurred value is multiplied (S, S), float32; zero outside."""
    weight_SS = blur_SS @ region_SS.astype(np.float32) @ blur_SS.T
    return np.divide(1, weight_SS, out=np.zeros_like(weight_SS), where=region_SS)


def image_scores(
    map_BHW: np.ndarray, image_size: int, config: ScoringConfig, region: np.ndarray | None = None
) -> np.ndarray:
    """Return image scores (B,) of grid maps.

    'max' is the maximum of the interpolated map (§3.6), 'pooled_max' UniAD's maximum after average pooling with a
    window of `config.pool` pixels (stride 1), 'mean' the grid map's mean (UniAD on CIFAR-10), 'top_mean' the mean of
    its highest tokens, a share of `config.top_share` of them. Outside a region of interest (S, S) maps count as zero,
    and tokens by the share of them that lies in it.
    """
    if region is not None and config.image_score in ("mean", "top_mean"):
        map_BHW = map_BHW * share_of_cells(region, map_BHW.shape[1:])
    if config.image_score == "mean":
        return map_BHW.mean(axis=(1, 2))
    if config.image_score == "top_mean":
        count = max(1, round(config.top_share * map_BHW[0].size))
        return np.sort(map_BHW.reshape(len(map_BHW), -1), axis=1)[:, -count:].mean(axis=1)
    scores = []
    for start in range(0, len(map_BHW), 64):
        batch_BHW = map_BHW[start : start + 64]
        pixels_BHW = torch.from_numpy(full_maps(batch_BHW, image_size, config, region))
        if config.image_score == "pooled_max":
            pixels_BHW = F.avg_pool2d(pixels_BHW[:, None], min(config.pool, image_size), stride=1)[:, 0]
        scores.append(pixels_BHW.flatten(1).amax(dim=1).numpy())
    return np.concatenate(scores)
