"""Grids of panels whose sizes are given in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mintad.plots.images import data_uri
from mintad.plots.theme import text


@dataclass
class Panels:
    """Empty panels in a figure, row by row."""

    figure: go.Figure
    places: list[dict[str, int]]  # row and column of each panel, as `add_trace` takes them
    width: int  # of all panels with the gaps between them, pixels
    height: int


def panel_grid(
    captions: Sequence[str], columns: int, *, size: tuple[int, int], gaps: tuple[int, int], **options: object
) -> Panels:
    """Make panels side by side, at most `columns` in a row, each under its caption.

    Args:
        size: width and height of a panel, pixels.
        gaps: between columns and between rows, pixels.
        options: of `make_subplots`, such as axes in common.

    Raises:
        ValueError: no caption, so nothing to draw.
    """
    titles = _titles(captions)
    across, down = min(columns, len(captions)), -(-len(captions) // columns)
    width, height = (n * side + (n - 1) * gap for n, side, gap in zip((across, down), size, gaps, strict=True))
    options["horizontal_spacing"] = gaps[0] / width if across > 1 else 0
    options["vertical_spacing"] = gaps[1] / height if down > 1 else 0
    figure = make_subplots(down, across, subplot_titles=titles, **options).update_annotations(font_size=12)
    places = [{"row": n // across + 1, "col": n % across + 1} for n in range(len(captions))]
    return Panels(figure, places, width, height)


def panel_row(captions: Sequence[str], gap: float, **options: object) -> go.Figure:
    """Make a row of panels, each under its caption, that share the figure's width; `gap` is a share of it.

    Raises:
        ValueError: no caption, so nothing to draw.
    """
    titles = _titles(captions)
    figure = make_subplots(1, len(titles), subplot_titles=titles, horizontal_spacing=gap, **options)
    return figure.update_annotations(font_size=12)


def _titles(captions: Sequence[str]) -> list[str]:
    if not captions:
        raise ValueError("nothing to draw")
    return [text(caption) for caption in captions]


def picture_grid(
    captions: Sequence[str], pictures: Sequence[np.ndarray], columns: int, **layout: tuple[int, int]
) -> Panels:
    """Make a `panel_grid` of pictures (H, W) or (H, W, 3), uint8."""
    panels = panel_grid(captions, columns, **layout)
    for place, pixels in zip(panels.places, pictures, strict=True):
        panels.figure.add_trace(go.Image(source=data_uri(np.asarray(pixels)), hoverinfo="skip"), **place)
    panels.figure.update_xaxes(visible=False)
    panels.figure.update_yaxes(visible=False)
    return panels
