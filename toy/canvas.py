"""Square panels of the plane with points in them, shared by all figures."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mintad.plots.theme import OKABE_ITO, template
from toy.geometry import WINDOW

SIDE = 260
"""Side of a panel, in pixels."""


def panels(titles: list[str], columns: int) -> go.Figure:
    """Return a figure with one empty panel per title, row by row."""
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


def panel_at(n: int, columns: int) -> dict[str, int]:
    """Return row and column of panel n, as plotly's keywords."""
    return {"row": n // columns + 1, "col": n % columns + 1}


def class_points(points: np.ndarray, k: int) -> dict:
    """Return the keywords of a scatter trace for points (n, 2) of class k; the class sets the hue."""
    marker = {"color": OKABE_ITO[k % len(OKABE_ITO)], "size": 3, "opacity": 0.7}
    xy = points.astype(np.float32)
    return {
        "x": xy[:, 0],
        "y": xy[:, 1],
        "mode": "markers",
        "marker": marker,
        "name": f"class {k}",
        "hoverinfo": "name",
    }


def scatter(figure: go.Figure, points: np.ndarray, labels: np.ndarray, n: int, columns: int) -> None:
    """Add points (P, 2) with their labels (P,) to panel n."""
    for k in np.unique(labels):
        trace = class_points(points[labels == k], int(k))
        figure.add_scatter(**trace, legendgroup=f"{k}", showlegend=False, **panel_at(n, columns))


def square(figure: go.Figure, count: int, columns: int, title: str) -> go.Figure:
    """Give every panel the same window and equal scales, and set the title and size of the figure."""
    width, rows = min(columns, count), -(-count // columns)
    figure.update_xaxes(range=[-WINDOW, WINDOW], showgrid=False, tickvals=[-1, 0, 1], constrain="domain")
    figure.update_yaxes(range=[-WINDOW, WINDOW], showgrid=False, tickvals=[-1, 0, 1])
    for n in range(count):
        figure.update_yaxes(scaleanchor=f"x{n + 1 if n else ''}", **(panel_at(n, columns) if count > 1 else {}))
    size = {"width": max(480, width * (SIDE + 20) + 90), "height": rows * SIDE + (rows - 1) * 40 + 110}
    return figure.update_layout(template=template(), title=title, margin={"l": 40, "r": 20, "t": 70, "b": 30}, **size)
