"""Class tokens as rows of a table of colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from mintad.plots.theme import template, text

ROW, GAP = 16, 46
"""Pixels of a token's row and between tables."""


def token_tables(tokens: Mapping[str, tuple[ArrayLike, Sequence[str]]], *, title: str) -> go.Figure:
    """Draw tables below each other: a row for each token, a column for each of its values, dark for large ones.

    Every table has colours of its own, from its smallest to its largest value, which are written in its heading.

    Args:
        tokens: heading -> (tokens (n, T), the n rows' names). Names may repeat; only the first of equal neighbours is
            written.
        title: states what is to be seen.
    """
    arrays = {name: np.asarray(values, dtype=float) for name, (values, _) in tokens.items()}
    heights = [len(array) * ROW for array in arrays.values()]
    plotted = sum(heights) + GAP * (len(heights) - 1)
    headings = [f"{text(name)} ({array.min():.2f} to {array.max():.2f})" for name, array in arrays.items()]
    figure = make_subplots(
        len(arrays),
        1,
        subplot_titles=headings,
        row_heights=heights,
        vertical_spacing=GAP / plotted if len(arrays) > 1 else 0,
    )
    for row, (name, array) in enumerate(arrays.items(), start=1):
        labels = list(tokens[name][1])
        shown = [text(label) if n == 0 or labels[n - 1] != label else "" for n, label in enumerate(labels)]
        span = max(float(np.ptp(array)), 1e-12)
        picture = go.Heatmap(
            z=((array - array.min()) / span).round(3),
            customdata=array.round(4),
            colorscale="Blues",
            zmin=0,
            zmax=1,
            showscale=False,
            hovertemplate="value %{x}: %{customdata}<extra></extra>",
            xgap=1,
        )
        figure.add_trace(picture, row, 1)
        written = [n for n, label in enumerate(shown) if label]
        ticks = {"tickvals": written, "ticktext": [shown[n] for n in written]}
        figure.update_yaxes(autorange="reversed", showgrid=False, **ticks, row=row, col=1)
    figure.update_xaxes(showgrid=False, showticklabels=False)
    figure.update_xaxes(title="value of the token", showticklabels=True, row=len(arrays), col=1)
    return figure.update_layout(template=template(), title=title, height=plotted + 140, margin={"t": 84, "b": 56})
