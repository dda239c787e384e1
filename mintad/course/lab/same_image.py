"""What many methods see in the same image: each is fitted to the same few normal images, and briefly (notebook 13)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mintad import plots
from mintad.baselines import BASELINES
from mintad.config import Config
from mintad.course.lab.separate_unified import title_of
from mintad.data.images import read_image, read_mask
from mintad.plots.images import overlay, resize_map, score_range
from mintad.runs.baselines import fit_baseline
from mintad.runs.directory import Run
from mintad.runs.prepare import PreparedData
from mintad.runs.train import new_model
from mintad.scoring.maps import maps_and_scores
from mintad.training import train

MODELS = ("uniad", "mint_ad")
BRIEFLY: dict[str, dict[str, Any]] = {
    "patchcore": {"limit": 1_000, "candidates": 10_000},
    "cfa": {"steps": 100},
    "cflow": {"steps": 40},
    "simplenet": {"steps": 200},
    "utrad": {"steps": 40},
}
STEPS = 90
"""Steps of the two models, and of baselines that train and are not in `BRIEFLY`."""


@dataclass(frozen=True)
class Seen:
    """What a method makes of some images."""

    maps: np.ndarray
    """(n, H, W) at the method's own grid."""
    scores: np.ndarray
    """(n,)"""


def few_images(records: pd.DataFrame, *, train: int, test: int) -> pd.DataFrame:
    """Return the first `train` normal training images of each category, and `test` of each kind of test image."""
    first = records[records["split"] == "train"].groupby("category").head(train)
    shown = records[records["split"] == "test"].groupby(["category", "defect"]).head(test)
    return pd.concat([first, shown], ignore_index=True)


def see(name: str, prepared: PreparedData, config: Config, rows: np.ndarray) -> Seen:
    """Fit a baseline or train a model, named as `mintad list` has it, and return what it makes of images in `rows`."""
    if name in MODELS:
        config = config.override(**{"model.variant": name, "train.steps": STEPS})
        method, features = new_model(config, prepared), prepared.features
        with tempfile.TemporaryDirectory() as folder:
            labels = prepared.train_labels
            train(method, features, prepared.train_rows, labels, config.train, Path(folder), progress=False)
        method.cpu()  # the features are there, wherever it was trained
    else:
        method, features, config = fit_baseline(name, prepared, config, options=brief_options(name))
    return Seen(*maps_and_scores(method, features, rows, config.features.image_size, config.scoring))


def see_trained(run: Run, images: Sequence[str]) -> Seen:
    """Return what a finished run has made of some of its test images, given by their paths."""
    row_of = {image: row for row, image in enumerate(run.scores()["image"])}
    rows = np.array([row_of[image] for image in images])
    return Seen(np.load(run.path / "maps.npy")[rows], run.scores()["pred_score"].to_numpy()[rows])


def brief_options(name: str) -> Mapping[str, Any]:
    """Return options of a baseline with which it takes seconds."""
    cls = BASELINES[name]
    if cls.reads_images:
        return {"setting": "lesson", "steps": STEPS}
    steps = {"steps": STEPS} if cls.trained and "steps" in cls.option_types() else {}
    return BRIEFLY.get(name, steps)


def ranked_above(seen: Seen, n: int, normal: np.ndarray) -> int:
    """Return how many of the images `normal` have a lower score than image `n`; both count within `seen`."""
    return int((seen.scores[normal] < seen.scores[n]).sum())


def side_by_side(records: pd.DataFrame, seen: Mapping[str, Seen], n: int, *, title: str) -> go.Figure:
    """Draw image `n` of `records`, its mask if it has one, and every method's map over it.

    Each method has colours of its own, from its lowest to its highest scores on all these images. The caption says how
    many of the normal images of the same category the method ranks below this one.
    """
    row = records.iloc[n]
    image = np.asarray(read_image(row["image"]))
    normal = np.flatnonzero((records["category"] == row["category"]) & (records["label"] == 0))
    pictures = {f"{row['category']}, {row['defect']}": image}
    if row["masks"]:
        pictures["ground truth"] = np.where(read_mask(row["masks"], image.shape[1::-1]), 255, 30).astype(np.uint8)
    for name, made in seen.items():
        heat = overlay(image, resize_map(made.maps[n], image.shape[:2]), score_range(made.maps))
        pictures[f"{title_of(name)}: {ranked_above(made, n, normal)} of {len(normal)}"] = heat
    return plots.gallery(pictures, title=title, columns=5)
