"""Scoring the test rows with any detector, and the metrics of the result (§4.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mintad.config import Config
from mintad.data.images import read_mask_of, resize_mask
from mintad.data.records import category_keys, tested_rows
from mintad.features.table import FeatureTable
from mintad.scoring.maps import Detector, full_maps, maps_and_scores
from mintad.scoring.metrics import RESULT_COLUMNS, measure


@dataclass
class Evaluation:
    """What one detector gives on the test rows."""

    scores: pd.DataFrame
    """The test rows of the record table, with columns pred_score and pred_class ('' where no class is predicted)."""
    grid_maps: np.ndarray
    """(n, H, W) anomaly maps at the grid's resolution, in the order of `scores`."""
    results: pd.DataFrame
    """Columns `RESULT_COLUMNS`."""


def evaluate(
    detector: Detector,
    features: FeatureTable,
    records: pd.DataFrame,
    config: Config,
    *,
    method: str,
    setting: str = "unified",
    labels: Sequence[Any] | None = None,
    region: np.ndarray | None = None,
) -> Evaluation:
    """Score the test rows of `records`; pixels are compared at the input's resolution where a category has masks.

    Args:
        features, records: the rows of both follow each other.
        method, setting: what the results are listed under; a setting is one of `SETTINGS`.
        labels: class index or name of each test row, for a detector that must be given the class.
        region: region of interest (S, S), of whose pixels alone the pixel metrics are. Those outside would be so many
            pixels that are surely right.
    """
    rows = tested_rows(records)
    maps_nHW, scores_n = maps_and_scores(
        detector, features, rows, config.features.image_size, config.scoring, labels=labels, region=region
    )
    scores = records.iloc[rows].reset_index(drop=True).assign(pred_score=scores_n, pred_class="")
    results = results_of(scores, maps_nHW, config, method=method, setting=setting, region=region)
    return Evaluation(scores, maps_nHW, results)


def results_of(
    scores: pd.DataFrame,
    maps_nHW: np.ndarray,
    config: Config,
    *,
    method: str,
    setting: str = "unified",
    region: np.ndarray | None = None,
) -> pd.DataFrame:
    """Measure scored test rows; see `evaluate` for the arguments. Returns columns `RESULT_COLUMNS`."""
    if not (scores["split"] == "test").any():  # held-out images, of which nothing can be measured
        return pd.DataFrame(columns=list(RESULT_COLUMNS)).astype({"seed": int, "value": float})
    table = measure(scores, pixels(scores, maps_nHW, config, region), region)
    return table.assign(method=method, setting=setting, seed=config.train.seed)[list(RESULT_COLUMNS)]


def pixels(
    scores: pd.DataFrame, maps_nHW: np.ndarray, config: Config, region: np.ndarray | None = None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield category, full-size map and mask of every test image in categories with masks, one image at a time.

    An anomalous image without a mask is left out. The ground truth is resized by nearest neighbour, the map by
    `full_maps`; labels of images never come from here. A mask of another size than its image is a DataError.
    """
    size = (config.features.image_size,) * 2
    keys = category_keys(scores)
    masked = set(keys[scores["masks"].map(len) > 0])
    columns = (keys, scores["image"], scores["masks"], scores["label"])
    for n, (key, image, masks, anomalous) in enumerate(zip(*columns, strict=True)):
        if key in masked and (masks or not anomalous):
            mask = resize_mask(read_mask_of(image, masks), size) if masks else np.zeros(size, dtype=bool)
            full_map = full_maps(maps_nHW[n : n + 1], size[0], config.scoring, region)[0]
            yield key, full_map, mask
