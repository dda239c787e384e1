"""Drawn cases of notebook 01."""

from __future__ import annotations

from typing import Any

import numpy as np

from mintad.course.checks.cases import Student, compared, judged, whole
from mintad.course.checks.grading import number, require


@judged("shortcut.jitter")
def jitter(student: Student, rng: np.random.Generator) -> None:
    """Noise of another sigma at other places: Gaussian, and drawn from the generator that is given."""
    points, sigma, seed = np.tile(rng.normal(size=2), (20_000, 1)), rng.uniform(0.05, 2), whole(rng, 0, 2**31)
    first, again, other = (student.function(points, sigma, np.random.default_rng(s)) for s in (seed, seed, seed + 1))
    require(np.shape(first) == points.shape, "the result must have the points' shape")
    noise = (np.asarray(first, dtype=float) - points) / sigma
    require(bool(np.isfinite(noise).all()), "the result holds values that are not finite")
    require(bool(np.abs(noise.mean(0)).max() < 0.05), f"with sigma = {sigma:.3f} the noise's mean is not 0")
    require(bool(np.abs(noise.std(0) - 1).max() < 0.05), f"the noise's standard deviation is not sigma = {sigma:.3f}")
    kurtosis = (noise**4).mean() / (noise**2).mean() ** 2
    require(abs(kurtosis - 3) < 0.3, "the noise is not Gaussian; draw it by rng.normal")
    same, differs = np.array_equal(first, again), not np.array_equal(first, other)
    require(same and differs, "draw the noise from the generator that is given, not from another one")


@judged("shortcut.threshold")
def threshold(student: Student, rng: np.random.Generator) -> None:
    """Other errors, numbers of errors and rates."""
    for _ in range(5):
        n, tpr = whole(rng, 8, 120), float(rng.choice([0.5, 0.75, 0.9, 0.95, 0.99]))
        errors = rng.exponential(size=n) * rng.uniform(0.1, 50)
        value = number(student.function(errors, tpr))
        share = float((errors <= value).mean())
        require(share >= tpr - 1e-9, f"of {n} errors only {share:.1%} lie at or below your threshold, not {tpr:.0%}")
        fewer = f"{share:.1%} of {n} errors pass; a smaller error lets fewer pass, and still {tpr:.0%}"
        require(share < tpr + 1 / n - 1e-9, fewer)
        require(bool(np.isclose(errors, value, rtol=1e-5).any()), "your threshold is none of the errors")


@compared("shortcut.projection_index")
def projection_index(rng: np.random.Generator) -> tuple[Any, ...]:
    """Points near a disc and far from it, reconstructed anyhow."""
    n = whole(rng, 20, 200)
    points, reconstructions = rng.uniform(-1.5, 1.5, (2, n, 2))
    return points, reconstructions, rng.choice([0.0, 0.05, 0.15, 0.4, 0.9], n) + rng.uniform(0, 0.04, n)


@compared("shortcut.best_denoiser")
def best_denoiser(rng: np.random.Generator) -> tuple[Any, ...]:
    """Points near the data, and some far away."""
    noisy, clean = rng.normal(size=(whole(rng, 2, 12), 2)), rng.normal(size=(whole(rng, 2, 30), 2))
    return noisy * rng.choice([1.0, 1.0, 40.0], (len(noisy), 1)), clean, float(rng.uniform(0.1, 1))
