"""The rules of decision of a trained run, fitted to the normal images that were held out, and applied to its test."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mintad.config import Config
from mintad.model import ReconstructionModel
from mintad.runs.prepare import PreparedData
from mintad.scoring.conformal import Calibration
from mintad.scoring.decisions import Decisions
from mintad.scoring.detect import detect
from mintad.scoring.known_products import KnownProducts, median_over_tokens
from mintad.scoring.maps import image_scores
from mintad.scoring.sharp_prior import ModelDetector


def calibrate(
    products: KnownProducts,
    detector: ModelDetector,
    model: ReconstructionModel,
    data: PreparedData,
    config: Config,
) -> Decisions:
    """Fit the rules of decision to the held-out normal images, of which there must be some.

    None of them trained the network, the sharp prior, or what recentring and `products` compare with.
    """
    rows = data.holdout_rows
    inputs = data.features, rows, data.classes, config.scoring
    [maps_nHW], _, judged = detect(model, [detector], *inputs, labels=data.labels_for(model, rows))
    scores_n = image_scores(maps_nHW, config.features.image_size, config.scoring, data.region)
    distances_n = products.distance(median_over_tokens(data.features, rows))
    return Decisions(
        Calibration(scores_n, judged),
        Calibration(distances_n, [""] * len(rows)),
        classes=tuple(data.classes) if any(judged) else ("",),
        quantile=config.scoring.threshold_quantile,
        products=products.digest(),
    )


def decide(
    decisions: Decisions,
    products: KnownProducts,
    scores: pd.DataFrame,
    judged: Sequence[str],
    data: PreparedData,
) -> pd.DataFrame:
    """Return scored rows (`PreparedData.scored_rows`) with the columns of `Decisions.of`.

    `judged` are the classes by which they are judged.
    """
    distances = products.distance(median_over_tokens(data.features, data.scored_rows))
    return pd.concat([scores, decisions.of(list(scores["pred_score"]), judged, distances)], axis=1)
