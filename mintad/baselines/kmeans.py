"""k-means: distance to the nearest of a few centres of normal tokens (Lloyd, IEEE Trans. Inf. Theory 1982)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintad.baselines.base import Baseline, baseline
from mintad.baselines.memory import draw_tokens, nearest_distance, relative_distances
from mintad.errors import DataError
from mintad.features.table import FeatureTable


@baseline("kmeans")
class KMeans(Baseline):
    """Distance of every token to the nearest of k centres, on the run's own features.

    The simplest model of what is normal that does not grow with the images. Lloyd's iterations lower

        sum over tokens x of  min over centres c of  |x - c|^2,

    each giving every token to its nearest centre and then moving every centre to the mean of its tokens. They begin at
    k random tokens and stop when no token changes its centre. A centre that loses all its tokens stays where it is.

    Args:
        grid: (H, W) of the features.
        clusters: k, at most; with fewer tokens, every token is a centre. No paper gives a number for this.
        iterations: at most. They stop early if nothing changes.
        limit: tokens to cluster, at most; a random choice where there are more. 100,000 of 192 channels take 77 MB.
        seed: of that choice and of the first centres.
    """

    title = "k-means"

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        clusters: int = 256,
        iterations: int = 30,
        limit: int = 100_000,
        seed: int = 0,
    ) -> None:
        super().__init__(grid, seed=seed)
        self.clusters, self.iterations, self.limit = clusters, iterations, limit

    def fit(self, features: FeatureTable, rows: np.ndarray) -> KMeans:
        """Cluster the tokens of the normal images in `rows` of `features`.

        Raises:
            DataError: no rows.
        """
        if len(rows) == 0:
            raise DataError("k-means needs at least one normal training image")
        generator = torch.Generator().manual_seed(self.seed)
        tokens_NF = draw_tokens(features, rows, self.limit, generator)
        first = torch.randperm(len(tokens_NF), generator=generator)[: self.clusters]
        self.centres_KF = lloyd(tokens_NF, tokens_NF[first.to(tokens_NF.device)], self.iterations)
        return self

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the distances (B, H, W) of features (B, L, F) to their nearest centres."""
        return nearest_distance(feat_BLF, self.centres_KF).unflatten(1, self.grid)


def lloyd(tokens_NF: Tensor, centres_KF: Tensor, iterations: int) -> Tensor:
    """Return centres (K, F) after at most `iterations` of Lloyd's, from the first `centres_KF`."""
    origin_F = tokens_NF.mean(0)  # see `relative_distances`
    tokens_NF, centres_KF = tokens_NF - origin_F, centres_KF - origin_F
    nearest_N = None
    for _ in range(iterations):
        former_N, nearest_N = nearest_N, assign(tokens_NF, centres_KF)
        if former_N is not None and torch.equal(former_N, nearest_N):
            break
        count_K = torch.bincount(nearest_N, minlength=len(centres_KF))
        total_KF = torch.zeros_like(centres_KF).index_add_(0, nearest_N, tokens_NF)
        centres_KF = torch.where(count_K[:, None] > 0, total_KF / count_K.clamp(min=1)[:, None], centres_KF)
    return centres_KF + origin_F


def assign(tokens_NF: Tensor, centres_KF: Tensor) -> Tensor:
    """Return the number (N,) of every token's nearest centre."""
    return torch.cat([distance_nK.argmin(1) for distance_nK in relative_distances(tokens_NF, centres_KF)])
