"""Scores, metrics and the decision threshold (§3.6, §4.1)."""

from mintad.scoring.metrics import (
    METRICS,
    Metric,
    by_category,
    measure,
    measure_images,
    measure_pixels,
    metric,
    value_of,
)
from mintad.scoring.ranking import MetricError, StreamingRanking, auroc, average_precision, f1_max
from mintad.scoring.regions import MapRanking, aupro

__all__ = [
    "METRICS",
    "MapRanking",
    "Metric",
    "MetricError",
    "StreamingRanking",
    "aupro",
    "auroc",
    "average_precision",
    "by_category",
    "f1_max",
    "measure",
    "measure_images",
    "measure_pixels",
    "metric",
    "value_of",
]
