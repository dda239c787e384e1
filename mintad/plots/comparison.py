"""Figures of many runs: dot plots with intervals, and how a value changes with the number of classes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from mintad.plots.panels import panel_row
from mintad.plots.theme import FAINT, OKABE_ITO, hues, interval_bars, text, titled

Dots = Mapping[str, tuple[Sequence[float], float, float]]  # name -> (values, low, high), NaN for no interval


def dot_plot(
    panels: Mapping[str, Dots],
    *,
    title: str,
    unit: str = "",
    marks: Mapping[str, Mapping[str, float]] | None = None,
    mark_name: str = "",
) -> go.Figure:
    """Draw a row for each name, the first on top, and a panel for each measure, with `unit` under its axis.

    Small dots are runs (where there are several), the large dot is their mean, the line its interval. Open diamonds,
    called `mark_name` in the legend, are the `marks`: measure -> name -> one more value.
    """
    names = [text(name) for name in dict.fromkeys(name for dots in panels.values() for name in dots)]
    figure = panel_row(list(panels), 0.04, shared_yaxes=True)
    for column, (measure, dots) in enumerate(panels.items(), start=1):
        shown = {"mode": "markers", "row": 1, "col": column, "showlegend": column == 1}
        runs = [(value, text(name)) for name, (values, _, _) in dots.items() if len(values) > 1 for value in values]
        if runs:
            x, y = zip(*runs, strict=True)
            look = {"size": 7, "color": OKABE_ITO[5], "opacity": 0.8}
            figure.add_scatter(x=x, y=y, marker=look, name="a run", **shown)
        values, low, high = zip(*dots.values(), strict=True)
        means, look = [np.mean(runs) for runs in values], {"size": 11, "color": OKABE_ITO[0]}
        error = interval_bars(means, low, high, color=OKABE_ITO[0], thickness=2)
        y = [text(name) for name in dots]
        figure.add_scatter(x=means, y=y, name="mean and interval", error_x=error, marker=look, **shown)
        extra = (marks or {}).get(measure, {})
        if extra:
            look = {"symbol": "diamond-open", "size": 11, "color": OKABE_ITO[3], "line": {"width": 2}}
            y = [text(name) for name in extra]
            figure.add_scatter(x=list(extra.values()), y=y, marker=look, name=mark_name, **shown)
        shown_values = [*itertools.chain(*values), *low, *high, *extra.values()]
        figure.update_xaxes(title=unit or None, range=_padded(shown_values), row=1, col=column)
    figure.update_yaxes(autorange="reversed", ticksuffix=" ", categoryorder="array", categoryarray=names)
    height = 194 + 34 * len(names)
    legend = {
        "orientation": "h",
        "x": 0,
        "y": 1 - 34 / height,
        "yref": "container",
        "yanchor": "top",
    }  # above the panels
    return titled(figure, title, height=height, margin={"t": 108}, legend=legend)


def _padded(values: Sequence[float]) -> list[float] | None:
    """Return a range, at least 0.1 wide, in which no value lies at the edge; NaN are skipped, None if all are."""
    if np.isnan(values).all():
        return None
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    padding = max(0.08 * (high - low), 0.05 - (high - low) / 2)
    return [low - padding, high + padding]


def step_plot(
    panels: Mapping[str, Mapping[str, Mapping[str, tuple[float, float, float]]]], *, title: str, unit: str
) -> go.Figure:
    """Draw how far each step brings a method: panel -> method -> step -> (value, low, high).

    A method is a row, the first on top; its steps are marks on a thin line, with their intervals a little apart.
    """
    figure = panel_row(list(panels), 0.04, shared_yaxes=True)
    names = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    steps = list(dict.fromkeys(step for rows in panels.values() for row in rows.values() for step in row))
    offset = dict(zip(steps, np.linspace(-0.2, 0.2, len(steps)) if len(steps) > 1 else [0.0], strict=True))
    colours, symbols = hues(steps), dict(zip(steps, itertools.cycle(("circle", "diamond", "square", "x"))))
    for column, rows in enumerate(panels.values(), start=1):
        place = {"row": 1, "col": column}
        for name, row in rows.items():
            x, y = [value for value, _, _ in row.values()], [names.index(name) + offset[step] for step in row]
            line = {"color": FAINT, "width": 2}
            figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False, **place)
        for step in steps:
            shown = {name: row[step] for name, row in rows.items() if step in row}
            if not shown:
                continue
            x, low, high = zip(*shown.values(), strict=True)
            figure.add_scatter(
                x=x,
                y=[names.index(name) + offset[step] for name in shown],
                error_x=interval_bars(x, low, high, color=colours[step], thickness=1.5, width=3),
                mode="markers",
                marker={"size": 10, "symbol": symbols[step], "color": colours[step]},
                text=[text(name) for name in shown],
                name=text(step),
                legendgroup=text(step),
                showlegend=column == 1,
                hovertemplate="%{text}: %{x:.3f}<extra>" + text(step) + "</extra>",
                **place,
            )
        figure.update_xaxes(title=unit, **place)
    ticks = {"tickvals": list(range(len(names))), "ticktext": [text(name) for name in names], "ticksuffix": " "}
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], **ticks)
    legend = {"orientation": "h", "x": 0, "y": 1 - 34 / (194 + 46 * len(names)), "yref": "container", "yanchor": "top"}
    return titled(figure, title, height=194 + 46 * len(names), margin={"t": 108}, legend=legend)


def growth_curves(
    panels: Mapping[str, Mapping[str, Mapping[int, tuple[float, float, float]]]], *, title: str, unit: str
) -> go.Figure:
    """Draw values over the number of classes: panel -> method -> classes -> (mean, low, high), NaN for no interval.

    Methods stand a little beside each other, so that their intervals can be told apart.
    """
    figure = panel_row(list(panels), 0.08, shared_yaxes=True)
    colours = hues(name for curves in panels.values() for name in curves)
    for column, curves in enumerate(panels.values(), start=1):
        ticks = sorted({n for curve in curves.values() for n in curve})
        step = 0.012 * (ticks[-1] - ticks[0])
        for place, (name, curve) in enumerate(curves.items()):
            classes = sorted(curve)
            beside = np.array(classes) + step * (place - (len(curves) - 1) / 2)
            middle, low, high = np.array([curve[n] for n in classes], dtype=float).T
            legend = {"name": text(name), "legendgroup": text(name), "showlegend": column == 1}
            look = {"mode": "lines+markers", "line": {"color": colours[name]}, **legend}
            error = interval_bars(middle, low, high, color=colours[name], thickness=1.2)
            figure.add_scatter(
                x=beside,
                y=middle,
                customdata=classes,
                hovertemplate="%{customdata}: %{y:.3f}",
                error_y=error,
                **look,
                row=1,
                col=column,
            )
        figure.update_xaxes(title="classes in one model", tickvals=ticks, row=1, col=column)
    figure.update_yaxes(title=unit, row=1, col=1)
    return titled(figure, title, height=400, showlegend=True)


def null_histogram(values: ArrayLike, observed: float, *, title: str, unit: str) -> go.Figure:
    """Draw how often each value of a statistic occurs over all possible cases; a line marks the observed value."""
    levels, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    figure = go.Figure(go.Bar(x=levels.tolist(), y=(counts / counts.sum()).tolist(), marker_color=OKABE_ITO[5]))
    line = {"color": OKABE_ITO[3], "width": 3}
    figure.add_vline(x=observed, line=line, annotation_text="observed", annotation_position="top")
    figure.update_xaxes(title=unit)
    figure.update_yaxes(title="share of the cases")
    return titled(figure, title, height=340, showlegend=False)
