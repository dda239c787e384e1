"""The look that all figures share, and how curves are made small."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.colors import sequential

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A7A00", "#555555")
"""Hues that colour-blind readers tell apart; yellow and black are changed, to be seen on white and on black."""
NORMAL, ANOMALOUS = "#0072B2", "#D55E00"
SYMBOLS = {0: "triangle-up", 1: "circle-open"}
"""Marker of normal (0) and anomalous (1) images, as in Fig. 4; full and empty, because small shapes look alike."""
SCORE_COLOURS = tuple(sequential.Inferno)
"""Anomaly scores, from low (dark) to high (bright)."""
INK, FAINT = "#777", "rgba(128,128,128,0.35)"  # both are read on white and on black


def template() -> go.layout.Template:
    """Return the look of every figure; small, because each figure carries it."""
    axis = {"gridcolor": "rgba(128,128,128,0.2)", "zeroline": False, "ticks": "outside"}
    axis |= {"ticklen": 4, "automargin": True}
    place = {"x": 0, "xanchor": "left", "y": 0.99, "yanchor": "top", "yref": "container"}
    return go.layout.Template(
        layout={
            "colorway": OKABE_ITO,
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
            "title": {"font": {"size": 15}, **place},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 60, "r": 20, "t": 64, "b": 58},
            "xaxis": axis,
            "yaxis": axis,
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "remove": ["select2d", "lasso2d", "autoScale2d"]},
        }
    )


def titled(figure: go.Figure, title: str, **layout: object) -> go.Figure:
    """Give a figure its title and the look of all figures, and return it."""
    return figure.update_layout(template=template(), title=title, **layout)


def hues(names: Iterable[str]) -> dict[str, str]:
    """Return a hue for every name, in the order of the names; the hues repeat after eight."""
    return dict(zip(dict.fromkeys(names), itertools.cycle(OKABE_ITO)))


def thin(x: ArrayLike, y: ArrayLike, points: int = 400) -> tuple[list[float], list[float]]:
    """Keep at most `points` of the points of a curve, ends included, rounded to 5 digits; none is interpolated."""
    x, y = np.asarray(x), np.asarray(y)
    chosen = np.unique(np.linspace(0, len(x) - 1, points).round().astype(int))
    return [float(f"{value:.5g}") for value in x[chosen]], [float(f"{value:.5g}") for value in y[chosen]]


def text(name: object) -> str:
    """Escape a name for plotly, which reads labels as a kind of HTML."""
    return html.escape(str(name), quote=False)


def interval_bars(middle: ArrayLike, low: ArrayLike, high: ArrayLike, **look: object) -> dict[str, object]:
    """Describe intervals around points as plotly's error bars; NaN where there is no interval."""
    middle = np.asarray(middle, dtype=float)
    above, below = np.maximum(np.asarray(high) - middle, 0), np.maximum(middle - np.asarray(low), 0)
    return {"array": above, "arrayminus": below, **look}
