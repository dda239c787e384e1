"""Figures of notebook 13: scores over a plane, and how far methods fall from separate to unified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from mintad.plots.panels import panel_grid, panel_row
from mintad.plots.theme import FAINT, INK, OKABE_ITO, SCORE_COLOURS, text, titled

SIDE, HIGHEST = 205, 3.0
"""Pixels of a plane, and the highest score that the colours tell apart."""
SEPARATE, UNIFIED = OKABE_ITO[5], OKABE_ITO[3]


def score_planes(
    scores: Mapping[str, ArrayLike], points_nP: ArrayLike, groups: Sequence[int], *, reach: float, title: str
) -> go.Figure:
    """Draw scores (H, W) over a square of the plane, each under its caption, with the normal points (n, 2) on top.

    Row 0 lies at the bottom. A score is 0 for a usual normal point and 1 at the threshold, which a white line marks;
    what lies inside is accepted. `groups` are the points' classes, of which each has a hue.

    Raises:
        ValueError: nothing to draw.
    """
    panels = panel_grid(list(scores), 4, size=(SIDE, SIDE), gaps=(14, 44))
    points, groups = np.asarray(points_nP, dtype=float).round(2), np.asarray(groups)
    for place, values in zip(panels.places, scores.values(), strict=True):
        array = np.clip(np.asarray(values, dtype=float), 0, HIGHEST).round(2)
        axis = np.linspace(-reach, reach, len(array)).round(3)
        hover = {"hovertemplate": "score %{z:.2f}<extra></extra>"}
        panels.figure.add_heatmap(x=axis, y=axis, z=array, coloraxis="coloraxis", **hover, **place)
        line = {"start": 1, "end": 1, "size": 1, "coloring": "none"}
        look = {"line": {"color": "white", "width": 2}, "showscale": False, "hoverinfo": "skip"}
        panels.figure.add_contour(x=axis, y=axis, z=array, contours=line, **look, **place)
        for group, hue in zip(np.unique(groups), ("#56B4E9", "#009E73"), strict=False):
            x, y = points[groups == group].T
            marker = {"size": 2.5, "color": hue}
            panels.figure.add_scatter(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip", **place)
    bar = {"title": {"text": "score, 1 at the threshold", "side": "right"}, "thickness": 12, "len": 0.95}
    scale = {"colorscale": SCORE_COLOURS, "cmin": 0, "cmax": HIGHEST, "colorbar": bar}
    panels.figure.update_xaxes(visible=False, range=[-reach, reach])
    panels.figure.update_yaxes(visible=False, range=[-reach, reach])
    margin = {"l": 10, "r": 10, "t": 78, "b": 12}
    size = {"width": max(420, panels.width + 120), "height": panels.height + margin["t"] + margin["b"]}
    return titled(panels.figure, title, margin=margin, showlegend=False, coloraxis=scale, **size)


Fall = tuple[float | None, float | None]
"""Of one model a class, and of one model for all; None where it was not measured."""


def falls(panels: Mapping[str, Mapping[str, Fall]], *, title: str, unit: str) -> go.Figure:
    """Draw an arrow from one model a class to one for all: panel -> method -> `Fall`; a method is a row.

    A method of which one end was not measured has a single mark. Both numbers are written beside the arrow.
    """
    names = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    figure = panel_row(list(panels), 0.03, shared_yaxes=True)
    values = [value for rows in panels.values() for pair in rows.values() for value in pair if value is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    for column, rows in enumerate(panels.values(), start=1):
        place = {"row": 1, "col": column}
        for end, (kind, hue, symbol) in enumerate(
            (("one model a class", SEPARATE, "circle"), ("one model for all", UNIFIED, "diamond"))
        ):
            shown = {name: pair[end] for name, pair in rows.items() if pair[end] is not None}
            figure.add_scatter(
                x=list(shown.values()),
                y=[names.index(name) for name in shown],
                mode="markers",
                marker={"size": 10, "color": hue, "symbol": symbol},
                name=kind,
                legendgroup=kind,
                showlegend=column == 1,
                text=[text(name) for name in shown],
                hovertemplate="%{text}: %{x:.3f}<extra>" + kind + "</extra>",
                **place,
            )
        for name, (separate, unified) in rows.items():
            _arrow(figure, names.index(name), separate, unified, place)
        figure.update_xaxes(title=unit, range=[low - 0.04, high + 0.03], **place)
    ticks = {"tickvals": list(range(len(names))), "ticktext": [text(name) for name in names], "ticksuffix": " "}
    figure.update_yaxes(range=[len(names) - 0.5, -0.6], **ticks)
    height = 200 + 34 * len(names)
    legend = {"orientation": "h", "x": 0, "y": 1 - 34 / height, "yref": "container", "yanchor": "top"}
    return titled(figure, title, height=height, margin={"t": 108}, legend=legend)


def _arrow(figure: go.Figure, row: int, separate: float | None, unified: float | None, place: dict[str, int]) -> None:
    if separate is None or unified is None:
        return
    line = {"color": FAINT if abs(unified - separate) < 0.01 else INK, "width": 2}
    figure.add_scatter(
        x=[separate, unified], y=[row, row], mode="lines", line=line, hoverinfo="skip", showlegend=False, **place
    )
    figure.add_annotation(
        x=(separate + unified) / 2,
        y=row,
        yshift=13,
        text=f"{unified - separate:+.3f}",
        showarrow=False,
        font={"size": 11, "color": INK},
        **place,
    )
