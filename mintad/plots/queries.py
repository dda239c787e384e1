"""Figures of notebooks 05 and 06: tables of classes and of tokens, growth with N, intervals of several kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from mintad.plots.panels import panel_grid
from mintad.plots.theme import interval_bars, text, titled

CELL, GAP = 42, 58  # pixels of a cell and between tables
ROW, TABLE_GAP = 16, 46  # pixels of a token's row and between tables of tokens
SHADES = [[0, "#f7fbff"], [0.5, "#6baed6"], [1, "#08306b"]]


def class_tables(
    tables: Mapping[str, ArrayLike],
    names: Sequence[str],
    *,
    title: str,
    rows: str,
    columns: str,
    unit: str,
    value_range: tuple[float, float] | None = None,
    per_row: int = 3,
    digits: int = 2,
) -> go.Figure:
    """Draw square tables (N, N) side by side on one scale of shades, the value written in each cell.

    `rows` and `columns` say what these are. Values beyond `value_range` keep the last shade; None spans all values.
    """
    arrays = [np.asarray(table, dtype=float) for table in tables.values()]
    low, high = value_range or (min(array.min() for array in arrays), max(array.max() for array in arrays))
    side = CELL * len(names)
    shared = {"shared_xaxes": True, "shared_yaxes": "rows"}
    panels = panel_grid(list(tables), per_row, size=(side, side), gaps=(24, GAP), **shared)
    figure = panels.figure
    labels = [text(name) for name in names]
    for place, array in zip(panels.places, arrays, strict=True):
        hover = f"{rows} %{{y}}<br>{columns} %{{x}}<br>%{{z:.{digits + 1}f}} {unit}<extra></extra>"
        look = {"coloraxis": "coloraxis", "textfont": {"size": 11}, "hovertemplate": hover, "xgap": 1, "ygap": 1}
        values = array.round(digits + 2)
        figure.add_heatmap(z=values, x=labels, y=labels, texttemplate=f"%{{z:.{digits}f}}", **look, **place)
    figure.update_xaxes(showgrid=False, tickangle=-40)
    figure.update_yaxes(showgrid=False, autorange="reversed")
    for place in panels.places[-per_row:]:
        figure.update_xaxes(title=columns, showticklabels=True, **place)
    figure.update_yaxes(title=rows, col=1)
    bar = {"title": {"text": text(unit), "side": "right"}, "thickness": 12}
    scale = {"colorscale": SHADES, "cmin": low, "cmax": high, "colorbar": bar}
    margin = {"l": 110, "r": 20, "t": 70, "b": 90}
    size = {"width": max(480, panels.width + margin["l"] + 110), "height": panels.height + margin["t"] + margin["b"]}
    return titled(figure, title, margin=margin, coloraxis=scale, **size)


def growth(classes: Sequence[int], counts: Mapping[str, Sequence[float]], *, title: str, unit: str) -> go.Figure:
    """Draw lines over the number of classes, with both axes logarithmic."""
    figure = go.Figure()
    for name, values in counts.items():
        figure.add_scatter(x=list(classes), y=np.asarray(values, float), name=text(name), mode="lines+markers")
    figure.update_xaxes(title="classes N", type="log", tickvals=list(classes), ticktext=[str(n) for n in classes])
    most = max(max(values) for values in counts.values())
    ticks = [mantissa * 10**power for power in range(12) for mantissa in (1, 2, 5) if mantissa * 10**power <= 2 * most]
    units = ((1e9, " G"), (1e6, " M"), (1e3, " k"), (1, ""))
    written = [next(f"{tick / size:g}{letter}" for size, letter in units if tick >= size) for tick in ticks]
    figure.update_yaxes(title=unit, type="log", tickvals=ticks, ticktext=written)
    return titled(figure, title, height=380, showlegend=True)


def dots(
    kinds: Mapping[str, Mapping[str, tuple[float, float, float]]],
    *,
    title: str,
    unit: str,
    value_range: tuple[float, float] | None = None,
    line: float | None = None,
) -> go.Figure:
    """Draw dots with intervals, kind -> name -> (value, low, high): a row per name, a hue per kind.

    A dotted line marks the value `line`.
    """
    names = list(dict.fromkeys(name for rows in kinds.values() for name in rows))
    figure = go.Figure()
    for n, (kind, rows) in enumerate(kinds.items()):
        shift = (n - (len(kinds) - 1) / 2) * 0.22
        points = [(names.index(name) + shift, *triple) for name, triple in rows.items()]
        y, middle, low, high = np.array(points, dtype=float).T
        look = {"mode": "markers", "marker": {"size": 9}, "error_x": interval_bars(middle, low, high, thickness=1.5)}
        hover = {"text": [text(name) for name in rows], "hovertemplate": "%{text}: %{x:.3f}<extra></extra>"}
        figure.add_scatter(x=middle.round(4), y=y, name=text(kind), **look, **hover)
    if line is not None:
        figure.add_vline(x=line, line={"dash": "dot", "width": 1.5, "color": "#777"})
    figure.update_xaxes(title=unit, range=value_range)
    ticks = {"tickvals": list(range(len(names))), "ticktext": [text(name) for name in names], "ticksuffix": " "}
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], **ticks)
    return titled(figure, title, height=140 + 40 * len(names), showlegend=True)


def token_tables(tokens: Mapping[str, tuple[ArrayLike, Sequence[str]]], *, title: str) -> go.Figure:
    """Draw tables below each other: a row for each token, a column for each of its values, dark for large ones.

    Every table has colours of its own, from its smallest to its largest value, which are written in its heading.
    `tokens`: heading -> (tokens (n, T), the n rows' names, of which only the first of equal neighbours is written).
    """
    arrays = {name: np.asarray(values, dtype=float) for name, (values, _) in tokens.items()}
    heights = [len(array) * ROW for array in arrays.values()]
    plotted = sum(heights) + TABLE_GAP * (len(heights) - 1)
    headings = [f"{text(name)} ({array.min():.2f} to {array.max():.2f})" for name, array in arrays.items()]
    spacing = TABLE_GAP / plotted if len(arrays) > 1 else 0
    figure = make_subplots(len(arrays), 1, subplot_titles=headings, row_heights=heights, vertical_spacing=spacing)
    for row, (name, array) in enumerate(arrays.items(), start=1):
        labels = list(tokens[name][1])
        shown = [text(label) if n == 0 or labels[n - 1] != label else "" for n, label in enumerate(labels)]
        span = max(float(np.ptp(array)), 1e-12)
        look = {"colorscale": "Blues", "zmin": 0, "zmax": 1, "showscale": False, "xgap": 1}
        hover = {"customdata": array.round(4), "hovertemplate": "value %{x}: %{customdata}<extra></extra>"}
        figure.add_heatmap(z=((array - array.min()) / span).round(3), **look, **hover, row=row, col=1)
        written = [n for n, label in enumerate(shown) if label]
        ticks = {"tickvals": written, "ticktext": [shown[n] for n in written]}
        figure.update_yaxes(autorange="reversed", showgrid=False, **ticks, row=row, col=1)
    figure.update_xaxes(showgrid=False, showticklabels=False)
    figure.update_xaxes(title="value of the token", showticklabels=True, row=len(arrays), col=1)
    return titled(figure, title, height=plotted + 140, margin={"t": 84, "b": 56})
