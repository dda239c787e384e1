"""FCDD with outlier exposure: photographs of other things in the place of confetti (Liznerski et al., ICLR 2021)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_images
from torch import Tensor

from mintad.baselines.base import baseline
from mintad.baselines.fcdd import FCDD
from mintad.baselines.images import ImageTable
from mintad.baselines.pasting import colour_jitter, uniform
from mintad.config import FeatureConfig
from mintad.data.images import is_image, one_large_at_a_time, read_image
from mintad.disk import digest
from mintad.errors import DataError

SMALLEST = 0.2
"""Side of the smallest crop, as a share of a photograph's shorter side."""
GREY = 0.5
"""Share of the crops that lose their colours, so that colour alone does not give an outlier away."""
JITTER = 0.3


def random_crop(photograph_HW3: np.ndarray, size: int) -> Tensor:
    """Cut a random square out of a photograph (8-bit), at a random scale, turned, mirrored, in other colours or grey.

    Returns:
        An image (3, size, size), values from 0 to 1.
    """
    height, width = photograph_HW3.shape[:2]
    side = max(1, round(uniform(SMALLEST, 1) * min(height, width)))
    top, left = int(torch.randint(height - side + 1, ())), int(torch.randint(width - side + 1, ()))
    cut = torch.from_numpy(photograph_HW3[top : top + side, left : left + side].copy()).permute(2, 0, 1) / 255
    cut_3SS = F.interpolate(cut[None], (size, size), mode="bilinear", antialias=True)[0].clamp(0, 1)
    cut_3SS = torch.rot90(cut_3SS, int(torch.randint(4, ())), (1, 2))
    cut_3SS = cut_3SS.flip(2) if torch.rand(()) < 0.5 else cut_3SS
    cut_3SS = colour_jitter(cut_3SS, JITTER)
    return cut_3SS.mean(0, keepdim=True).expand(3, -1, -1) if torch.rand(()) < GREY else cut_3SS


@baseline("fcdd_oe")
class FCDDOE(FCDD):
    """FCDD whose anomalous images are random crops of photographs that show nothing of the task.

    Network, loss, map and score are FCDD's: s(x) is drawn to 0 on normal images x, and -log(1 - exp(-s(o))) drives the
    score of an outlier o away from 0. Nothing in an outlier is normal, so it does not teach *where* a defect is: this
    is meant for images of another thing altogether, as in the paper's CIFAR-10.

    The authors have this variant on CIFAR-10 alone (the paper's Table 7): a small network of its own for 32 pixels, 600
    epochs, CIFAR-100 as outliers. Not as published, besides what `FCDD` lists:

    * **Backbone.** Ours is trained on ImageNet, whose labels name CIFAR-10's classes, too; theirs starts from nothing.
    * **Outliers.** The authors expose the network to many photographs, such as ImageNet's or CIFAR-100's, which are not
      here. We take crops of the two photographs that come with scikit-learn (a temple and a flower), half of them grey;
      or those of a folder that is named. Other classes of the same model must not be used: to a unified model they are
      normal, and a unified and a separate one would see different things. A folder must hold none of them either.
    * **How often.** The authors replace a normal image by an outlier half of the time; a step of ours has as many
      outliers as normal images.

    Args:
        outliers: folder of photographs, at any depth, of anything but the products; None for scikit-learn's two. Each
            is read when it is needed.
        features, setting, seed, changes: see `FCDD`.

    Raises:
        DataError: no image is in the folder, or a copy of one of the run's own, of whichever split.
    """

    title = "FCDD+OE"

    def __init__(self, features: FeatureConfig, *, outliers: str | Path | None = None, **options: Any) -> None:
        super().__init__(features, **options)
        if outliers is None:
            self.photographs: list[np.ndarray | Path] = list(load_sample_images().images)
            return
        folder = Path(outliers).expanduser()
        self.photographs = sorted(path for path in folder.rglob("*") if is_image(path))
        if not self.photographs:
            raise DataError(f"{self.title}: no image of an outlier", path=folder, fix="name a folder of photographs")

    def fit(self, features: ImageTable, rows: np.ndarray) -> FCDDOE:
        """Train, unless an image of the data is among the outliers, which would teach what to find."""
        outliers = [photograph for photograph in self.photographs if isinstance(photograph, Path)]
        sizes: dict[int, list[str]] = {}
        for path in filter(os.path.isfile, features.paths if outliers else ()):
            sizes.setdefault(os.stat(path).st_size, []).append(path)
        for photograph in outliers:
            alike = sizes.get(photograph.stat().st_size, [])  # a file of another size is no copy
            if alike and digest(photograph) in map(digest, alike):
                problem = f"{self.title}: an image of the data is among the outliers, or a copy of one"
                raise DataError(problem, path=photograph, fix="name a folder of photographs of other things")
        return super().fit(features, rows)

    def anomalous(self, image_3SS: Tensor) -> Tensor:
        """Draw an outlier (3, S, S), whatever the image."""
        chosen = self.photographs[int(torch.randint(len(self.photographs), ()))]
        if isinstance(chosen, Path):
            with one_large_at_a_time(chosen):
                chosen = np.asarray(read_image(chosen))
        return random_crop(chosen, image_3SS.shape[-1]).to(image_3SS.device)
