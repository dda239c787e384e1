"""Several measures of several models, side by side (notebooks 04 and 08)."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mintad.plots.arrays import add_bars
from mintad.plots.theme import INK, OKABE_ITO, template, text


def measures(
    values: Mapping[str, Mapping[str, float | None]],
    *,
    title: str,
    references: Mapping[str, float] | None = None,
    value_range: tuple[float, float] = (0, 1),
) -> go.Figure:
    """Draw a panel of horizontal bars for each measure; models are the rows, the first on top.

    Args:
        values: model -> measure -> value; None or absent where a model has none. All measures share one axis range.
        title: states what is to be seen.
        references: measure -> value that is drawn as a dotted line, such as chance.
        value_range: of all axes.

    Raises:
        ValueError: nothing to draw.
    """
    names = list(dict.fromkeys(name for row in values.values() for name in row))
    if not names:
        raise ValueError("nothing to draw")
    figure = make_subplots(
        1, len(names), subplot_titles=[text(name) for name in names], shared_yaxes=True, horizontal_spacing=0.04
    )
    figure.update_annotations(font_size=12)
    for column, name in enumerate(names, start=1):
        numbers = {model: row.get(name) for model, row in values.items()}
        add_bars(figure, numbers, OKABE_ITO[(column - 1) % len(OKABE_ITO)], row=1, col=column)
        figure.update_xaxes(range=value_range, row=1, col=column)
        if references and name in references:
            line = {"color": INK, "dash": "dot", "width": 2}
            figure.add_vline(x=references[name], line=line, row=1, col=column)
    figure.update_yaxes(ticksuffix=" ", row=1, col=1)
    figure.update_yaxes(autorange="reversed")
    for column in range(2, len(names) + 1):
        figure.update_yaxes(ticks="", row=1, col=column)
    height = 120 + 30 * len(values)
    return figure.update_layout(template=template(), title=title, height=height, showlegend=False, bargap=0.25)
