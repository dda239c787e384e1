"""What a trained model says about rows of features: maps, and the class by which each row is judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from mintad.config import ScoringConfig
from mintad.features.table import FeatureTable
from mintad.model.reconstruction import ReconstructionModel
from mintad.scoring.maps import as_distance, batches
from mintad.scoring.sharp_prior import ModelDetector


class Detected(NamedTuple):
    """What detectors that share a model say about n rows."""

    maps: list[np.ndarray]  # the anomaly maps (n, H, W) of each detector, see `mintad.scoring.maps.grid_maps`
    predicted: list[str]  # the class that the head gives each row; '' where the class is told or there is no head
    judged: list[str]  # the class by which each row is judged: told, else predicted


@torch.no_grad()
def detect(
    model: ReconstructionModel,
    detectors: Iterable[ModelDetector],
    features: FeatureTable,
    rows: np.ndarray,
    classes: Sequence[str],
    config: ScoringConfig,
    *,
    labels: Sequence[int] | None = None,
    batch_size: int = 64,
) -> Detected:
    """Run a model once over some rows of `features`, for all detectors that use its output.

    Args:
        model: in evaluation mode.
        detectors: the model itself, or others made of it.
        classes: names of the model's classes.
        labels: class indices (n,), for a model that must be given them.

    Raises:
        ValueError: not as many labels as rows.
    """
    device, detectors, predicted = model.output.weight.device, list(detectors), []
    maps: list[list[np.ndarray]] = [[] for _ in detectors]
    for feat_BLF, labels_B in batches(features, rows, labels, batch_size):
        feat_BLF = feat_BLF.to(device)
        labels_B = None if labels_B is None else torch.as_tensor(labels_B, device=device)
        output = model(feat_BLF, labels_B=labels_B)
        for parts, detector in zip(maps, detectors, strict=True):
            map_BHW = detector.map_of(feat_BLF, output, labels_B)
            parts.append(as_distance(map_BHW, config, squared=detector.returns_squared_error))
        if model.needs_labels or output.class_logits is None:
            predicted += [""] * len(feat_BLF)
        else:
            predicted += [classes[number] for number in output.class_logits.argmax(-1).tolist()]
    judged = predicted if labels is None else [classes[number] for number in labels]
    return Detected([np.concatenate(parts) for parts in maps], predicted, judged)
