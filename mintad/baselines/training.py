"""Baselines that train a network: one loop over random batches of images, seeded, with a progress bar."""

from __future__ import annotations

import contextlib
import logging
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mintad.baselines.base import Baseline
from mintad.errors import DataError, TrainingError
from mintad.features.moments import RunningMoments
from mintad.features.table import FeatureTable
from mintad.progress import progress_bar

log = logging.getLogger(__name__)
CHUNK = 64
Loss = Callable[[Tensor, np.ndarray], Tensor]
"""The loss, a scalar, of a batch of features (B, L, F) and their rows (B,) of the table."""


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
        loss: of a batch of features (B, L, F) and their rows.
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
            chosen = rows[batch.numpy()]
            value = loss(features.gather(chosen), chosen)
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


def channel_scale(features: FeatureTable, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (F,) of each channel over all tokens of the images in `rows`."""
    moments = RunningMoments()
    for first in range(0, len(rows), CHUNK):
        moments.add(features.gather(rows[first : first + CHUNK]).flatten(0, 1))
    return moments.mean_and_std()


class TrainedBaseline(Baseline):
    """A baseline whose `fit` trains a network, on channels that are standardised over the training tokens.

    A subclass builds its network in `prepare`, has a `loss`, and may `finish` what follows from the trained weights.

    Args:
        grid, seed: see `Baseline`; initial weights, batches and noise come from the seed.
        steps, images: how many steps, and images of a step.
    """

    trained = True
    cosine: ClassVar[bool] = False
    """Whether the learning rates fall to 0 along half a cosine."""

    def __init__(self, grid: tuple[int, int], *, steps: int, images: int, seed: int) -> None:
        super().__init__(grid, seed=seed)
        self.steps, self.images = steps, images

    def fit(self, features: FeatureTable, rows: np.ndarray) -> TrainedBaseline:
        """Train the network on the normal images in `rows` of `features`.

        Raises:
            DataError: no rows.
            TrainingError: a loss that is not finite.
            MintadError: see `prepare`.
        """
        if len(rows) == 0:
            raise DataError(f"{self.title} needs at least one normal training image")
        self.begin(features, rows)
        with seeded(self.seed, features.device):
            optimizer = self.prepare(features, rows)
            length = {"steps": self.planned_steps, "images": self.images, "cosine": self.cosine}
            descend(
                self._loss_of, optimizer, features, rows, **length, title=self.title, show=self.context.show_progress
            )
        self.finish(features, rows)
        return self

    @property
    def planned_steps(self) -> int:
        """The steps that `fit` takes: `steps` times what the run says, of some at least one."""
        return max(min(1, self.steps), round(self.steps * self.context.length))

    def begin(self, features: FeatureTable, rows: np.ndarray) -> None:
        """Learn what `prepare` needs of the features: mean and deviation of every channel, for `standardise`."""
        self.mean_F, self.std_F = channel_scale(features, rows)

    @abstractmethod
    def prepare(self, features: FeatureTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build the network on the features' device, and return its optimizer."""

    @abstractmethod
    def loss(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the loss, a scalar, of a batch of features (B, L, F) as they are in the table.

        `labels` are the images' categories; None where there is one.
        """

    def _loss_of(self, feat_BLF: Tensor, rows: np.ndarray) -> Tensor:
        return self.loss(feat_BLF, self.labels_of(rows))

    def labels_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the categories (n,) of rows of the table; None where there is one."""
        return None if self.context.categories is None else self.context.categories[rows]

    def finish(self, features: FeatureTable, rows: np.ndarray) -> None:  # noqa: B027 - most have nothing to do
        """Do what follows the training."""

    def standardise(self, feat_BLF: Tensor) -> Tensor:
        """Return features with a mean of 0 and a deviation of 1 of each channel over the training tokens."""
        return (feat_BLF - self.mean_F) / self.std_F
