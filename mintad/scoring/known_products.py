"""How far an image is from every product of the training: from its nearest normal images (not in the paper).

A detector gives any photograph a class and a map, also one of a product that it has never seen. Whether it knows the
product is told by features pooled over the whole image, which a defect changes little: of each channel the *median*
over the tokens, so that a defect may cover nearly half of the image, in units of the channel's deviation over the
training images. The mean distance from the `NEIGHBOURS` nearest training images has no parameters to fit, needs neither
the network nor its class head, and knows no classes.

Letters: n normal images, B images of a batch, L tokens, F channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mintad.features.table import FeatureTable
from mintad.scoring.sealed_tensors import opened_sealed, save_sealed, tensors_digest

NEIGHBOURS = 5
IMAGES = 20_000  # training images that are kept, at most: 0.8 kB each for 192 channels
BATCH = 64
ABOUT = "known products"


class KnownProducts(nn.Module):
    """Features of whole normal images (`median_over_tokens`), and the distance of new ones from them.

    Args:
        pooled_nF: features of the normal images, float32.
    """

    def __init__(self, pooled_nF: Tensor) -> None:
        super().__init__()
        self.register_buffer("pooled_nF", pooled_nF)

    @classmethod
    def fit(cls, features: FeatureTable, rows: np.ndarray, *, seed: int = 0) -> KnownProducts:
        """Keep what the normal images in `rows` look like; of more than `IMAGES`, a random choice from `seed`."""
        if len(rows) > IMAGES:
            rows = np.sort(np.random.default_rng([seed, 5]).choice(rows, IMAGES, replace=False))
        return cls(median_over_tokens(features, rows))

    @torch.no_grad()
    def distance(self, pooled_BF: Tensor) -> np.ndarray:
        """Return the distances (B,) of images with features (B, F), in standard deviations of a channel."""
        scale_F = self.pooled_nF.std(dim=0, correction=0)
        scale_F = torch.where(scale_F > 1e-6, scale_F, 1.0)
        exact = "donot_use_mm_for_euclid_dist"  # the products of large matrices lose small differences
        distance_Bn = torch.cdist(pooled_BF / scale_F, self.pooled_nF / scale_F, compute_mode=exact)
        distance_Bn /= len(scale_F) ** 0.5
        count = min(NEIGHBOURS, len(self.pooled_nF))
        return distance_Bn.topk(count, largest=False).values.mean(dim=1).numpy()

    def save(self, file: Path) -> None:
        """Write them into a safetensors file."""
        save_sealed(file, self.state_dict(), ABOUT)

    def digest(self) -> str:
        """Return a hash of the features."""
        return tensors_digest(self.state_dict(), ABOUT)

    @classmethod
    def load(cls, file: Path) -> KnownProducts:
        """Read what `save` wrote; raise MintadError if it is missing or was changed."""
        with opened_sealed(file, "the products' features", default=ABOUT) as (tensors, _):
            return cls(tensors["pooled_nF"])


def median_over_tokens(features: FeatureTable, rows: np.ndarray) -> Tensor:
    """Return the median over the tokens of each channel (n, F), float32 on the CPU, of some rows."""
    batches = (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))
    return torch.cat([features.gather(batch).float().median(dim=1).values.cpu() for batch in batches])
