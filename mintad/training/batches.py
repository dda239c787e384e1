"""What a step of training sees: images, labels and noise, as functions of (seed, epoch) and (seed, step) alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from mintad.config import TrainConfig
from mintad.errors import TrainingError
from mintad.features.table import FeatureTable
from mintad.model.reconstruction import ReconstructionModel
from mintad.training.device import near
from mintad.training.sampling import class_weights, epoch_order
from mintad.training.schedule import batch_shape, total_steps


def batch_rows(step: int, labels_n: np.ndarray, config: TrainConfig) -> np.ndarray:
    """Return the positions (batch,) in the training set that step `step` sees, over all processes.

    `labels_n` has the class index of each training image.
    """
    batch, per_epoch = batch_shape(len(labels_n), config)
    epoch, index = divmod(step, per_epoch)
    order = epoch_order(labels_n, config.sampling, config.seed, epoch)
    return order[index * batch : (index + 1) * batch]


def jittered(step: int, probability: float, seed: int) -> bool:
    """Return whether the batch of a step is jittered: a single decision for all processes that share it."""
    return np.random.default_rng([seed, step, 0]).random() < probability


def step_seed(seed: int, step: int, stream: int) -> int:
    """Return a 63-bit seed for one use of randomness in one step."""
    return int(np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True)
class Batch:
    """The part of a batch that one process works on: B images."""

    feat_BLF: Tensor
    noise: Tensor  # (B, L, F) or (B, L, D) standard normal noise for the jitter, zeros for a batch without jitter
    labels_B: Tensor
    class_weights_N: Tensor | None = None  # of the cross-entropy, see `compute_losses`


class Batches:
    """The batches of a run, by step; for arguments and errors see `mintad.training.loop.train`."""

    def __init__(
        self,
        features: FeatureTable,
        rows: np.ndarray,
        labels: np.ndarray,
        model: ReconstructionModel,
        config: TrainConfig,
        accelerator: Accelerator,
    ) -> None:
        if len(rows) == 0:
            raise TrainingError("no training images are left; check data.categories and data.holdout")
        self.rows, self.model, self.config, self.process = rows, model, config, accelerator.process_index
        self.device = device = accelerator.device
        self.steps = total_steps(len(rows), config)
        self.size, self.per_epoch = batch_shape(len(rows), config)
        share, rest = divmod(self.size, accelerator.num_processes)
        if rest:
            problem = f"a batch of {self.size} images cannot be shared by {accelerator.num_processes} processes"
            raise TrainingError(problem, fix="choose train.batch_size as a multiple of them")
        self.mine = slice(self.process * share, (self.process + 1) * share)
        self.labels_n = labels
        self.labels = torch.tensor(labels, dtype=torch.long, device=device)
        weights_N = class_weights(np.bincount(labels), config.ce_weights)
        differ = np.ptp(weights_N) > 0
        self.class_weights_N = torch.tensor(weights_N, dtype=torch.float32, device=device) if differ else None
        self.features = near(features, device)
        self.generator = torch.Generator(device=device)

    def __getitem__(self, step: int) -> Batch:
        """Return this process's part of a step's batch, and seed torch for what the step draws itself (dropout)."""
        positions_B = batch_rows(step, self.labels_n, self.config)[self.mine]
        feat_BLF = self.features.gather(self.rows[positions_B]).to(self.device, non_blocking=True)
        noise = self._noise(step, tokens=self.model.tokens)
        torch.manual_seed(step_seed(self.config.seed, step, 1 + self.process))
        return Batch(feat_BLF, noise, self.labels[positions_B], self.class_weights_N)

    def _noise(self, step: int, tokens: int) -> Tensor:
        """Return this process's part of the batch's noise, the same for any number of processes."""
        self.generator.manual_seed(step_seed(self.config.seed, step, 0))
        shape = (self.size, tokens, self.model.noise_channels)
        noise = torch.randn(shape, generator=self.generator, device=self.device)[self.mine]
        is_jittered = jittered(step, self.model.jitter.probability, self.config.seed)
        return noise if is_jittered else torch.zeros_like(noise)
