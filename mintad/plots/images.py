"""Anomaly maps as pictures: colours, overlays, and panels of image | mask | map."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.colors import unlabel_rgb
from plotly.subplots import make_subplots

from mintad.plots.theme import SCORE_COLOURS, template, text

OPACITY = 0.75
"""Of the highest score in an overlay; the lowest is transparent."""


def score_range(maps: np.ndarray) -> tuple[float, float]:
    """Common colour range of anomaly maps: their 1st and 99.9th percentile."""
    return float(np.percentile(maps, 1)), float(np.percentile(maps, 99.9))


def colourise(anomaly_map: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Scores (H, W) as colours (H, W, 3), uint8, on the common sequential scale."""
    anchors = np.array([_rgb(colour) for colour in SCORE_COLOURS])
    position = _share(anomaly_map, value_range) * (len(anchors) - 1)
    below = np.floor(position).astype(int).clip(max=len(anchors) - 2)
    weight = (position - below)[..., None]
    return (anchors[below] * (1 - weight) + anchors[below + 1] * weight).round().astype(np.uint8)


def overlay(image: np.ndarray, anomaly_map: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """An RGB image (H, W, 3) in grey with the anomaly map (H, W) over it: the higher the score, the more opaque."""
    opacity = _share(anomaly_map, value_range)[..., None] * OPACITY
    grey = image.mean(axis=-1, keepdims=True)
    return (grey * (1 - opacity) + colourise(anomaly_map, value_range) * opacity).round().astype(np.uint8)


def resize_map(anomaly_map: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map (h, w) interpolated bilinearly to `shape` (H, W), half-pixel centres, as for scoring."""
    pixels = Image.fromarray(np.asarray(anomaly_map, dtype=np.float32))
    return np.asarray(pixels.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def data_uri(pixels: np.ndarray, kind: str = "JPEG") -> str:
    """Pixels (H, W) or (H, W, 3), uint8, as an address that holds the picture itself (JPEG or PNG)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 85} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def case_panel(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray] | None,
    maps: Sequence[np.ndarray],
    captions: Sequence[str],
    value_range: tuple[float, float] | None = None,
) -> go.Figure:
    """Rows of image | mask | anomaly map over the image, with one colour range.

    Args:
        images: (H, W, 3) uint8 each; sizes may differ.
        masks: (H, W) bool each, or None for a panel without them.
        maps: (h, w) each, any resolution; interpolated to their image.
        captions: one a row.
        value_range: of the colours; None for the `score_range` of `maps`.

    Raises:
        ValueError: the sequences differ in length.
    """
    low, high = value_range or score_range(np.concatenate([np.ravel(one) for one in maps]))
    names = ["ground truth", "anomaly map"] if masks is not None else ["anomaly map"]
    panels = [
        [
            image,
            *([] if mask is None else [np.where(mask, 255, 30).astype(np.uint8)]),
            _mapped(image, grid, (low, high)),
        ]
        for image, mask, grid in zip(images, masks if masks is not None else [None] * len(images), maps, strict=True)
    ]
    titles = [title for caption in captions for title in (text(caption), *names)]
    rows, columns = len(panels), len(names) + 1
    if len(captions) != rows:
        raise ValueError(f"{len(captions)} captions for {rows} images")
    side, gap = 200, 34
    plotted = rows * side + (rows - 1) * gap
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=titles,
        horizontal_spacing=0.02,
        vertical_spacing=gap / plotted if rows > 1 else 0,
    )
    for row, panel in enumerate(panels, start=1):
        for column, pixels in enumerate(panel, start=1):
            figure.add_trace(go.Image(source=data_uri(pixels), hoverinfo="skip"), row, column)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    bar = {"title": "score", "thickness": 12, "tickvals": [low, high], "ticktext": [f"{low:.3g}", f"{high:.3g}"]}
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={"color": [low], "cmin": low, "cmax": high, "colorscale": SCORE_COLOURS, "colorbar": bar},
        showlegend=False,
    )
    size = {"height": plotted + 60, "width": columns * (side + 8) + 130}
    return figure.update_layout(template=template(), margin={"l": 10, "r": 10, "t": 40, "b": 20}, **size)


def _mapped(image: np.ndarray, grid: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    return overlay(image, resize_map(grid, image.shape[:2]), value_range)


def _share(anomaly_map: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Position of each score in the range, from 0 to 1."""
    low, high = value_range
    return np.clip((anomaly_map - low) / max(high - low, 1e-12), 0, 1)


def _rgb(colour: str) -> tuple[float, ...]:
    if colour.startswith("#"):
        return tuple(int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return unlabel_rgb(colour)
