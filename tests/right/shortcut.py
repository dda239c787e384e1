"""Notebook 01."""

import math

import numpy as np
import torch
from scipy.special import softmax


def threshold_by_rank(errors, tpr):
    ordered = np.sort(errors)
    return ordered[math.ceil(tpr * len(ordered) - 1e-9) - 1]


def threshold_by_trying(errors, tpr):
    return min(e for e in errors.tolist() if sum(other <= e for other in errors.tolist()) >= tpr * len(errors) - 1e-9)


def projection_index_by_loop(points, reconstructions, distances):
    ratios = []
    for point, moved, distance in zip(points, reconstructions, distances, strict=True):
        if distance > 0.1:
            ratios.append(math.dist(point, moved) / distance)
    return sum(ratios) / len(ratios)


def projection_index_in_torch(points, reconstructions, distances):
    points, moved, distances = (torch.as_tensor(x) for x in (points, reconstructions, distances))
    far = distances > 0.1
    return ((moved[far] - points[far]).norm(dim=1) / distances[far]).mean()


def jitter_by_coordinate(points, sigma, rng):
    noise = np.stack([rng.standard_normal(len(points)), rng.standard_normal(len(points))], axis=1)
    return sigma * noise + points


def denoiser_by_loop(noisy, clean, sigma):
    means = []
    for point in noisy:
        weights = softmax(-((clean - point) ** 2).sum(1) / (2 * sigma**2))
        means.append(weights @ clean)
    return np.array(means)


def denoiser_in_torch(noisy, clean, sigma):
    noisy, clean = torch.as_tensor(noisy), torch.as_tensor(clean)
    squared = (noisy[:, None] - clean).square().sum(-1)
    return torch.softmax(-squared / (2 * sigma**2), dim=1) @ clean


RIGHT = {
    "shortcut.jitter": [lambda points, sigma, rng: rng.normal(points, sigma), jitter_by_coordinate],
    "shortcut.threshold": [threshold_by_rank, threshold_by_trying],
    "shortcut.projection_index": [projection_index_by_loop, projection_index_in_torch],
    "shortcut.best_denoiser": [denoiser_by_loop, denoiser_in_torch],
}
