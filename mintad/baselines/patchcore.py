"""PatchCore: distance to the nearest remembered normal patch (Roth et al., 2022, arXiv:2106.08265)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintad.baselines.base import Baseline, baseline, locally_averaged
from mintad.baselines.coreset import greedy_coreset
from mintad.baselines.memory import draw_tokens, nearest_distance
from mintad.config import FeatureConfig, ScoringConfig
from mintad.errors import DataError
from mintad.features.table import FeatureTable


@baseline("patchcore")
class PatchCore(Baseline):
    """Distance of every token to a coreset of normal tokens from all positions.

    The class takes any features. Those of its authors are `published_features`: the two middle stages, each averaged
    over 3 x 3 cells of its own resolution, 28 x 28 tokens of a 224-pixel image. On other grids keep in mind that these
    3 cells are 24 pixels: a 3 x 3 mean of 7 x 7 tokens would blur nearly half of the image's side.

    The coreset is the greedy one, chosen on a random projection. The authors remember 10 % of all tokens, or 1 %, which
    they find nearly as good. Here `candidates` and `limit` bound time and memory: the coreset is chosen from a random
    sample of all tokens; `data/results/patchcore_sizes.csv` shows what other bounds change. 100,000 candidates of 152
    channels take 112 MB with their projection, 10,000 remembered tokens 6 MB.

    Args:
        grid: (H, W) of the features.
        share, limit: the share of all normal tokens to remember (0.1 as published), and how many at most.
        candidates: tokens to choose from, at most.
        projection: width of the random projection (128 in the published code); 0 for none.
        neighbours: b of Eq. 7, the remembered tokens around the nearest one that weight the image score; 1 for none.
            The paper does not give it and the published code has no weight; 9 is anomalib's.
        seed: of candidates, projection and first choice.
    """

    title = "PatchCore"

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        share: float = 0.1,
        limit: int = 10_000,
        candidates: int = 100_000,
        projection: int = 128,
        neighbours: int = 9,
        seed: int = 0,
    ) -> None:
        super().__init__(grid, seed=seed)
        self.share, self.limit, self.candidates = share, limit, candidates
        self.projection, self.neighbours = projection, neighbours

    @classmethod
    def published_features(cls, config: FeatureConfig) -> FeatureConfig:
        """Return the features of §3.1: stages of reduction 8 and 16, 3 x 3 means, on the grid of the finer stage.

        The published code then averages neighbouring channels, down to 1,024 numbers a token; we have fewer channels.
        """
        return locally_averaged(config, (8, 16))

    @classmethod
    def published_scoring(cls, config: ScoringConfig) -> ScoringConfig:
        """Return the blur of §3.3: sigma = 4 pixels of the full-size map. `image_score` has the image's score."""
        return dataclasses.replace(config, blur=4.0)

    def fit(self, features: FeatureTable, rows: np.ndarray) -> PatchCore:
        """Remember a coreset of the tokens of the normal images in `rows` of `features`.

        Raises:
            DataError: no rows.
        """
        tokens_NF, points_NP, size, first = self.draw(features, rows)
        self.memory_MF = tokens_NF[greedy_coreset(points_NP, size, first)]
        return self

    def draw(self, features: FeatureTable, rows: np.ndarray) -> tuple[Tensor, Tensor, int, int]:
        """Draw the candidates of the coreset: tokens (N, F), centred projections (N, P), its size and first choice."""
        if len(rows) == 0:
            raise DataError("PatchCore needs at least one normal training image")
        generator = torch.Generator().manual_seed(self.seed)
        tokens_NF = draw_tokens(features, rows, self.candidates, generator)
        size = min(max(1, round(self.share * len(rows) * features.tokens)), self.limit, len(tokens_NF))
        matrix_FP = torch.eye(features.channels)
        if 0 < self.projection < features.channels:
            matrix_FP = torch.randn(features.channels, self.projection, generator=generator) / self.projection**0.5
        matrix_FP = matrix_FP.to(tokens_NF.device)
        points_NP = torch.addmm(-(tokens_NF.mean(0) @ matrix_FP), tokens_NF, matrix_FP)
        return tokens_NF, points_NP, size, int(torch.randint(len(tokens_NF), (), generator=generator))

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the distances (B, H, W) of features (B, L, F) to their nearest remembered tokens."""
        return nearest_distance(feat_BLF, self.memory_MF).unflatten(1, self.grid)

    def image_score(self, feat_BLF: Tensor, map_BHW: Tensor, labels: Any = None) -> Tensor:
        """Return the distance of the most anomalous token, weighted by the density of the memory around it (Eq. 7).

        With m the nearest remembered token and N_b(m) the b remembered tokens nearest to m, itself included, the weight
        is 1 - exp(d(m)) / sum over n in N_b(m) of exp(d(n)), d being the token's distances. The map is not blurred.
        """
        distance_B, token_B = map_BHW.flatten(1).max(1)
        if self.neighbours == 1:
            return distance_B
        token_BF = feat_BLF[torch.arange(len(feat_BLF)), token_B.to(feat_BLF.device)].to(self.memory_MF.device)
        nearest_B = torch.cdist(token_BF, self.memory_MF).argmin(1)
        between_BM = torch.cdist(self.memory_MF[nearest_B], self.memory_MF)
        between_BM[torch.arange(len(nearest_B)), nearest_B] = -1.0  # m comes first, whatever rounding says
        around_Bb = between_BM.topk(min(self.neighbours, len(self.memory_MF)), largest=False).indices
        distance_Bb = (token_BF[:, None] - self.memory_MF[around_Bb]).norm(dim=-1)
        return (1 - distance_Bb.softmax(1)[:, 0]) * distance_B
