"""Generated features that baselines are fitted to in tests."""

from __future__ import annotations

import numpy as np
import torch

from mintad.baselines import BASELINES
from mintad.features.table import FeatureTable

GRID = (4, 5)
TOKENS, CHANNELS = 20, 12
QUICK = {"padim": {"channels": 6}, "patchcore": {"share": 0.1, "projection": 4}, "nearest": {"limit": 40}}
QUICK |= {"kmeans": {"clusters": 9}, "simplenet": {"steps": 4, "hidden": 8}, "cfa": {"steps": 4}}
QUICK |= {"cflow": {"steps": 4, "blocks": 2, "condition": 8}}
QUICK |= {"utrad": {"steps": 4, "width": 8, "heads": 2, "hidden": 8}}
HVQ = {"steps": 4, "width": 8, "heads": 2, "hidden": 8, "codes": 5}
QUICK |= {"hvq_trans": HVQ, "hvq_trans_told": HVQ}
"""Options with which a baseline is fast and its random choices matter."""


def normal_images(count, seed=0, offset=0.0):
    """Every position has its own mean, every pair of channels its correlation."""
    base = torch.Generator().manual_seed(99)
    mean = torch.randn(TOKENS, CHANNELS, generator=base)
    mix = torch.randn(CHANNELS, CHANNELS, generator=base) / 4
    noise = torch.randn(count, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(seed))
    return mean + offset + noise @ mix


def fitted(baseline, images):
    return baseline.fit(FeatureTable.from_tensor(images), np.arange(len(images)))


def quick(name, grid=GRID, **options):
    """An unfitted baseline that takes no time."""
    return BASELINES[name](grid, **(QUICK[name] | options))
