"""Drawn cases of notebook 14."""

from __future__ import annotations

from typing import Any

import numpy as np

from mintad.course.checks.cases import compared


@compared("verdict.judge")
def judge(rng: np.random.Generator) -> tuple[Any, ...]:
    """Intervals of all kinds, none of which ends at 0 or at ± the smallest effect."""
    while True:
        smallest = float(rng.uniform(0.005, 0.03))
        low, high = sorted(rng.choice([0.5, 1, 3]) * smallest * rng.uniform(-1.5, 1.5, 2))
        if min(abs(end - edge) for end in (low, high) for edge in (0, smallest, -smallest)) > 1e-4:
            return float(low), float(high), smallest


@compared("verdict.apart")
def apart(rng: np.random.Generator) -> tuple[Any, ...]:
    """Four AUROCs."""
    return (rng.uniform(0.6, 1.0, (2, 2)),)


@compared("verdict.repetitions")
def repetitions(rng: np.random.Generator) -> tuple[Any, ...]:
    """Standard deviations up to four times the smallest effect."""
    smallest = float(rng.uniform(0.002, 0.02))
    return float(smallest * rng.uniform(0.3, 4)), smallest
