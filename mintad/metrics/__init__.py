"""Detection and localisation metrics (§4.1): exact, ties handled, and never a value where there is none."""

from mintad.metrics.ranking import MetricError, StreamingRanking, auroc, average_precision, f1_max
from mintad.metrics.regions import MapRanking, aupro
from mintad.metrics.tables import class_accuracy, defect_metrics, image_metrics, pixel_metrics, summarise

__all__ = [
    "MapRanking",
    "MetricError",
    "StreamingRanking",
    "aupro",
    "auroc",
    "average_precision",
    "class_accuracy",
    "defect_metrics",
    "f1_max",
    "image_metrics",
    "pixel_metrics",
    "summarise",
]
