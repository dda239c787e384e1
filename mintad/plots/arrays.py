"""Small multiples for teaching: pictures, maps, curves, bars and points, from plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from mintad.plots.images import data_uri
from mintad.plots.theme import INK, OKABE_ITO, SCORE_COLOURS, SYMBOLS, template, text, thin

SIDE, GAP, WIDEST = 170, 34, 1000
"""Pixels of a panel, between panels, and of the widest figure, which must fit a notebook's column."""


def gallery(pictures: Mapping[str, ArrayLike], *, title: str = "", columns: int = 6) -> go.Figure:
    """Pictures side by side, each under its caption.

    Args:
        pictures: caption -> (H, W, 3) or (H, W), uint8. Captions are distinct.
        title: states what is to be seen.
        columns: pictures in a row.
    """
    figure, places = _panels(pictures, columns)
    for place, pixels in zip(places, pictures.values(), strict=True):
        figure.add_trace(go.Image(source=data_uri(np.asarray(pixels)), hoverinfo="skip"), **place)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return _sized(figure, len(pictures), columns, title)


def maps(
    values: Mapping[str, ArrayLike],
    *,
    title: str = "",
    unit: str = "value",
    columns: int = 4,
    value_range: tuple[float, float] | None = None,
    colours: Sequence[str] | str = SCORE_COLOURS,
) -> go.Figure:
    """Maps (H, W) side by side on one colour scale, row 0 on top.

    Args:
        values: caption -> (H, W).
        title: states what is to be seen.
        unit: of the values, written at the colour bar.
        columns: maps in a row.
        value_range: of the colours; None for the smallest and largest value of all maps.
        colours: a plotly colour scale; for values with a sign take 'RdBu' and a range around 0.
    """
    figure, places = _panels(values, columns)
    arrays = [np.asarray(one, dtype=np.float32) for one in values.values()]
    low, high = value_range or (min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays))
    bar = {"title": {"text": text(unit), "side": "right"}, "thickness": 12}
    scale = {"colorscale": colours, "cmin": low, "cmax": high, "colorbar": bar}
    for place, array in zip(places, arrays, strict=True):
        figure.add_trace(go.Heatmap(z=array, coloraxis="coloraxis", hovertemplate="%{z:.3g}<extra></extra>"), **place)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed")
    for n in range(len(arrays)):
        figure.update_yaxes(scaleanchor=f"x{n + 1 if n else ''}", **places[n])
    return _sized(figure, len(arrays), columns, title).update_layout(coloraxis=scale)


def curves(
    x: ArrayLike | Mapping[str, ArrayLike], values: Mapping[str, ArrayLike], *, title: str, x_title: str, y_title: str
) -> go.Figure:
    """Curves over a common x, or each over its own (a mapping with the same names)."""
    figure = go.Figure()
    for n, (name, y) in enumerate(values.items()):
        points = thin(x[name] if isinstance(x, Mapping) else x, y)
        line = {"color": OKABE_ITO[n % len(OKABE_ITO)], "width": 2}
        figure.add_scatter(x=points[0], y=points[1], name=text(name), mode="lines", line=line)
    figure.update_xaxes(title=x_title)
    figure.update_yaxes(title=y_title)
    return figure.update_layout(template=template(), title=title, height=360, showlegend=True)


def number(value: float) -> str:
    """Four digits, and thousands in full: 0.1235, 12.35, 383,500,000."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def bars(
    values: Mapping[str, float | tuple[float, float, float]],
    *,
    title: str,
    unit: str,
    value_range: tuple[float, float] | None = None,
) -> go.Figure:
    """Horizontal bars, the first on top; a triple (value, low, high) also draws its interval."""
    triples = {name: v if isinstance(v, tuple) else (v, v, v) for name, v in values.items()}
    middle, low, high = (np.array([v[k] for v in triples.values()], dtype=float) for k in range(3))
    spread = bool((high > low).any())
    figure = go.Figure(
        go.Bar(
            y=[f"{text(name)}  <b>{number(value)}</b>" for name, value in zip(triples, middle, strict=True)],
            x=middle,
            orientation="h",
            marker_color=OKABE_ITO[0],
            error_x={"array": high - middle, "arrayminus": middle - low, "color": INK} if spread else None,
        )
    )
    figure.update_xaxes(title=unit, range=value_range)
    figure.update_yaxes(autorange="reversed", ticksuffix=" ")
    return figure.update_layout(template=template(), title=title, height=130 + 30 * len(triples), showlegend=False)


def grouped_bars(
    values: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    unit: str,
    value_range: tuple[float, float] | None = None,
    digits: int = 3,
) -> go.Figure:
    """Draw horizontal bars: a group for each outer name, the first on top, a hue for each inner name.

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
        numbers = [group.get(name) for group in values.values()]
        figure.add_bar(
            y=[text(group) for group in values],
            x=numbers,
            name=text(name),
            orientation="h",
            marker_color=OKABE_ITO[n % len(OKABE_ITO)],
            text=["" if value is None else f"{value:.{digits}f}" for value in numbers],
            textposition="auto",
            insidetextanchor="start",
            textangle=0,
        )
    figure.update_xaxes(title=unit, range=value_range)
    figure.update_yaxes(autorange="reversed", ticksuffix=" ")
    height = 130 + len(values) * (12 + 19 * len(names))
    legend = {"traceorder": "normal"}
    return figure.update_layout(template=template(), title=title, height=height, bargap=0.2, legend=legend)


def embedding(
    points_nP: ArrayLike, classes: Sequence[str], labels: Sequence[int] | None = None, *, title: str
) -> go.Figure:
    """Points (n, 2) of an embedding such as t-SNE: class = hue, normal = triangle, anomalous = circle (Fig. 4a, b)."""
    points, names = np.asarray(points_nP, dtype=float), np.asarray(classes)
    kinds = np.zeros(len(points), dtype=int) if labels is None else np.asarray(labels)
    figure = go.Figure()
    for n, name in enumerate(sorted(set(names))):
        for kind in sorted(set(kinds)):
            chosen = (names == name) & (kinds == kind)
            if not chosen.any():
                continue
            look = {"color": OKABE_ITO[n % len(OKABE_ITO)], "symbol": SYMBOLS[int(kind)], "size": 8, "opacity": 0.8}
            label = text(name) if labels is None else f"{text(name)}, {'anomalous' if kind else 'normal'}"
            figure.add_scatter(
                x=points[chosen, 0].round(3), y=points[chosen, 1].round(3), mode="markers", name=label, marker=look
            )
    figure.update_xaxes(title="first embedding axis (no unit)", showticklabels=False)
    figure.update_yaxes(title="second embedding axis", showticklabels=False)
    return figure.update_layout(template=template(), title=title, height=460)


def _panels(captions: Mapping[str, object], columns: int) -> tuple[go.Figure, list[dict[str, int]]]:
    if not captions:
        raise ValueError("nothing to draw")
    count = len(captions)
    width, rows = min(columns, count), -(-count // columns)
    plotted = rows * _side(width) + (rows - 1) * GAP
    figure = make_subplots(
        rows,
        width,
        subplot_titles=[text(caption) for caption in captions],
        horizontal_spacing=0.02 if width > 1 else 0,
        vertical_spacing=GAP / plotted if rows > 1 else 0,
    )
    figure.update_annotations(font_size=12)
    return figure, [{"row": n // columns + 1, "col": n % columns + 1} for n in range(count)]


def _side(columns: int) -> int:
    return min(SIDE, (WIDEST - 110) // columns - 6)


def _sized(figure: go.Figure, count: int, columns: int, title: str) -> go.Figure:
    width, rows = min(columns, count), -(-count // columns)
    side, top = _side(width), 72 if title else 34
    size = {"width": max(420, width * (side + 6) + 110), "height": rows * side + (rows - 1) * GAP + top + 12}
    margin = {"l": 10, "r": 10, "t": top, "b": 12}
    return figure.update_layout(template=template(), title=title, margin=margin, **size)
