"""PaDiM: a Gaussian of normal features at every position (Defard et al., 2020, arXiv:2011.08785)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintad.baselines.base import Baseline, baseline
from mintad.errors import DataError
from mintad.features.table import FeatureTable

CHUNK = 64


@baseline("padim")
class PaDiM(Baseline):
    """Mahalanobis distance of every token to the normal tokens at its position.

    The fit keeps, for each position, the mean of d randomly chosen channels and the inverse Cholesky factor of their
    covariance: L * d * d * 4 bytes, 8 MB for 14 x 14 positions and 100 channels. The published method also blurs the
    map (standard deviation 4 pixels); here every method's map is treated alike.

    Args:
        grid: (H, W) of the features.
        channels, seed: d, the number of channels (all if the features have fewer), and the seed of their choice.
        shrinkage: added to the covariance's diagonal, in squared units of the features (0.01 as published).
    """

    title = "PaDiM"

    def __init__(self, grid: tuple[int, int], *, channels: int = 100, shrinkage: float = 0.01, seed: int = 0) -> None:
        super().__init__(grid)
        self.channels, self.shrinkage, self.seed = channels, shrinkage, seed

    def fit(self, features: FeatureTable, rows: np.ndarray) -> PaDiM:
        """Fit a Gaussian at every position to the normal images in `rows` of `features`.

        Raises:
            DataError: no rows.
        """
        if len(rows) == 0:
            raise DataError("PaDiM needs at least one normal training image")
        generator = torch.Generator().manual_seed(self.seed)
        self.chosen = torch.randperm(features.channels, generator=generator)[: self.channels].sort().values
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        total_Ld = sum(self._choose(features.gather(chunk)).sum(1, dtype=torch.float64) for chunk in chunks)
        self.mean_L1d = (total_Ld / len(rows))[:, None].float()
        centred = (self._choose(features.gather(chunk)) - self.mean_L1d for chunk in chunks)
        scatter_Ldd = sum((centred_LBd.mT @ centred_LBd).double() for centred_LBd in centred)
        covariance_Ldd = scatter_Ldd / max(len(rows) - 1, 1)
        eye_dd = torch.eye(covariance_Ldd.shape[-1], dtype=torch.float64, device=covariance_Ldd.device)
        factor_Ldd = torch.linalg.cholesky(covariance_Ldd + self.shrinkage * eye_dd)
        # With S = C C^T, the distance x^T S^-1 x is |C^-1 x|^2: keep C^-1, transposed for row vectors.
        inverse_Ldd = torch.linalg.solve_triangular(factor_Ldd, eye_dd.expand_as(factor_Ldd), upper=False)
        self.whiten_Ldd = inverse_Ldd.mT.contiguous().float()
        return self

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return Mahalanobis distances (B, H, W) of features (B, L, F)."""
        centred_LBd = self._choose(feat_BLF.to(self.mean_L1d.device)) - self.mean_L1d
        return (centred_LBd @ self.whiten_Ldd).norm(dim=-1).T.unflatten(1, self.grid)

    def _choose(self, feat_BLF: Tensor) -> Tensor:
        return feat_BLF[..., self.chosen.to(feat_BLF.device)].transpose(0, 1)
