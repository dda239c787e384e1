"""What class tokens hold: distances, clusters, what a linear probe reads from them, and how their mapper learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist, pdist
from scipy.stats import entropy
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import adjusted_rand_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from mintad.config import Config
from mintad.model import MintAD
from mintad.model.prompt_mapper import PromptMapper
from mintad.runs.prepare import PreparedData
from mintad.training.batches import batch_rows


def within_and_between(tokens_nT: ArrayLike, names: ArrayLike) -> tuple[float, float]:
    """Return the mean distance of two tokens of the same name, and of two of different names; no token with itself."""
    tokens, names = np.asarray(tokens_nT), np.asarray(names)
    distance, same = cdist(tokens, tokens), names[:, None] == names
    within = same & ~np.eye(len(names), dtype=bool)
    return float(distance[within].mean()), float(distance[~same].mean())


def closest_means(tokens_nT: ArrayLike, names: ArrayLike) -> float:
    """Return the smallest distance between the mean tokens of two names; for softmax tokens it is at most √2."""
    tokens, names = np.asarray(tokens_nT), np.asarray(names)
    return float(pdist(np.stack([tokens[names == name].mean(axis=0) for name in np.unique(names)])).min())


def cluster_agreement(values_nC: ArrayLike, names: ArrayLike, *, seed: int = 0) -> float:
    """Return the adjusted Rand index of names and as many k-means clusters: 1 for the same groups, 0 for chance."""
    names = np.asarray(names)
    clusters = KMeans(len(np.unique(names)), n_init=10, random_state=seed).fit_predict(np.asarray(values_nC))
    return float(adjusted_rand_score(names, clusters))


def linear_probe(values_nC: ArrayLike, names: ArrayLike, *, seed: int = 0, folds: int = 4) -> float:
    """Return the share of names that a linear classifier reads from values it was not fitted on (cross-validation).

    Each channel is standardised first, so that small differences count too.
    """
    values = np.asarray(values_nC, dtype=float)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return float(cross_val_score(probe, values, names, cv=splits).mean())


def angle_probe(values_nC: ArrayLike, degrees: ArrayLike, symmetry: int, *, seed: int = 0, folds: int = 4) -> float:
    """Return the share of the angle's variance (R²) that ridge regression reads from values it was not fitted on.

    0 or less means that nothing can be read. Each channel is standardised first. The product looks the same after a
    turn by 360 / `symmetry` degrees; therefore cosine and sine of `symmetry` times the angle are predicted.
    """
    turn = symmetry * np.radians(np.asarray(degrees, dtype=float))
    target = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    probe = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 5, 15)))
    splits = KFold(folds, shuffle=True, random_state=seed)
    predicted = cross_val_predict(probe, np.asarray(values_nC, dtype=float), target, cv=splits)
    return float(r2_score(target, predicted, multioutput="variance_weighted"))


def largest_share(names: ArrayLike) -> float:
    """Return the share of the most frequent name, which a guess without any values reaches."""
    return float(np.unique(names, return_counts=True)[1].max() / len(names))


def evenness(distribution_C: Tensor) -> float:
    """Return the mean entropy of distributions over the last axis, as a share of the largest: 1 uniform, 0 one-hot."""
    return float(entropy(distribution_C.detach().numpy(), axis=-1).mean() / np.log(distribution_C.shape[-1]))


@dataclass(frozen=True)
class MapperSteps:
    """What the steps of a prompt mapper (Table 12) give for B images of D channels and L positions."""

    by_channel: Tensor
    """(B, D, L), what enters the class encoder."""
    patterns: Tensor
    """(B, D, T), a row of T numbers for each channel; a distribution where the class encoder ends with a softmax."""
    side_by_side: Tensor
    """(B, D · T), what enters the channel encoder."""
    token: Tensor
    """(B, T)"""
    logits: Tensor | None
    """(B, N); None for a mapper without a head."""


def mapper_steps(mapper: PromptMapper, adapted_BLD: Tensor) -> MapperSteps:
    """Run a prompt mapper and return what passed through it on the way; gradients flow as in the mapper itself."""
    seen: list[Tensor] = []
    hooks = [
        encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for encoder in (mapper.class_encoder, mapper.channel_encoder)
    ]
    try:
        token_BT, logits_BN = mapper(adapted_BLD)
    finally:
        for hook in hooks:
            hook.remove()
    by_channel_BDL, side_by_side = seen
    patterns_BDT = side_by_side.unflatten(1, (by_channel_BDL.shape[1], -1))
    return MapperSteps(by_channel_BDL, patterns_BDT, side_by_side, token_BT, logits_BN)


@dataclass(frozen=True)
class MapperCurve:
    """Loss and accuracy while adapter and prompt mapper learn from the cross-entropy alone."""

    loss: np.ndarray
    """(steps,) cross-entropy of the batch, in nats; log N is chance."""
    accuracy: np.ndarray
    """(steps,) share of the batch that is classified correctly."""


def train_mapper(model: MintAD, prepared: PreparedData, config: Config, steps: int) -> MapperCurve:
    """Train adapter, class encoder, channel encoder and head of a new model in place, at the rate `config.train.lr`."""
    parameters = [*model.adapter.parameters(), *model.prompt_mapper.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.train.lr, weight_decay=config.train.weight_decay)
    labels, history = torch.tensor(prepared.train_labels), []
    for step in range(steps):
        rows = batch_rows(step, labels.numpy(), config.train)
        adapted_BLD = model.embed(prepared.features.gather(prepared.train_rows[rows])).adapted
        logits_BN = model.prompt_mapper(adapted_BLD)[1]
        loss = F.cross_entropy(logits_BN, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append((loss.item(), (logits_BN.argmax(-1) == labels[rows]).float().mean().item()))
    return MapperCurve(*np.array(history).T)
