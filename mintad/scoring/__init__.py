"""Detection and localisation metrics (§4.1): exact, ties handled, and never a value where there is none."""

from mintad.scoring.metrics import class_accuracy, defect_metrics, image_metrics, pixel_metrics, summarise
from mintad.scoring.ranking import MetricError, StreamingRanking, auroc, average_precision, f1_max
from mintad.scoring.regions import MapRanking, aupro

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
