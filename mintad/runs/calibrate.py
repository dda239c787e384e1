"""The rules of decision of a trained run, fitted to the normal images that were held out, and applied to its test."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mintad.config import Config
from mintad.model import ReconstructionModel
from mintad.runs.prepare import PreparedData
from mintad.scoring.conformal import Calibration
from mintad.scoring.decisions import Decisions
from mintad.scoring.evaluate import predict_classes
from mintad.scoring.known_products import KnownProducts, pooled
from mintad.scoring.maps import Detector, grid_maps, image_scores


def calibrate(
    products: KnownProducts, detector: Detector, model: ReconstructionModel, data: PreparedData, config: Config
) -> Decisions:
    """Fit the rules of decision to the held-out normal images, of which there must be some.

    None of them trained the network, the sharp prior, or what recentring and `products` compare with.
    """
    rows = data.holdout_rows
    labels, names = data.labels_for(model, rows), judged_classes(model, data, rows)
    maps_nHW = grid_maps(detector, data.features, rows, config.scoring, labels=labels)
    scores_n = image_scores(maps_nHW, config.features.image_size, config.scoring, data.region)
    distances_n = products.distance(pooled(data.features, rows))
    return Decisions(
        Calibration(scores_n, names),
        Calibration(distances_n, [""] * len(rows)),
        classes=tuple(data.classes) if any(names) else ("",),
        quantile=config.scoring.threshold_quantile,
        products=products.digest(),
    )


def decide(
    decisions: Decisions,
    products: KnownProducts,
    scores: pd.DataFrame,
    model: ReconstructionModel,
    data: PreparedData,
) -> pd.DataFrame:
    """Return the scored rows (`PreparedData.scored_rows`) with the columns of `Decisions.of`."""
    rows = data.scored_rows
    names = data.records["prompt_class"].iloc[rows] if model.needs_labels else scores["pred_class"]
    distances = products.distance(pooled(data.features, rows))
    return pd.concat([scores, decisions.of(list(scores["pred_score"]), list(names), distances)], axis=1)


def judged_classes(model: ReconstructionModel, data: PreparedData, rows: np.ndarray) -> list[str]:
    """Return the class by which each row is judged: predicted or, for a model that needs it, told; '' if neither."""
    if model.needs_labels:
        return list(data.records["prompt_class"].iloc[rows])
    if not model.predicts_class:
        return [""] * len(rows)
    return predict_classes(model, data.features, rows, data.classes)
