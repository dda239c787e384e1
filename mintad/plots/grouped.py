"""Bars in groups: several values of each of several things."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from mintad.plots.theme import OKABE_ITO, template, text


def grouped_bars(
    values: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    unit: str,
    value_range: tuple[float, float] | None = None,
    digits: int = 3,
) -> go.Figure:
    """Horizontal bars, a group for each name of the outer mapping (the first on top), a hue for each inner name.

    Args:
        values: group -> {name: value}; a name may be missing in a group.
        title: states what is to be seen.
        unit: of the values.
        value_range: of the axis.
        digits: behind the point, written at each bar.
    """
    names = list(dict.fromkeys(name for group in values.values() for name in group))
    figure = go.Figure()
    for n, name in enumerate(names):
        found = [group.get(name) for group in values.values()]
        figure.add_bar(
            y=[text(group) for group in values],
            x=found,
            name=text(name),
            orientation="h",
            marker_color=OKABE_ITO[n % len(OKABE_ITO)],
            text=["" if value is None else f"{value:.{digits}f}" for value in found],
            textposition="auto",
            insidetextanchor="start",
            textangle=0,
        )
    figure.update_xaxes(title=unit, range=value_range)
    figure.update_yaxes(autorange="reversed", ticksuffix=" ")
    height = 130 + len(values) * (12 + 19 * len(names))
    legend = {"traceorder": "normal"}
    return figure.update_layout(template=template(), title=title, height=height, bargap=0.2, legend=legend)
