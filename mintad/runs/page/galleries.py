"""Galleries of cases: which images are shown, and what stands on their cards."""

from __future__ import annotations

import itertools
from collections import namedtuple
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mintad import plots
from mintad.data.images import read_image, read_mask_of, resize_mask
from mintad.data.records import category_keys
from mintad.scoring import MetricError, average_precision

THUMBNAIL = 200  # longest side of the pictures, pixels
CANDIDATES = 20  # highest-scoring anomalous images per category, among which the best localised are sought


Picture = namedtuple("Picture", ["uri", "alt"])
"""An image that stands in the page itself."""


@dataclass
class Card:
    """A test image with its ground truth and anomaly map."""

    row: pd.Series  # of the scores
    pictures: list[Picture | None]  # None in place of a mask that the image has not
    pixel_ap: float | None  # shown where the gallery is ordered by it

    @property
    def name(self) -> str:
        """Return the file's name."""
        return Path(self.row["image"]).name


@dataclass
class Galleries:
    """All galleries of a page, and how to read their colours."""

    cards: dict[str, list[Card]]  # heading of a gallery -> its cards
    columns: list[str]  # what the pictures of a card are
    low: float  # ends of the colour scale
    high: float
    colours = plots.SCORE_COLOURS


def galleries(scores: pd.DataFrame, grid_maps: np.ndarray, n_cases: int) -> Galleries:
    """Choose the clearest finds, the likeliest misses and the likeliest false alarms.

    Args:
        scores: test rows with pred_score, pred_class.
        grid_maps: (n, H, W) in the same order.
        n_cases: cards in each gallery.

    Raises:
        DataError: an image or a mask of a case cannot be read.
    """
    scores = scores.reset_index(drop=True)
    low, high = plots.score_range(grid_maps)
    order = scores.sort_values("pred_score", kind="stable")
    anomalous, normal = order.index[order["label"] == 1], order.index[order["label"] == 0]
    masked = bool(scores["masks"].map(len).any())
    localised = _by_localisation(scores, grid_maps, anomalous[::-1]) if masked else {}
    best = "Anomalies that are localised best" if masked else "Anomalies with the highest scores"
    rows = {
        best: localised if masked else anomalous[::-1],
        "Anomalies with the lowest scores: the likeliest misses": anomalous,
        "Normal images with the highest scores: the likeliest false alarms": normal[::-1],
    }
    cards: dict[str, list[Card]] = {}
    for title, candidates in rows.items():
        for row in spread(scores, candidates, n_cases):
            pictures = _pictures(scores.loc[row], grid_maps[row], (low, high), masked)
            card = Card(scores.loc[row], pictures, localised.get(row) if title == best else None)
            cards.setdefault(title, []).append(card)
    return Galleries(cards, ["Image", *(["ground truth"] if masked else []), "anomaly map"], low, high)


def spread(scores: pd.DataFrame, rows: Iterable[int], n: int) -> list[int]:
    """Return the first n rows, taken from each category in turn, so that one category does not fill a gallery."""
    keys = category_keys(scores)
    queues: dict[str, list[int]] = {}
    for row in rows:
        queues.setdefault(keys[row], []).append(row)
    return [row for turn in itertools.zip_longest(*queues.values()) for row in turn if row is not None][:n]


def _by_localisation(scores: pd.DataFrame, grid_maps: np.ndarray, rows: Iterable[int]) -> dict[int, float]:
    """Return the pixel AP of single images at thumbnail size, highest first."""
    candidates = [row for row in rows if scores.at[row, "masks"]]
    highest = scores.loc[candidates].groupby(["dataset", "category"], sort=False).head(CANDIDATES).index
    values = {}
    for row in highest:
        mask = resize_mask(read_mask_of(*scores.loc[row, ["image", "masks"]]), (THUMBNAIL, THUMBNAIL))
        try:
            values[row] = average_precision(plots.resize_map(grid_maps[row], mask.shape), mask)
        except MetricError:  # a defect that is lost at this size, or one that fills the image
            continue
    return dict(sorted(values.items(), key=lambda item: -item[1]))


def _pictures(
    row: pd.Series, grid_map: np.ndarray, value_range: tuple[float, float], masked: bool
) -> list[Picture | None]:
    thumbnail = read_image(row["image"])
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    image, name = np.asarray(thumbnail), Path(row["image"]).name
    pictures = [Picture(plots.data_uri(image), f"image {name}")]
    if row["masks"]:
        mask = resize_mask(read_mask_of(row["image"], row["masks"]), image.shape[:2])
        truth = np.where(mask, 255, 30).astype(np.uint8)
        pictures.append(Picture(plots.data_uri(truth), f"ground truth of {name}"))
    elif masked:
        pictures.append(None)
    heat = plots.overlay(image, plots.resize_map(grid_map, image.shape[:2]), value_range)
    return [*pictures, Picture(plots.data_uri(heat), f"anomaly map of {name}, score {row['pred_score']:.4g}")]
