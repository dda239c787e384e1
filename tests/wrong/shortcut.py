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
        lambda points, sigma, rng: points + sigma * rng.normal(),
        lambda points, sigma, rng: sigma * rng.normal(size=points.shape),
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


def index_of_all_points(points, reconstructions, distances):
    off = distances > 0.1
    return (np.linalg.norm(reconstructions - points, axis=1)[off] / distances[off]).sum() / len(points)


def city_block_index(points, reconstructions, distances):
    off = distances > 0.1
    return (np.abs(reconstructions - points).sum(1)[off] / distances[off]).mean()


def softmax_over_the_noisy(noisy, clean, sigma):
    squared = ((noisy[:, None] - clean) ** 2).sum(-1)
    weights = np.exp(-(squared - squared.min()) / (2 * sigma**2))
    return (weights / np.maximum(weights.sum(0), 1e-300)) @ clean


def denoiser_without_two(noisy, clean, sigma):
    squared = ((noisy[:, None] - clean) ** 2).sum(-1)
    weights = np.exp(-(squared - squared.min(1, keepdims=True)) / sigma**2)
    return (weights / weights.sum(1, keepdims=True)) @ clean


def denoiser_of_distances(noisy, clean, sigma):
    distance = np.linalg.norm(noisy[:, None] - clean, axis=-1)
    weights = np.exp(-(distance - distance.min(1, keepdims=True)) / (2 * sigma**2))
    return (weights / weights.sum(1, keepdims=True)) @ clean


WRONG["shortcut.jitter"] += [
    lambda points, sigma, rng: points + sigma * np.sqrt(12) * (rng.random(points.shape) - 0.5),
    lambda points, sigma, rng: points + sigma * np.random.normal(size=points.shape),
    lambda points, sigma, rng: points + sigma * np.random.default_rng(0).normal(size=points.shape),
    lambda points, sigma, rng: sigma * rng.normal(size=points.shape),
]
WRONG["shortcut.threshold"] += [lambda errors, tpr: tpr * errors.max(), lambda errors, tpr: errors.mean()]
WRONG["shortcut.projection_index"] += [index_of_all_points, city_block_index]
WRONG["shortcut.best_denoiser"] += [softmax_over_the_noisy, denoiser_without_two, denoiser_of_distances]
