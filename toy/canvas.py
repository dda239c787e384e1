"""Square panels of the plane, and points in them; what the figures have in common."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mintad.plots.theme import OKABE_ITO, template
from toy.geometry import WINDOW

SIDE = 260
"""Pixels of a panel."""


def panels(titles: list[str], columns: int) -> go.Figure:
    """Empty panels, row by row."""
    width, rows = min(columns, len(titles)), -(-len(titles) // columns)
    gap = 40 / (rows * SIDE + (rows - 1) * 40)
    figure = make_subplots(
        rows,
        width,
        subplot_titles=titles,
        horizontal_spacing=0.03 if width > 1 else 0,
        vertical_spacing=gap if rows > 1 else 0,
    )
    return figure.update_annotations(font_size=12)


def place(n: int, columns: int) -> dict[str, int]:
    """Row and column of panel n."""
    return {"row": n // columns + 1, "col": n % columns + 1}


def dots(points: np.ndarray, k: int) -> dict:
    """Scatter trace of points (n, 2) of class k; class = hue."""
    marker = {"color": OKABE_ITO[k % len(OKABE_ITO)], "size": 3, "opacity": 0.7}
    shown = points.astype(np.float32)
    return {
        "x": shown[:, 0],
        "y": shown[:, 1],
        "mode": "markers",
        "marker": marker,
        "name": f"class {k}",
        "hoverinfo": "name",
    }


def scatter(figure: go.Figure, points: np.ndarray, labels: np.ndarray, n: int, columns: int) -> None:
    """Points (n, 2) with their labels (n,) in panel n."""
    for k in np.unique(labels):
        made = dots(points[labels == k], int(k))
        figure.add_scatter(**made, legendgroup=f"{k}", showlegend=False, **place(n, columns))


def square(figure: go.Figure, count: int, columns: int, title: str) -> go.Figure:
    """The same window and equal scales in every panel; sets title and size."""
    width, rows = min(columns, count), -(-count // columns)
    figure.update_xaxes(range=[-WINDOW, WINDOW], showgrid=False, tickvals=[-1, 0, 1], constrain="domain")
    figure.update_yaxes(range=[-WINDOW, WINDOW], showgrid=False, tickvals=[-1, 0, 1])
    for n in range(count):
        figure.update_yaxes(scaleanchor=f"x{n + 1 if n else ''}", **(place(n, columns) if count > 1 else {}))
    size = {"width": max(480, width * (SIDE + 20) + 90), "height": rows * SIDE + (rows - 1) * 40 + 110}
    return figure.update_layout(template=template(), title=title, margin={"l": 40, "r": 20, "t": 70, "b": 30}, **size)
