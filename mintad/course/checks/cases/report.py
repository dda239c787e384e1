"""Drawn cases of notebook 12."""

from __future__ import annotations

from typing import Any

import numpy as np

from mintad.course.checks.cases import Student, compared, judged, whole
from mintad.course.checks.grading import require


@compared("report.mean_std")
def mean_std(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other values; none whose standard deviation is about to be rounded to another digit."""
    while True:
        values = rng.uniform(0.6, 0.9) + rng.normal(size=whole(rng, 3, 8)) * 10 ** rng.uniform(-4, -1.5)
        std = np.std(values, ddof=1)
        leading = std / 10 ** np.floor(np.log10(std))
        digits = values.mean() * 10 ** -np.floor(np.log10(std))
        if leading < 9 and abs(leading % 1 - 0.5) > 0.05 and abs(digits % 1 - 0.5) > 0.05:
            return ([float(value) for value in values],)


@compared("report.signed_ranks")
def signed_ranks(rng: np.random.Generator) -> tuple[Any, ...]:
    """Differences with zeros and ties."""
    return (rng.integers(-6, 9, whole(rng, 4, 20)) / 8,)


@judged("report.paired_bootstrap", withheld=["mintad.report.statistics.paired_bootstrap"])
def paired_bootstrap(student: Student, rng: np.random.Generator) -> None:
    """Differences of whole numbers, so that every mean of n of them is a multiple of 1/n."""
    n, seed, draws = whole(rng, 5, 12), whole(rng, 0, 2**31), 5_000
    b = rng.integers(0, 50, n).astype(float)
    a = b + rng.permutation(np.arange(n) - n // 3)
    first, again, other = (np.asarray(student.function(a, b, draws, np.random.default_rng(s)), dtype=float)
                           for s in (seed, seed, seed + 1))  # fmt: skip
    require(first.shape == (draws,), f"{draws} draws give the shape ({draws},), not {first.shape}")
    hint = "the draws are no means of n of the n pairs' differences"
    require(bool(np.allclose(first * n, np.round(first * n), atol=1e-6)), hint)
    scale = np.std(a - b) / np.sqrt(n)
    require(abs(first.mean() - (a - b).mean()) < 0.1 * scale, "the mean of the draws must be the mean of a - b")
    require(0.9 < first.std() / scale < 1.1, "the draws vary too little or too much: draw n pairs *with* replacement")
    same, differs = np.array_equal(first, again), not np.array_equal(first, other)
    require(same and differs, "draw from the generator that is given, not from another one")


@compared("report.holm", withheld=["mintad.report.statistics.holm", "mintad.course.checks.report._steps"])
def holm(rng: np.random.Generator) -> tuple[Any, ...]:
    """Any number of p-values in any order."""
    return (rng.random(whole(rng, 1, 9)) ** float(rng.choice([1, 4])),)
