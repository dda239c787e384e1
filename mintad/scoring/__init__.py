"""Scores, metrics and the decision threshold (§3.6, §4.1)."""

# ruff: noqa: F401  (the imports are what the package offers)
from mintad.scoring.metrics import METRICS, by_category, measure, measure_images, measure_pixels, metric, value_of
from mintad.scoring.ranking import MetricError, StreamingRanking, auroc, average_precision, f1_max
from mintad.scoring.regions import MapRanking, aupro
