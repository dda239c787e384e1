"""Galleries of cases: which images are shown, and the cards they are shown on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mintad import plots
from mintad.data.images import read_image, read_mask, resize_mask
from mintad.data.records import category_keys
from mintad.runs.page.markup import escape, tag
from mintad.scoring import MetricError, average_precision

THUMBNAIL = 200
"""Longest side of the pictures, pixels."""
CANDIDATES = 20
"""Anomalous images a category, those with the highest scores, among which the best localised are looked for."""


def galleries(scores: pd.DataFrame, grid_maps: np.ndarray, n_cases: int, threshold: float | None) -> str:
    """Cards of the clearest finds, the most likely misses and the most likely false alarms.

    Args:
        scores: test rows with pred_score, pred_class.
        grid_maps: (n, H, W) in the same order.
        n_cases: cards in each gallery.
        threshold: above it an image is called anomalous; None if there is none.
    """
    scores = scores.reset_index(drop=True)
    value_range = plots.score_range(grid_maps)
    order = scores.sort_values("pred_score", kind="stable")
    anomalous, normal = order.index[order["label"] == 1], order.index[order["label"] == 0]
    masked = bool(scores["masks"].map(len).any())
    chosen = {}
    if masked:
        localised = _by_localisation(scores, grid_maps, anomalous[::-1])
        chosen["Anomalies that are localised best"] = list(localised), localised
    else:
        chosen["Anomalies with the highest scores"] = anomalous[::-1], {}
    chosen["Anomalies with the lowest scores: the likeliest misses"] = anomalous, {}
    chosen["Normal images with the highest scores: the likeliest false alarms"] = normal[::-1], {}
    parts = [_legend(value_range, masked)]
    for name, (rows, localised) in chosen.items():
        cards = [
            _card(scores.loc[row], grid_maps[row], value_range, masked, threshold, localised.get(row))
            for row in spread(scores, rows, n_cases)
        ]
        if cards:
            parts += [tag("h3", escape(name)), tag("div", "".join(cards), class_="cases")]
    return "".join(parts)


def spread(scores: pd.DataFrame, rows: Iterable[int], n: int) -> list[int]:
    """The first n rows, taken from each category in turn, so that one category does not fill a gallery."""
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
    taken = scores.loc[candidates].groupby(["dataset", "category"], sort=False).head(CANDIDATES).index
    values = {}
    for row in taken:
        mask = resize_mask(read_mask(scores.at[row, "masks"]), (THUMBNAIL, THUMBNAIL))
        try:
            values[row] = average_precision(plots.resize_map(grid_maps[row], mask.shape), mask)
        except MetricError:  # a defect that is lost at this size, or one that fills the image
            continue
    return dict(sorted(values.items(), key=lambda item: -item[1]))


def _card(
    row: pd.Series,
    grid_map: np.ndarray,
    value_range: tuple[float, float],
    masked: bool,
    threshold: float | None,
    localisation: float | None,
) -> str:
    picture = read_image(row["image"])
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    image = np.asarray(picture)
    key, name = category_keys(row), Path(row["image"]).name
    panels = [_picture(image, f"image {name}")]
    if row["masks"]:
        mask = resize_mask(read_mask(row["masks"]), image.shape[:2])
        panels.append(_picture(np.where(mask, 255, 30).astype(np.uint8), f"ground truth of {name}"))
    elif masked:
        panels.append(tag("div", "no mask", class_="none"))
    heat = plots.overlay(image, plots.resize_map(grid_map, image.shape[:2]), value_range)
    panels.append(_picture(heat, f"anomaly map of {name}, score {row['pred_score']:.4g}"))
    facts = [f"{key} · {row['defect']} · score {row['pred_score']:.4g}"]
    if localisation is not None:
        facts.append(f"pixel AP {localisation:.2f}")
    caption = escape(" · ".join(facts))
    if threshold is not None:
        flagged = row["pred_score"] > threshold
        words = ("missed", "found") if row["label"] else ("passed", "false alarm")
        caption += " · " + tag("span", words[int(flagged)], class_="right" if flagged == row["label"] else "wrong")
    if row["pred_class"] and row["pred_class"] != row["prompt_class"]:
        caption += f" · taken for {escape(row['pred_class'])}"
    caption += f"<br>{escape(name)}"
    return tag("figure", tag("div", "".join(panels), class_="panels") + tag("figcaption", caption))


def _picture(pixels: np.ndarray, alt: str) -> str:
    return f'<img src="{plots.data_uri(pixels)}" alt="{escape(alt)}">'


def _legend(value_range: tuple[float, float], masked: bool) -> str:
    colours = ",".join(plots.SCORE_COLOURS)
    scale = tag("span", "", class_="scale", style=f"background:linear-gradient(90deg,{colours})")
    columns = "Image | ground truth | anomaly map" if masked else "Image | anomaly map"
    text = f"{columns}. Score, on one scale for all: {value_range[0]:.3g}{scale}{value_range[1]:.3g}"
    return tag("p", text, class_="note")
