"""Checks of notebook 01: jitter, thresholds, the projection index, the best denoiser (A.3; Vincent et al., 2010)."""

from __future__ import annotations

import numpy as np

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, number, require, same

Array = np.ndarray


def reference_jitter(points: Array, sigma: float, rng: np.random.Generator) -> Array:
    """Add Gaussian noise to every coordinate."""
    return points + sigma * rng.normal(size=points.shape)


@exercise(reference_jitter, "mean 0, standard deviation sigma, clean points untouched")
def check_jitter(call: Call, rng: np.random.Generator) -> None:
    """Check for points (P, 2) plus Gaussian noise of standard deviation sigma, independent in both coordinates."""
    points = np.tile([[0.5, -1.0]], (20_000, 1))
    clean = points.copy()
    result = call(points, 0.3, rng)
    require(np.shape(result) == points.shape, f"the result must have the points' shape {points.shape}")
    require(np.issubdtype(np.asarray(result).dtype, np.floating), "the result must be an array of numbers")
    noise = result - clean
    require(bool(np.isfinite(noise).all()), "the result holds values that are not finite")
    alone = np.abs(np.mean(result, axis=0)).max() < 0.02  # the clean points are all (0.5, -1)
    require(not alone, "this is the noise alone; add it to the points")
    same_for_all = "all points got the same noise; draw a number for each coordinate of each point: size=points.shape"
    require(bool(np.ptp(noise, axis=0).max() > 0), same_for_all)
    require(np.abs(noise.mean(0)).max() < 0.02, "the noise must have mean 0; rng.normal() does, rng.random() does not")
    spread = noise.std(0)
    hint = f"with sigma = 0.3 the noise has the standard deviation {spread.max():.2f}; multiply by sigma itself"
    require(np.abs(spread - 0.3).max() < 0.02, hint)
    require(abs(np.corrcoef(noise.T)[0, 1]) < 0.05, "both coordinates got the same noise; draw points.shape numbers")


def reference_threshold(errors: Array, tpr: float) -> float:
    """Return the smallest error at or below which a share `tpr` of the errors lies."""
    return float(np.quantile(errors, tpr, method="inverted_cdf"))


@exercise(reference_threshold, "the share of held-out normals that passes is the one asked for")
def check_threshold(call: Call, rng: np.random.Generator) -> None:
    """Check for the smallest held-out error at or below which a share `tpr` of the errors lies."""
    for n, tpr in ((100, 0.95), (100, 0.8), (10, 0.95)):
        errors = rng.permutation(np.arange(1.0, n + 1))
        value = number(call(errors, tpr))
        share = float((errors <= value).mean())
        require(share >= tpr, f"of {n} normals only {share:.0%} lie at or below {value:.4g}, but {tpr:.0%} must")
        fewer = f"{share:.0%} of {n} normals pass; a smaller error lets fewer pass, and still {tpr:.0%}"
        require(share < tpr + 1 / n - 1e-9, fewer)
        require(bool((errors == value).any()), f"{value:.4g} is none of the errors; take one of them")


def reference_projection_index(points: Array, reconstructions: Array, distances: Array) -> float:
    """Return the mean ratio of a reconstruction's move to the distance from the support."""
    off = distances > 0.1
    return float((np.linalg.norm(reconstructions - points, axis=1)[off] / distances[off]).mean())


@exercise(
    reference_projection_index,
    "0 for a copy, 1 for a projection, 0.5 half way",
    mistakes={
        "this counts the points near the support, too; leave out those within 0.1": lambda p, r, d: (
            np.linalg.norm(r - p, axis=1) / np.maximum(d, 1e-9)
        ).mean(),
        "this is the ratio of the means; take the mean of the ratios": lambda p, r, d: (
            np.linalg.norm(r - p, axis=1)[d > 0.1].mean() / d[d > 0.1].mean()
        ),
        "this squares the moves; take their lengths": lambda p, r, d: (
            ((r - p) ** 2).sum(1)[d > 0.1] / d[d > 0.1]
        ).mean(),
        "divide by the number of points that count, those farther than 0.1, not by that of all": lambda p, r, d: (
            (np.linalg.norm(r - p, axis=1)[d > 0.1] / d[d > 0.1]).sum() / len(d)
        ),
        "the length of a move is the root of the summed squares, not the sum of absolute values": lambda p, r, d: (
            np.abs(r - p).sum(1)[d > 0.1] / d[d > 0.1]
        ).mean(),
    },
)
def check_projection_index(call: Call, rng: np.random.Generator) -> None:
    """Check for the mean of |x̂ − x| / d over the points farther than 0.1 from the support."""
    points = rng.uniform(-1.5, 1.5, (400, 2))
    radius = np.linalg.norm(points, axis=1, keepdims=True)
    distances = (radius[:, 0] - 0.4).clip(0)
    foot = points * np.minimum(1, 0.4 / radius)
    same(call(points, points, distances), 0.0, "a network that copies its input has the index 0")
    hint = "an exact projection has the index 1; leave out the points within 0.1 of the support, where d is nearly 0"
    same(call(points, foot, distances), 1.0, hint)
    hint = "going half the way has the index 0.5; use distances, not their squares"
    same(call(points, (points + foot) / 2, distances), 0.5, hint)
    mixed = np.where(distances[:, None] > 0.5, foot, points)
    hint = "the index is the mean of the ratios, not the ratio of the means"
    same(call(points, mixed, distances), (distances[distances > 0.1] > 0.5).mean(), hint)


def reference_best_denoiser(noisy: Array, clean: Array, sigma: float) -> Array:
    """Return the posterior mean of the clean points."""
    squared = ((noisy[:, None] - clean) ** 2).sum(-1)
    weights = np.exp(-(squared - squared.min(1, keepdims=True)) / (2 * sigma**2))
    return (weights / weights.sum(1, keepdims=True)) @ clean


@exercise(
    reference_best_denoiser,
    "the posterior mean, also far from the data",
    mistakes={
        "the 2 is missing: exp(−|noisy − clean|² / (2 sigma²))": lambda noisy, clean, sigma: reference_best_denoiser(
            noisy, clean, sigma / np.sqrt(2)
        ),
        "sigma must be squared: exp(−|noisy − clean|² / (2 sigma²))": lambda noisy, clean, sigma: (
            reference_best_denoiser(noisy, clean, np.sqrt(sigma))
        ),
        "this is the nearest clean point; the best answer is a mean of all, weighted by how likely each is": (
            lambda noisy, clean, sigma: clean[((noisy[:, None] - clean) ** 2).sum(-1).argmin(1)]
        ),
    },
)
def check_best_denoiser(call: Call, rng: np.random.Generator) -> None:
    """Check for E[clean | noisy] under uniform training points: a softmax-weighted mean of the clean points."""
    clean = np.array([[-1.0, 0.0], [1.0, 0.0]])
    hint = "half way between two points, both are equally likely: the answer is their mean"
    same(call(np.array([[0.0, 0.7]]), clean, 0.3), [[0.0, 0.0]], hint)
    hint = "the weights are exp(−|noisy − clean|² / (2 sigma²)), and they must sum to 1 for each noisy point"
    same(call(np.array([[0.2, 0.0]]), clean, 0.5), [[np.tanh(0.2 / 0.25), 0.0]], hint, tolerance=1e-4)
    hint = "far away the weights underflow to 0/0; subtract each noisy point's own smallest squared distance first"
    same(call(np.array([[40.0, 0.0], [-4.0, 3.0]]), clean, 0.1), [[1.0, 0.0], [-1.0, 0.0]], hint)
