"""Galleries of cases: which images are shown, and what stands on their cards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mintad import plots
from mintad.data.images import read_image, read_mask, resize_mask
from mintad.data.records import category_keys
from mintad.scoring import MetricError, average_precision

THUMBNAIL = 200
"""Longest side of the pictures, pixels."""
CANDIDATES = 20
"""Anomalous images per category, those with the highest scores, among which the best localised are sought."""


@dataclass
class Picture:
    """An image that stands in the page itself."""

    uri: str
    alt: str


@dataclass
class Card:
    """A test image with its ground truth and anomaly map."""

    pictures: list[Picture | None]
    """None in place of a mask that the image has not."""
    facts: list[str]
    name: str
    """Of the file."""
    verdict: str = ""
    """What the threshold makes of the image; empty without one."""
    right: bool = True
    """Whether the verdict is right."""
    taken_for: str = ""
    """The predicted class where it is wrong."""


@dataclass
class Galleries:
    """All galleries of a page, and how to read their colours."""

    cards: dict[str, list[Card]]
    """Heading of a gallery -> its cards."""
    columns: list[str]
    """What the pictures of a card are."""
    low: float
    high: float
    """Ends of the colour scale."""
    colours: Sequence[str] = field(default=plots.SCORE_COLOURS)


def galleries(scores: pd.DataFrame, grid_maps: np.ndarray, n_cases: int, threshold: float | None) -> Galleries:
    """Choose the clearest finds, the likeliest misses and the likeliest false alarms.

    Args:
        scores: test rows with pred_score, pred_class.
        grid_maps: (n, H, W) in the same order.
        n_cases: cards in each gallery.
        threshold: above it an image is called anomalous; None if there is none.

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
        best: list(localised) if masked else anomalous[::-1],
        "Anomalies with the lowest scores: the likeliest misses": anomalous,
        "Normal images with the highest scores: the likeliest false alarms": normal[::-1],
    }
    cards = {
        title: [
            _card(scores.loc[row], grid_maps[row], (low, high), masked, threshold)
            for row in spread(scores, candidates, n_cases)
        ]
        for title, candidates in rows.items()
    }
    for row, card in zip(spread(scores, localised, n_cases), cards[best] if masked else (), strict=False):
        card.facts.append(f"pixel AP {localised[row]:.2f}")
    columns = ["Image", "ground truth", "anomaly map"] if masked else ["Image", "anomaly map"]
    return Galleries({title: shown for title, shown in cards.items() if shown}, columns, low, high)


def spread(scores: pd.DataFrame, rows: Iterable[int], n: int) -> list[int]:
    """Return the first n rows, taken from each category in turn, so that one category does not fill a gallery."""
    keys = category_keys(scores)
    queues: dict[str, list[int]] = {}
    for row in rows:
        queues.setdefault(keys[row], []).append(row)
    longest = max(map(len, queues.values()), default=0)
    turns = [queue[rank] for rank in range(longest) for queue in queues.values() if rank < len(queue)]
    return turns[:n]


def _by_localisation(scores: pd.DataFrame, grid_maps: np.ndarray, rows: Iterable[int]) -> dict[int, float]:
    """Pixel AP of single images, highest first; at thumbnail size, which is enough to choose."""
    candidates = [row for row in rows if scores.at[row, "masks"]]
    highest = scores.loc[candidates].groupby(["dataset", "category"], sort=False).head(CANDIDATES).index
    values = {}
    for row in highest:
        mask = resize_mask(read_mask(scores.at[row, "masks"]), (THUMBNAIL, THUMBNAIL))
        try:
            values[row] = average_precision(plots.resize_map(grid_maps[row], mask.shape), mask)
        except MetricError:  # a defect that is lost at this size, or one that fills the image
            continue
    return dict(sorted(values.items(), key=lambda item: -item[1]))


def _card(
    row: pd.Series, grid_map: np.ndarray, value_range: tuple[float, float], masked: bool, threshold: float | None
) -> Card:
    name, score = Path(row["image"]).name, float(row["pred_score"])
    card = Card(_pictures(row, grid_map, value_range, masked), [category_keys(row), row["defect"]], name)
    card.facts.append(f"score {score:.4g}")
    if threshold is not None:
        flagged = score > threshold
        card.verdict = (("missed", "found") if row["label"] else ("passed", "false alarm"))[flagged]
        card.right = flagged == bool(row["label"])
    if row["pred_class"] and row["pred_class"] != row["prompt_class"]:
        card.taken_for = row["pred_class"]
    return card


def _pictures(
    row: pd.Series, grid_map: np.ndarray, value_range: tuple[float, float], masked: bool
) -> list[Picture | None]:
    thumbnail = read_image(row["image"])
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    image, name = np.asarray(thumbnail), Path(row["image"]).name
    pictures = [Picture(plots.data_uri(image), f"image {name}")]
    if row["masks"]:
        mask = resize_mask(read_mask(row["masks"]), image.shape[:2])
        truth = np.where(mask, 255, 30).astype(np.uint8)
        pictures.append(Picture(plots.data_uri(truth), f"ground truth of {name}"))
    elif masked:
        pictures.append(None)
    heat = plots.overlay(image, plots.resize_map(grid_map, image.shape[:2]), value_range)
    pictures.append(Picture(plots.data_uri(heat), f"anomaly map of {name}, score {row['pred_score']:.4g}"))
    return pictures
