"""A sanity check where no anomalous image is tested: defects made by us, on normal images that did not train."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mintad.config import Config
from mintad.data.records import category_keys
from mintad.data.synthetic import KINDS, add_defects
from mintad.features.backbone import read_pixels
from mintad.features.extract import features_of
from mintad.features.table import FeatureTable
from mintad.model import ReconstructionModel
from mintad.runs.prepare import PreparedData
from mintad.scoring.decisions import Decisions
from mintad.scoring.detect import detect
from mintad.scoring.maps import image_scores
from mintad.scoring.sharp_prior import ModelDetector

PER_CATEGORY = 60  # images with a made defect, at most
COLUMNS = ("category", "image", "pred_score", "anomalous", "defect", "made_score", "made_anomalous")


def score_made_defects(
    detector: ModelDetector,
    model: ReconstructionModel,
    data: PreparedData,
    config: Config,
    decisions: Decisions | None,
) -> pd.DataFrame | None:
    """Score held-out normal images of categories without anomalous test images, as they are and with a made defect.

    Returns:
        Columns `COLUMNS`: the image, its score and what `decisions` make of it ('' without any), the kind of the made
        defect, and the same with it. None where every category has anomalous test images, or nothing is held out.
    """
    rows = rows_without_defects(data)
    if not len(rows):
        return None
    records, size = data.records.iloc[rows], config.features.image_size
    keys = category_keys(records).to_numpy()
    images, _ = add_defects([read_pixels(path, size) for path in records["image"]], keys, config.train.seed)
    kinds = [KINDS[n % len(KINDS)] for n in range(len(rows))]
    table = pd.DataFrame({"category": keys, "image": records["image"].to_numpy(), "defect": kinds})
    made = FeatureTable.from_tensor(features_of(data.backbone, images).cpu())
    inputs = {("pred_score", "anomalous"): (data.features, rows)}
    inputs["made_score", "made_anomalous"] = made, np.arange(len(rows))
    labels = data.labels_for(model, rows)
    for (score, anomalous), (features, numbers) in inputs.items():
        settings = data.classes, config.scoring
        [maps_nHW], _, judged = detect(model, [detector], features, numbers, *settings, labels=labels)
        table[score] = scores_n = image_scores(maps_nHW, size, config.scoring, data.region)
        table[anomalous] = decisions.flags(scores_n, judged) if decisions else ""
    return table[list(COLUMNS)]


def rows_without_defects(data: PreparedData) -> np.ndarray:
    """Return the held-out rows of categories without anomalous test images, `PER_CATEGORY` of each, evenly chosen."""
    keys = category_keys(data.records).to_numpy()
    tested = set(keys[(data.records["label"] == 1).to_numpy()])
    chosen = []
    for key in sorted(set(keys[data.holdout_rows]) - tested):
        rows = data.holdout_rows[keys[data.holdout_rows] == key]
        chosen.append(rows[np.unique(np.linspace(0, len(rows) - 1, min(PER_CATEGORY, len(rows))).round().astype(int))])
    return np.concatenate(chosen) if chosen else data.holdout_rows[:0]
