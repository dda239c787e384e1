"""Charts of the measures: bars with intervals, and what a setting gains and costs (Fig. 7)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mintad.plots.theme import INK, OKABE_ITO, template
from toy.experiment import Comparison
from toy.measures import MEASURES, interval

BEST = {"projection_index": 1, "interclass_accepted": 0, "area_ratio": 1, "auroc_uniform": 1, "auroc_interclass": 1}
"""Measure -> value of a perfect detector."""


def measure_bars(comparison: Comparison, measures: Sequence[str] = tuple(MEASURES)) -> go.Figure:
    """Draw the means over the seeds with 95 % intervals, one panel per measure; the best possible value is dotted."""
    summary = comparison.summary()
    names = list(summary)
    shown = [m for m in measures if any(summary[name][m]["mean"] is not None for name in names)]
    figure = make_subplots(1, len(shown), subplot_titles=[m.replace("_", " ") for m in shown], shared_yaxes=True)
    for column, measure in enumerate(shown, start=1):
        intervals = [summary[name][measure] for name in names]
        means = [entry["mean"] for entry in intervals]
        error = {"array": [_half_width(entry) for entry in intervals], "color": INK}
        figure.add_bar(y=names, x=means, orientation="h", error_x=error, marker_color=OKABE_ITO[0], row=1, col=column)
        if measure in BEST:
            figure.add_vline(x=BEST[measure], line={"color": INK, "dash": "dot"}, row=1, col=column)
    figure.update_yaxes(autorange="reversed", ticksuffix=" ")
    figure.update_annotations(font_size=12)
    seeds = f"{comparison.seeds} seed{'s' if comparison.seeds > 1 else ''}"
    title = f"{comparison.shape.name}: means over {seeds} with 95 % intervals, the best possible dotted"
    size = {"height": 130 + 26 * len(names), "width": 130 + 190 * len(shown)}
    return figure.update_layout(template=template(), title=title, showlegend=False, **size)


def what_a_setting_buys(
    table: pd.DataFrame, *, gain: str = "interclass_accepted", price: str = "raggedness"
) -> go.Figure:
    """Draw Fig. 7 with its price: two measures over the values of a setting, one line per model, 95 % intervals.

    Args:
        table: result of `toy.sweeps.sweep`.
        gain: measure that the setting should improve.
        price: measure that shows what the improvement costs.
    """
    setting = table["setting"].iloc[0]
    figure = make_subplots(
        1, 2, subplot_titles=[f"{m.replace('_', ' ')}" for m in (gain, price)], horizontal_spacing=0.12
    )
    for n, (model, rows) in enumerate(table.groupby("model", sort=False)):
        for column, measure in enumerate((gain, price), start=1):
            groups = rows[rows["measure"] == measure].groupby("setting_value")["value"]
            intervals = {value: interval(group) for value, group in groups}
            figure.add_scatter(
                x=list(intervals),
                y=[entry["mean"] for entry in intervals.values()],
                error_y={"array": [_half_width(entry) for entry in intervals.values()]},
                name=model,
                legendgroup=model,
                showlegend=column == 1,
                line={"color": OKABE_ITO[n % len(OKABE_ITO)], "width": 2},
                row=1,
                col=column,
            )
    spans_decades = table["setting_value"].max() > 20 * table["setting_value"].min() > 0
    figure.update_xaxes(
        title=setting, type="log" if spans_decades else "linear", tickvals=sorted(set(table["setting_value"]))
    )
    title = f"{table['shape'].iloc[0]}: what {setting} buys, and what it costs"
    return figure.update_layout(template=template(), title=title, height=400, width=860)


def _half_width(entry: dict[str, float | None]) -> float:
    """Return half the width of an interval of `toy.measures.interval`; 0 where there is none."""
    return 0 if entry["high"] is None else entry["high"] - entry["mean"]
