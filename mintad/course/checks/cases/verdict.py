"""Drawn cases of notebook 14."""

from __future__ import annotations

from typing import Any

import numpy as np

from mintad.course.checks.cases import Student, compared, judged
from mintad.course.checks.grading import require

KINDS = (  # ends of an interval, as ranges in units of the smallest effect that matters, and the verdict
    ((-0.9, -0.1), (0.1, 0.9), "too small"),
    ((0.1, 0.4), (0.5, 0.9), "too small"),
    ((-0.9, -0.5), (-0.4, -0.1), "too small"),
    ((0.1, 0.9), (1.1, 4.0), "supported"),
    ((1.1, 2.0), (2.1, 4.0), "supported"),
    ((-4.0, -1.1), (-0.9, -0.1), "against"),
    ((-4.0, -2.1), (-2.0, -1.1), "against"),
    ((-0.9, -0.1), (1.1, 4.0), "open"),
    ((-4.0, -1.1), (0.1, 0.9), "open"),
    ((-4.0, -1.1), (1.1, 4.0), "open"),
)


@judged("verdict.judge")
def judge(student: Student, rng: np.random.Generator) -> None:
    """An interval of each kind, with another smallest effect."""
    for low, high, verdict in (KINDS[n] for n in rng.permutation(len(KINDS))):
        smallest = float(rng.uniform(0.005, 0.03))
        ends = (float(smallest * rng.uniform(*low)), float(smallest * rng.uniform(*high)))
        result = student.function(*ends, smallest)
        named = f"the interval {ends[0]:.3f} to {ends[1]:.3f} with smallest = {smallest:.3f}"
        require(isinstance(result, str) and result == verdict, f"{named} is '{verdict}', not {result!r}")


@compared("verdict.apart")
def apart(rng: np.random.Generator) -> tuple[Any, ...]:
    """Four AUROCs."""
    return (rng.uniform(0.6, 1.0, (2, 2)),)


@compared("verdict.repetitions")
def repetitions(rng: np.random.Generator) -> tuple[Any, ...]:
    """Standard deviations up to four times the smallest effect."""
    smallest = float(rng.uniform(0.002, 0.02))
    return float(smallest * rng.uniform(0.3, 4)), smallest
