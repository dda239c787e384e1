"""Drawn cases of notebook 11."""

from __future__ import annotations

from typing import Any

import numpy as np

from mintad.course.checks.cases import Student, compared, judged, whole
from mintad.course.checks.grading import require, two_numbers


@judged("transfer.group_split")
def group_split(student: Student, rng: np.random.Generator) -> None:
    """Other products and shares."""
    for _ in range(5):
        products, share, seed = whole(rng, 20, 40), float(rng.choice([0.1, 0.25, 0.5])), whole(rng, 0, 10_000)
        groups = rng.permutation(np.repeat([f"p{n:02d}" for n in range(products)], 3))
        first, again, *others = (np.asarray(student.function(groups, share, seed + n)) for n in (0, 0, 1, 2, 3))
        require(first.shape == groups.shape and first.dtype == bool, "return one boolean per image, True for test")
        require(not set(groups[first]) & set(groups[~first]), "a product has images in training and in test")
        hint = f"with share = {share}, {first.mean():.2f} of the images are for test"
        require(abs(first.mean() - share) < 1.01 / products, hint)
        require(bool((first == again).all()), "the same seed must give the same split")
        require(any((first != other).any() for other in others), "another seed must give another split")


@compared("transfer.plateau")
def plateau(rng: np.random.Generator) -> tuple[Any, ...]:
    """Curves that fall, rise again, and end above or below 0."""
    n, tolerance = whole(rng, 5, 30), float(rng.choice([0.05, 0.1, 0.2]))
    last = rng.choice([-1, 1]) * rng.uniform(1, 5)
    near, far = rng.uniform(-0.8, 0.8, n), rng.choice([-1, 1], n) * rng.uniform(1.3, 20, n)
    away = np.where(rng.random(n) < np.linspace(1, 0, n) ** 2, far, near) * tolerance * abs(last)
    loss = last + away
    loss[-1] = last
    return np.arange(1, n + 1) * whole(rng, 1, 50), loss, tolerance


@judged("transfer.operating_point")
def operating_point(student: Student, rng: np.random.Generator) -> None:
    """Few images, tied scores, any rate."""
    for _ in range(8):
        normal, anomalous = np.arange(1.0, whole(rng, 5, 30) + 1), rng.integers(0, 40, whole(rng, 5, 30)).astype(float)
        labels = np.repeat([0, 1], [len(normal), len(anomalous)])
        order, rate = rng.permutation(len(labels)), float(rng.choice([0.0, 0.07, 0.13, 0.25, 0.34]))
        scores = np.concatenate([normal, anomalous])[order]
        limit, hits = two_numbers(student.function(scores, labels[order], rate))
        alarms, share = (normal > limit).mean(), (anomalous > limit).mean()
        allowed = int(rate * len(normal) + 1e-9)
        best = (anomalous > len(normal) - allowed).mean()  # the normal scores are 1, 2, 3, …
        hint = f"with rate = {rate} and {len(normal)} normal images, {alarms:.0%} of them are above your threshold"
        require(alarms <= rate + 1e-9, hint)
        hint = f"{share:.1%} of the anomalous images are above your threshold (above, not at it), not {hits:.1%}"
        require(abs(hits - share) < 1e-6, hint)
        require(hits > best - 1e-6, f"a lower threshold finds {best:.0%} of the anomalous images, yours {hits:.0%}")


@compared("transfer.expected_cost")
def expected_cost(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other scores, one of them at the threshold, and other costs."""
    labels = np.concatenate([[0, 1], rng.integers(0, 2, whole(rng, 4, 30))])
    scores = np.round(rng.normal(size=len(labels)) + labels, 1)
    threshold = float(rng.choice(scores))
    return scores, labels, threshold, rng.uniform(0, 0.2), rng.uniform(10, 500), rng.uniform(1, 20)
