"""Compare, train and score a model that was put together by hand (notebook 10).

Images, order, noise, dropout and learning rates are those of `mintad.training.loop.train` with the same seed. So two
models that are the same function go the same way, up to rounding.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from mintad.config import Config, TrainConfig
from mintad.course.lab.assembly import Assembled, Function, Functions
from mintad.model.losses import compute_losses
from mintad.runs.prepare import PreparedData
from mintad.runs.shared import TrainedRun
from mintad.runs.train import new_model
from mintad.scoring import measure_images, value_of
from mintad.scoring.maps import maps_and_scores
from mintad.training.batches import Batches
from mintad.training.device import make_accelerator
from mintad.training.schedule import learning_rate


def differences(forward: Function, loss: Function, functions: Functions, trained: TrainedRun) -> dict[str, float]:
    """Return the largest difference between a model by hand and the package's, which share a run's trained weights.

    On the first batch of the training, with the same jitter and dropout. The difference is in units of the largest
    absolute value of the package's tensor.
    """
    model, config = copy.deepcopy(trained.model), trained.config.train
    batches = _batches(model.to(make_accelerator(config).device), trained.prepared, config)
    by_hand = Assembled(model.train(), forward, functions)
    with torch.no_grad(), torch.random.fork_rng():
        batch = batches[0]  # seeds what the step draws
        package = model(batch.feat_BLF, batch.noise)
        batch = batches[0]
        outputs = by_hand(batch.feat_BLF, batch.noise)
        total = compute_losses(package, batch.labels_B, config).total
        yours = loss(batch.labels_B, by_hand.target(batch.feat_BLF), *outputs, functions)
    pairs = {"reconstruction": (package.reconstruction, outputs[0]), "class logits": (package.class_logits, outputs[2])}
    pairs |= {"mean of the prior": (package.mean, outputs[3]), "loss": (total, yours)}
    return {name: float((ours - theirs).abs().max() / ours.abs().max()) for name, (ours, theirs) in pairs.items()}


def train(forward: Function, loss: Function, functions: Functions, config: Config, data: PreparedData) -> Assembled:
    """Train fresh weights through `forward` and `loss` (exercises 5 and 6), and return the model.

    Args:
        forward, loss, functions: see `Assembled`; ``loss(labels, target, *outputs, functions)`` returns a number.
        config: of a MINT-AD as in Fig. 3, whose steps, batches, seed and learning rates are taken.
        data: the configuration's.
    """
    with torch.random.fork_rng():
        weights = new_model(config, data).to(make_accelerator(config.train).device)
        model, batches = Assembled(weights, forward, functions), _batches(weights, data, config.train)
        optimizer = torch.optim.AdamW(weights.parameters(), weight_decay=config.train.weight_decay, fused=True)
        weights.train()
        for step in range(batches.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, batches.steps, config.train)
            batch = batches[step]
            total = loss(batch.labels_B, model.target(batch.feat_BLF), *model(batch.feat_BLF, batch.noise), functions)
            optimizer.zero_grad()
            total.backward()
            if config.train.clip_norm:
                nn.utils.clip_grad_norm_(weights.parameters(), config.train.clip_norm)
            optimizer.step()
        weights.eval()
    return model


def image_auroc(model: Assembled, config: Config, data: PreparedData) -> float | None:
    """Return the image AUROC on the test images, mean over categories, as runs measure it."""
    rows = data.test_rows
    _, scores_n = maps_and_scores(model, data.features, rows, config.features.image_size, config.scoring)
    return value_of(measure_images(data.records.iloc[rows].assign(pred_score=scores_n)), "image_auroc")


def _batches(weights: nn.Module, data: PreparedData, config: TrainConfig) -> Batches:
    return Batches(data.features, data.train_rows, data.train_labels, weights, config, make_accelerator(config))
