"""PaDiM in Table 1's settings (notebook 10), compared at once because PaDiM is fitted in seconds."""

from __future__ import annotations

import dataclasses

import numpy as np

from mintad.baselines.padim import PaDiM
from mintad.baselines.per_category import PerCategory
from mintad.config import Config
from mintad.data.records import category_keys
from mintad.runs.prepare import PreparedData
from mintad.runs.separate import nearest_mean
from mintad.scoring.evaluate import evaluate
from mintad.scoring.metrics import by_category


def padim_settings(data: PreparedData, config: Config) -> dict[str, dict[str, float]]:
    """Measure PaDiM's image AUROC by category in each setting of `mintad.scoring.metrics.SETTINGS`.

    These are one model for all categories, one per category with the category of a test image given, and one per
    category chosen by the nearest class mean (App. A.1).

    Returns:
        setting -> "dataset/category" -> image AUROC.
    """
    config = dataclasses.replace(config, scoring=PaDiM.published_scoring(config.scoring))
    keys = category_keys(data.records).to_numpy()
    rows, train_rows, grid = data.test_rows, data.train_rows, data.backbone.grid
    separate = PerCategory(lambda: PaDiM(grid), keys).fit(data.features, train_rows)
    detectors = {
        "unified": (PaDiM(grid).fit(data.features, train_rows), None),
        "separate": (separate, keys[rows]),
        "separate_chosen": (separate, np.array(nearest_mean(data.features, train_rows, keys[train_rows], rows))),
    }
    values = {}
    for setting, (detector, labels) in detectors.items():
        names = {"method": "padim", "setting": setting}
        evaluation = evaluate(detector, data.features, data.records, config, labels=labels, **names)
        values[setting] = by_category(evaluation.results, "image_auroc")
    return values
