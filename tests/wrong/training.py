"""Notebook 10."""

import numpy as np


def wrong_pairs_of_own_kind(scores, labels):
    shares = np.empty(len(scores))
    for n, (score, label) in enumerate(zip(scores, labels, strict=True)):
        other = scores[labels != label]
        wrong = other > score if label else other < score
        shares[n] = wrong.sum() / (labels == label).sum()
    return shares


def wrong_pairs_without_ties(scores, labels):
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    shares = np.empty(len(scores))
    shares[labels == 1], shares[labels == 0] = (gap < 0).mean(axis=1), (gap < 0).mean(axis=0)
    return shares


def wrong_pairs_anomalous_last(scores, labels):
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    wrong = (gap < 0) + 0.5 * (gap == 0)
    return np.concatenate([wrong.mean(axis=0), wrong.mean(axis=1)])


def nearest_mean_unscaled(train, classes, test):
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    return np.linalg.norm(test[:, None] - means, axis=-1).argmin(axis=1)


def nearest_neighbour(train, classes, test):
    distance = np.linalg.norm((test[:, None] - train) / train.std(axis=0), axis=-1)
    return classes[distance.argmin(axis=1)]


WRONG = {
    "training.epochs": [
        lambda steps, batch_size, images: steps * batch_size / images,
        lambda steps, batch_size, images: steps / max(1, images // batch_size) + 1,
        lambda steps, batch_size, images: steps / -(-images // batch_size),
    ],
    "training.wrong_pairs": [wrong_pairs_of_own_kind, wrong_pairs_without_ties, wrong_pairs_anomalous_last],
    "training.paired": [
        lambda a, b: (np.mean(a) - np.mean(b), np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))),
        lambda a, b: ((a - b).mean(), (a - b).std(ddof=1)),
        lambda a, b: ((b - a).mean(), (a - b).std(ddof=1) / np.sqrt(len(a))),
        lambda a, b: ((a - b).mean(), (a - b).std() / np.sqrt(len(a))),
    ],
    "training.nearest_mean": [nearest_mean_unscaled, nearest_neighbour],
}


def nearest_mean_city_block(train, classes, test):
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    return (np.abs(test[:, None] - means) / train.std(axis=0)).sum(-1).argmin(axis=1)


def nearest_mean_scaled_by_the_test(train, classes, test):
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    return np.linalg.norm((test[:, None] - means) / (test.std(axis=0) + 1e-9), axis=-1).argmin(axis=1)


def nearest_mean_scaled_by_the_variance(train, classes, test):
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    return np.linalg.norm((test[:, None] - means) / train.var(axis=0), axis=-1).argmin(axis=1)


WRONG["training.epochs"] += [
    lambda steps, batch_size, images: steps // max(1, images // batch_size),
    lambda steps, batch_size, images: steps / (images / min(batch_size, images)),
    lambda steps, batch_size, images: round(steps / max(1, images // batch_size)),
]
WRONG["training.wrong_pairs"] += [lambda scores, labels: 1 - wrong_pairs_without_ties(scores, labels)]
WRONG["training.nearest_mean"] += [
    nearest_mean_city_block,
    nearest_mean_scaled_by_the_test,
    nearest_mean_scaled_by_the_variance,
]
