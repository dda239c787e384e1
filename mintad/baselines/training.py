"""How baselines with weights are trained: one loop over random batches of images, seeded, with a progress bar."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from mintad.errors import DataError, TrainingError
from mintad.features.table import FeatureTable
from mintad.progress import progress_bar

log = logging.getLogger(__name__)
CHUNK = 64
Loss = Callable[[Tensor], Tensor]
"""The loss, a scalar, of a batch of features (B, L, F)."""


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch for the block: initial weights, batches, noise. Its global generators are restored afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def descend(
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    features: FeatureTable,
    rows: np.ndarray,
    *,
    steps: int,
    images: int,
    title: str,
    cosine: bool = False,
    show: bool = False,
) -> None:
    """Take `steps` steps of an optimizer, each on the next images of a random order; call it in a `seeded` block.

    Every image comes once before one comes again, except that the rest of an order that fills no batch is left out.
    Only a batch is in memory at a time, besides what the feature table keeps.

    Args:
        loss: of a batch of features (B, L, F).
        optimizer: of the network's weights; gradients are not clipped.
        features, rows: the training images.
        steps, images: how many steps, and images of a step (fewer where there are not so many).
        cosine: lower the learning rates to 0 along half a cosine; else they stay as they are.
        title: the method's name, for the bar and for errors.
        show: show a bar on a terminal; elsewhere log a line now and then.

    Raises:
        TrainingError: a loss that is not finite.
    """
    images, order = min(images, len(rows)), torch.empty(0, dtype=torch.long)
    first_rates = [group["lr"] for group in optimizer.param_groups]
    with progress_bar(f"training {title}", steps, show=show, log=log) as report:
        for step in range(1, steps + 1):
            if len(order) < images:
                order = torch.randperm(len(rows))
            batch, order = order[:images], order[images:]
            value = loss(features.gather(rows[batch.numpy()]))
            if not math.isfinite(number := value.item()):
                fix = "look for values that are not finite in the features, or lower its learning rate"
                raise TrainingError(f"{title}: the loss is {number} at step {step} of {steps}", fix=fix)
            if cosine:
                for group, rate in zip(optimizer.param_groups, first_rates, strict=True):
                    group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            report(step, f"loss {number:.4f}")


def require_images(title: str, rows: np.ndarray) -> None:
    """Refuse to train without an image.

    Raises:
        DataError: no rows.
    """
    if len(rows) == 0:
        raise DataError(f"{title} needs at least one normal training image")


def channel_scale(features: FeatureTable, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (F,) of each channel over all tokens of the images in `rows`.

    A channel that does not vary has a deviation of 1, so that dividing by it is harmless.
    """
    total_F = square_F = 0.0
    for first in range(0, len(rows), CHUNK):
        tokens_NF = features.gather(rows[first : first + CHUNK]).flatten(0, 1).double()
        total_F, square_F = total_F + tokens_NF.sum(0), square_F + tokens_NF.square().sum(0)
    count = len(rows) * features.tokens
    mean_F = total_F / count
    std_F = (square_F / count - mean_F.square()).clamp(min=0).sqrt()
    return mean_F.float(), torch.where(std_F > 1e-6, std_F, torch.ones_like(std_F)).float()
