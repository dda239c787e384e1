"""Generated features and images that baselines are fitted to in tests."""

from __future__ import annotations

import numpy as np
import torch

from mintad.baselines import BASELINES
from mintad.baselines.images import ImageTable
from mintad.config import preset
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


QUICK_SETTING = {"image_size": 32, "width": 8, "steps": 3, "images": 3, "rate": 1e-3}
"""A training on images that takes no time."""
RANDOM_WEIGHTS = preset("fast").override(**{"features.weights": "random"}).features


def quick_setting(name):
    """What of `QUICK_SETTING` a baseline has."""
    return {key: value for key, value in QUICK_SETTING.items() if key in BASELINES[name].option_types()}


class MemoryImages(ImageTable):
    """Images (n, 3, S, S) that lie in memory and in no file."""

    def __init__(self, images_n3SS):
        super().__init__([""] * len(images_n3SS), images_n3SS.shape[-1])
        self.images = images_n3SS

    def gather(self, indices):
        return self.images[np.asarray(indices)]


def stripes(count, seed=0, side=32):
    """Images of vertical stripes of one colour a set, each shifted and a little noisy: values from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    shift = torch.randint(8, (count, 1, 1, 1), generator=generator)
    wave = 0.5 + 0.3 * torch.sin((torch.arange(side) + shift) * torch.pi / 4)
    colour = torch.tensor([1.0, 0.7, 0.4]).view(1, 3, 1, 1)
    noise = 0.02 * torch.randn(count, 3, side, side, generator=generator)
    return (wave * colour + noise).clamp(0, 1)


def quick_on_images(name, **options):
    """An unfitted baseline on images that takes no time, with random weights."""
    return BASELINES[name](RANDOM_WEIGHTS, **(quick_setting(name) | options))


def fitted_on_images(baseline, images):
    return baseline.fit(MemoryImages(images), np.arange(len(images)))
