"""Figures of the paper in the closing notebooks: cases (Figs 8 to 10), features before and after (Fig. 4a, b)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from mintad.plots.arrays import curves, point_clouds
from mintad.plots.figures import learning_curves
from mintad.plots.panels import panel_row, picture_grid
from mintad.plots.theme import INK, SYMBOLS, hues, text, titled

SEAM, LINE = 6, 22  # pixels between image, mask and map of a case, and of its caption

Case = tuple[np.ndarray, np.ndarray | None, np.ndarray]
"""Image (H, W, 3), mask (H, W) bool or None where there is none, map as colours (H, W, 3); uint8."""


def case_grid(cases: Mapping[str, Case], *, title: str, per_row: int = 2) -> go.Figure:
    """Draw image | ground truth | map of every case under its caption, all of one size; grey: without a mask.

    Raises:
        ValueError: no case.
    """
    strips = [_strip(*case) for case in cases.values()]
    height, width = strips[0].shape[:2] if strips else (1, 1)
    panels = picture_grid(list(cases), strips, per_row, size=(width, height), gaps=(20, LINE))
    margin = {"l": 10, "r": 10, "t": 72, "b": 10}
    size = {"width": max(560, panels.width + 20), "height": panels.height + margin["t"] + margin["b"]}
    return titled(panels.figure, title, margin=margin, **size)


def _strip(image: np.ndarray, mask: np.ndarray | None, heat: np.ndarray) -> np.ndarray:
    shown = np.full(image.shape, 128, np.uint8) if mask is None else np.where(mask, 255, 30).astype(np.uint8)
    shown = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)
    seam = np.full((image.shape[0], SEAM, 3), 255, np.uint8)
    return np.concatenate([image, seam, shown, seam, heat], axis=1)


def histories(parts: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Draw `learning_curves` of a single model's history, or the reconstruction error of each of several models."""
    if len(parts) == 1:
        return learning_curves(next(iter(parts.values())))
    steps = {name: history["step"] for name, history in parts.items()}
    last = {name: history["mse"].iloc[-1] for name, history in parts.items()}
    highest = max(last, key=last.__getitem__)
    title = f"{len(parts)} models; {text(highest)} ends highest, at {last[highest]:.3g}"
    errors = {name: history["mse"] for name, history in parts.items()}
    return curves(steps, errors, title=title, x_title="training step", y_title="reconstruction, MSE")


def before_after(
    before_nP: ArrayLike, after_nP: ArrayLike, classes: Sequence[str], labels: Sequence[int], *, title: str
) -> go.Figure:
    """Draw two embeddings (n, 2) of the same images side by side (Fig. 4a, b): class = hue, normal = full triangle."""
    figure = panel_row(["before: features", "after: reconstruction"], 0.03, shared_xaxes="all", shared_yaxes="all")
    for column, points_nP in enumerate((before_nP, after_nP), start=1):
        for name, _, points in point_clouds(points_nP, classes, labels):
            group = {"name": text(name), "legendgroup": text(name), "showlegend": False}
            figure.add_scatter(**points, **group, row=1, col=column)
    keys = [(text(name), hue, "square") for name, hue in hues(sorted(set(classes))).items()]
    keys += [(kind, INK, SYMBOLS[label]) for label, kind in ((0, "normal"), (1, "anomalous"))]
    for name, hue, symbol in keys:  # the legend: hues are classes, symbols are kinds
        look = {"color": hue, "symbol": symbol, "size": 9, "line": {"width": 1.5}}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=look, name=name, legendgroup=name)
    figure.update_xaxes(title="embedding axis 1 (no unit)", showticklabels=False, ticks="")
    figure.update_yaxes(showticklabels=False, ticks="")
    figure.update_yaxes(title="embedding axis 2", col=1)
    return titled(figure, title, height=460)
