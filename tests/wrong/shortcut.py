"""Notebook 01."""

import numpy as np


def softmax_without_shift(noisy, clean, sigma):
    weights = np.exp(-((noisy[:, None] - clean) ** 2).sum(-1) / (2 * sigma**2))
    with np.errstate(invalid="ignore"):
        return (weights / weights.sum(1, keepdims=True)) @ clean


def jitter_in_place(points, sigma, rng):
    points += sigma * rng.normal(size=points.shape)
    return points


def ratio_of_means(points, reconstructions, distances):
    off = distances > 0.1
    return np.linalg.norm(reconstructions - points, axis=1)[off].mean() / distances[off].mean()


def squared_ratio(points, reconstructions, distances):
    off = distances > 0.1
    return (((reconstructions - points) ** 2).sum(1)[off] / distances[off]).mean()


WRONG = {
    "shortcut.jitter": [
        jitter_in_place,
        lambda points, sigma, rng: points + sigma**2 * rng.normal(size=points.shape),
        lambda points, sigma, rng: points + sigma * rng.random(size=points.shape),
        lambda points, sigma, rng: points + sigma * rng.normal(size=(len(points), 1)),
    ],
    "shortcut.threshold": [
        lambda errors, tpr: float(np.quantile(errors, 1 - tpr)),
        lambda errors, tpr: float(errors.max()),
        lambda errors, tpr: float(np.quantile(errors, tpr)),
        lambda errors, tpr: float(np.sort(errors)[int(0.95 * len(errors)) - 1]),
    ],
    "shortcut.projection_index": [
        ratio_of_means,
        squared_ratio,
        lambda points, reconstructions, distances: float(
            (np.linalg.norm(reconstructions - points, axis=1) / np.maximum(distances, 1e-9)).mean()
        ),
    ],
    "shortcut.best_denoiser": [
        softmax_without_shift,
        lambda noisy, clean, sigma: clean[((noisy[:, None] - clean) ** 2).sum(-1).argmin(1)],
        lambda noisy, clean, sigma: np.repeat(clean.mean(0, keepdims=True), len(noisy), axis=0),
    ],
}
