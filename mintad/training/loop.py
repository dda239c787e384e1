"""The training loop (§4.1).

Nothing random has a state that a checkpoint would have to carry: the order of an epoch is a function of (seed,
epoch), and jitter and dropout of (seed, step). A run that was killed and resumed is therefore bit for bit the run
that was not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import nn

from mintad.config import TrainConfig
from mintad.features.table import FeatureTable
from mintad.model.losses import Losses, compute_losses
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.progress import progress_bar
from mintad.training.batches import Batch, Batches
from mintad.training.device import make_accelerator
from mintad.training.recorder import Recorder
from mintad.training.schedule import learning_rate

log = logging.getLogger(__name__)


def train(
    model: ReconstructionModel,
    features: FeatureTable,
    rows: np.ndarray,
    labels: np.ndarray,
    config: TrainConfig,
    folder: Path,
    *,
    accelerator: Accelerator | None = None,
    progress: bool = True,
    after_step: Callable[[int], None] | None = None,
    identity: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Train `model` in place; resume from the newest checkpoint in `folder` if there is one.

    Args:
        model: freshly built from `config.seed`; its standardisation already fitted.
        features, rows, labels: of the whole data set, its rows to train on, and the class index of each of these.
        config, folder: settings, and the folder for `checkpoints/` and `history.csv`.
        accelerator: device, precision and processes; made from `config` if not given.
        progress: show a bar (on a terminal only; otherwise a log line now and then).
        after_step: called with the number of steps done, before the first step and after each; it must leave the
            model in training mode.
        identity: which run this is, see `mintad.training.checkpoint.save_checkpoint`; checkpoints of another are
            refused.

    Returns:
        The history: one row every `log_every` steps with step, epoch, loss, mse, ce, prior, accuracy, lr, seconds.

    Raises:
        TrainingError: no images, a batch that cannot be shared, a non-finite loss, a checkpoint that is damaged or does
            not fit.
        OSError: a checkpoint cannot be written.
    """
    accelerator = accelerator or make_accelerator(config)
    batches = Batches(features, rows, labels, model, config, accelerator)
    parameters, fused = model.to(accelerator.device).parameters(), accelerator.device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=fused)
    steps, recorder = batches.steps, Recorder(folder, optimizer, batches, identity)
    if accelerator.is_main_process:
        recorder.keep_resumed()
    wrapped, stepper = accelerator.prepare(model, optimizer)
    if accelerator.scaler and recorder.scaler_state:
        accelerator.scaler.load_state_dict(recorder.scaler_state)
    wrapped.train()

    show = progress and accelerator.is_main_process
    if after_step is not None:
        after_step(recorder.start)
    with progress_bar("training", steps, recorder.start, show, log=log) as report:
        for step in range(recorder.start, steps):
            batch, done = batches[step], step + 1
            for group in stepper.param_groups:
                group["lr"] = learning_rate(step, steps, config)
            output, losses = train_step(wrapped, batch, stepper, accelerator, config)
            if after_step is not None:
                after_step(done)
            if recorder.due(done):
                values = losses.as_floats()
                if output.class_logits is not None:
                    values["accuracy"] = (output.class_logits.argmax(-1) == batch.labels_B).float().mean().item()
                recorder.record(done, values)
                report(done, "  ".join(f"{name} {value:.4f}" for name, value in values.items()))
            recorder.save(done, accelerator)

    accelerator.wait_for_everyone()
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)  # prepare() had patched autocast into model.forward
    model.eval()
    return pd.DataFrame(recorder.history)


def train_step(
    model: nn.Module,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    config: TrainConfig,
    loss: Callable[..., Losses] = compute_losses,
) -> tuple[Output, Losses]:
    """Take one step: forward, loss (Eq. 6), backward, clip, update; return the model's output and its losses.

    `loss` replaces Eq. 6 by another function with the arguments of `compute_losses`.
    """
    output = model(batch.feat_BLF, batch.noise, batch.labels_B)
    losses = loss(output, batch.labels_B, config, batch.class_weights_N)
    optimizer.zero_grad()
    accelerator.backward(losses.total)
    if config.clip_norm:
        accelerator.clip_grad_norm_(model.parameters(), config.clip_norm)
    optimizer.step()
    return output, losses
