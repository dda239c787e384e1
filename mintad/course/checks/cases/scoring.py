"""Drawn cases of notebook 09."""

from __future__ import annotations

from typing import Any

import numpy as np

from mintad.course.checks.cases import both_labels, compared, whole

RANKING = "mintad.scoring.ranking.StreamingRanking"
RANKED = ["roc_auc_score", "average_precision_score", "roc_curve", "precision_recall_curve", "det_curve", "auc"]
RANKED += [f"{name}Display.from_predictions" for name in ("RocCurve", "PrecisionRecall", "DetCurve")]
LIBRARIES = [*(f"sklearn.metrics.{name}" for name in RANKED), "scipy.stats.mannwhitneyu"]
"""A curve is most of the work."""


@compared("scoring.pooled_max")
def pooled_max(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other maps and windows; values of both signs, all negative at times."""
    window = whole(rng, 1, 5)
    shape = whole(rng, window, 14), whole(rng, window, 14)
    return (rng.random(shape) - rng.uniform(0, 1.5)).astype(np.float32), window


@compared("scoring.auroc", withheld=["mintad.scoring.auroc", f"{RANKING}.auroc", *LIBRARIES])
def auroc(rng: np.random.Generator) -> tuple[Any, ...]:
    """Scores with many ties, or with none; good and bad detectors."""
    return _ranked(rng)


@compared(
    "scoring.average_precision",
    withheld=["mintad.scoring.average_precision", f"{RANKING}.average_precision", *LIBRARIES],
)
def average_precision(rng: np.random.Generator) -> tuple[Any, ...]:
    """Scores with many ties, or with none."""
    return _ranked(rng)


@compared("scoring.conformal_threshold", withheld=["mintad.scoring.threshold.fit_threshold"])
def conformal_threshold(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other numbers of scores, some of them equal; for some quantiles they are too few."""
    while True:
        n, quantile = whole(rng, 3, 60), float(np.round(rng.uniform(0.3, 0.99), 3))
        if abs((n + 1) * quantile - round((n + 1) * quantile)) > 1e-3:  # no rounding error decides
            return np.round(rng.normal(size=n), int(rng.choice([1, 6]))) + 0.0, quantile


def _ranked(rng: np.random.Generator) -> tuple[Any, ...]:
    n = whole(rng, 6, 60)
    labels = both_labels(rng, n)
    scores = rng.normal(size=n) + labels * rng.uniform(-1, 2)
    return np.round(scores, int(rng.choice([0, 1, 6]))) + 0.0, labels
