"""What class tokens hold: distances, clusters, what a linear reader finds in them, and how their mapper learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist, pdist
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from mintad.config import Config
from mintad.model import MintAD
from mintad.runs.prepare import PreparedData
from mintad.training.batches import batch_rows


def within_and_between(tokens_nT: ArrayLike, names: ArrayLike) -> tuple[float, float]:
    """Mean distance of two tokens of the same name, and of two tokens of different names; no token with itself."""
    tokens, names = np.asarray(tokens_nT), np.asarray(names)
    distance, same = cdist(tokens, tokens), names[:, None] == names
    within = same & ~np.eye(len(names), dtype=bool)
    return float(distance[within].mean()), float(distance[~same].mean())


def closest_means(tokens_nT: ArrayLike, names: ArrayLike) -> float:
    """Smallest distance between the mean tokens of two names; of softmax tokens between 0 and the root of 2."""
    tokens, names = np.asarray(tokens_nT), np.asarray(names)
    return float(pdist(np.stack([tokens[names == name].mean(axis=0) for name in np.unique(names)])).min())


def cluster_agreement(values_nC: ArrayLike, names: ArrayLike, *, seed: int = 0) -> float:
    """Adjusted Rand index of k-means clusters with names, k the number of names: 1 the same groups, 0 chance."""
    names = np.asarray(names)
    clusters = KMeans(len(np.unique(names)), n_init=10, random_state=seed).fit_predict(np.asarray(values_nC))
    return float(adjusted_rand_score(names, clusters))


def linear_probe(values_nC: ArrayLike, names: ArrayLike, *, seed: int = 0, folds: int = 4) -> float:
    """Share of names that a linear classifier reads off values it was not fitted on (cross-validation). Each channel
    is standardised first, so that small differences count, too."""
    values = np.asarray(values_nC, dtype=float)
    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return float(cross_val_score(reader, values, names, cv=parts).mean())


def angle_probe(values_nC: ArrayLike, degrees: ArrayLike, symmetry: int, *, seed: int = 0, folds: int = 4) -> float:
    """Share of the variance of the angle that ridge regression reads off values it was not fitted on (R squared; 0 or
    less: nothing).

    Args:
        values_nC: values, each channel standardised first.
        degrees: angles of a product that looks the same after a turn by 360 / `symmetry` degrees; its cosine and sine
            times `symmetry` are what is predicted.
        symmetry: 1 for none.
        seed: of the folds.
        folds: of the cross-validation.
    """
    turn = symmetry * np.radians(np.asarray(degrees, dtype=float))
    wanted = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    reader = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 5, 15)))
    parts = KFold(folds, shuffle=True, random_state=seed)
    found = cross_val_predict(reader, np.asarray(values_nC, dtype=float), wanted, cv=parts)
    return float(1 - ((wanted - found) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum())


def largest_share(names: ArrayLike) -> float:
    """Share of the most frequent name: what a reader gets who has seen nothing."""
    return float(np.unique(np.asarray(names), return_counts=True)[1].max() / len(np.asarray(names)))


def evenness(distribution_C: Tensor) -> float:
    """Mean entropy of distributions over the last axis, in shares of the largest: 1 uniform, 0 one-hot."""
    distribution_C = distribution_C.detach()
    entropy = -(distribution_C * distribution_C.clamp(min=1e-30).log()).sum(-1)
    return float(entropy.mean() / np.log(distribution_C.shape[-1]))


@dataclass(frozen=True)
class MapperCurve:
    """Cross-entropy alone, through adapter and prompt mapper."""

    loss: np.ndarray
    """(steps,) cross-entropy of the batch, in nats; log N is chance."""
    accuracy: np.ndarray
    """(steps,) share of the batch."""


def train_mapper(model: MintAD, prepared: PreparedData, config: Config, steps: int) -> MapperCurve:
    """Train adapter, class encoder, channel encoder and head alone, at the constant rate `config.train.lr`.

    Args:
        model: freshly initialised; changed in place.
        prepared: features and training rows.
        config: batches and learning rate.
        steps: optimiser steps.
    """
    parameters = [*model.adapter.parameters(), *model.prompt_mapper.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.train.lr, weight_decay=config.train.weight_decay)
    labels, found = torch.tensor(prepared.train_labels), []
    for step in range(steps):
        rows = batch_rows(step, len(labels), config.train)
        adapted_BLD = model.adapter(model.standardise(prepared.features.gather(prepared.train_rows[rows])))
        logits_BN = model.prompt_mapper(adapted_BLD)[1]
        loss = F.cross_entropy(logits_BN, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append((loss.item(), (logits_BN.argmax(-1) == labels[rows]).float().mean().item()))
    return MapperCurve(*np.array(found).T)
