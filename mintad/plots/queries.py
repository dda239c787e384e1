"""Figures of notebook 05: annotated tables of classes against classes, growth with N, intervals of two kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from mintad.plots.panels import panel_grid
from mintad.plots.theme import OKABE_ITO, interval_bars, template, text

CELL, GAP = 42, 58
"""Pixels of a cell and between tables."""
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

    Args:
        tables: caption -> values (N, N).
        names: of the classes.
        title: states what is to be seen.
        rows, columns: what rows and columns are.
        unit: of the values.
        value_range: of the shades; None for the smallest and largest value. Values beyond it keep the last shade.
        per_row: tables per row.
        digits: behind the decimal point.
    """
    arrays = [np.asarray(table, dtype=float) for table in tables.values()]
    low, high = value_range or (min(array.min() for array in arrays), max(array.max() for array in arrays))
    side = CELL * len(names)
    panels = panel_grid(
        list(tables), per_row, size=(side, side), gaps=(24, GAP), shared_xaxes=True, shared_yaxes="rows"
    )
    figure = panels.figure
    labels = [text(name) for name in names]
    for place, array in zip(panels.places, arrays, strict=True):
        figure.add_heatmap(
            z=array.round(digits + 2),
            x=labels,
            y=labels,
            coloraxis="coloraxis",
            texttemplate=f"%{{z:.{digits}f}}",
            textfont={"size": 11},
            hovertemplate=f"{rows} %{{y}}<br>{columns} %{{x}}<br>%{{z:.{digits + 1}f}} {unit}<extra></extra>",
            xgap=1,
            ygap=1,
            **place,
        )
    figure.update_xaxes(showgrid=False, tickangle=-40)
    figure.update_yaxes(showgrid=False, autorange="reversed")
    for place in panels.places[-per_row:]:
        figure.update_xaxes(title=columns, showticklabels=True, **place)
    figure.update_yaxes(title=rows, col=1)
    bar = {"title": {"text": text(unit), "side": "right"}, "thickness": 12}
    scale = {"colorscale": SHADES, "cmin": low, "cmax": high, "colorbar": bar}
    margin = {"l": 110, "r": 20, "t": 70, "b": 90}
    size = {"width": max(480, panels.width + margin["l"] + 110), "height": panels.height + margin["t"] + margin["b"]}
    return figure.update_layout(template=template(), title=title, margin=margin, coloraxis=scale, **size)


def growth(classes: Sequence[int], counts: Mapping[str, Sequence[float]], *, title: str, unit: str) -> go.Figure:
    """Draw lines over the number of classes, with both axes logarithmic."""
    figure = go.Figure()
    for n, (name, values) in enumerate(counts.items()):
        look = {"color": OKABE_ITO[n % len(OKABE_ITO)]}
        figure.add_scatter(
            x=list(classes), y=[float(value) for value in values], name=text(name), mode="lines+markers", line=look
        )
    figure.update_xaxes(title="classes N", type="log", tickvals=list(classes), ticktext=[str(n) for n in classes])
    most = max(max(values) for values in counts.values())
    ticks = [mantissa * 10**power for power in range(12) for mantissa in (1, 2, 5) if mantissa * 10**power <= 2 * most]
    figure.update_yaxes(title=unit, type="log", tickvals=ticks, ticktext=[_short(tick) for tick in ticks])
    return figure.update_layout(template=template(), title=title, height=380, showlegend=True)


def dots(
    kinds: Mapping[str, Mapping[str, tuple[float, float, float]]],
    *,
    title: str,
    unit: str,
    value_range: tuple[float, float] | None = None,
    line: float | None = None,
) -> go.Figure:
    """Draw dots with intervals: a row per name, the kinds beside each other in hues of their own.

    Args:
        kinds: kind -> name -> (value, low, high).
        title: states what is to be seen.
        unit: of the values.
        value_range: of the axis.
        line: a value that a dotted line marks.
    """
    names = list(dict.fromkeys(name for rows in kinds.values() for name in rows))
    figure = go.Figure()
    for n, (kind, rows) in enumerate(kinds.items()):
        shift = (n - (len(kinds) - 1) / 2) * 0.22
        points = [(names.index(name) + shift, *triple) for name, triple in rows.items()]
        place, middle, low, high = np.array(points, dtype=float).T
        figure.add_scatter(
            x=middle.round(4),
            y=place,
            name=text(kind),
            mode="markers",
            marker={"color": OKABE_ITO[n % len(OKABE_ITO)], "size": 9},
            error_x=interval_bars(middle, low, high, thickness=1.5),
            text=[text(name) for name in rows],
            hovertemplate="%{text}: %{x:.3f}<extra></extra>",
        )
    if line is not None:
        figure.add_vline(x=line, line={"dash": "dot", "width": 1.5, "color": "#777"})
    figure.update_xaxes(title=unit, range=value_range)
    ticks = {"tickvals": list(range(len(names))), "ticktext": [text(name) for name in names], "ticksuffix": " "}
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], **ticks)
    return figure.update_layout(template=template(), title=title, height=140 + 40 * len(names), showlegend=True)


def _short(number: int) -> str:
    """5000000 -> "5 M"."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:g} {letter}"
    return f"{number:g}"
