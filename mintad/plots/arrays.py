"""Small multiples for teaching: pictures, maps, curves, bars and points, from plain arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from mintad.plots.images import overlay, resize_map, score_range
from mintad.plots.panels import Panels, panel_grid, panel_row, picture_grid
from mintad.plots.theme import INK, OKABE_ITO, SCORE_COLOURS, SYMBOLS, hues, interval_bars, text, thin, titled

SIDE, GAPS, WIDEST = 170, (6, 34), 1000
"""Pixels of a panel, of the gaps between columns and rows, and of the widest figure, which must fit a notebook."""


def gallery(pictures: Mapping[str, ArrayLike], *, title: str = "", columns: int = 6) -> go.Figure:
    """Draw pictures (H, W, 3) or (H, W), uint8, side by side, each under its caption.

    Raises:
        ValueError: no picture.
    """
    side = _side(min(columns, len(pictures)))
    panels = picture_grid(list(pictures), list(pictures.values()), columns, size=(side, side), gaps=GAPS)
    return _sized(panels, title)


def maps(
    values: Mapping[str, ArrayLike],
    *,
    title: str = "",
    unit: str = "value",
    columns: int = 4,
    value_range: tuple[float, float] | None = None,
    colours: Sequence[str] | str = SCORE_COLOURS,
) -> go.Figure:
    """Draw maps (H, W) side by side, each under its caption, on one colour scale, row 0 on top.

    Args:
        value_range: of the colours; None for the smallest and largest value of all maps.
        colours: a plotly colour scale; for values with a sign take 'RdBu' and a range around 0.

    Raises:
        ValueError: no map.
    """
    side = _side(min(columns, len(values)))
    panels = panel_grid(list(values), columns, size=(side, side), gaps=GAPS)
    figure, arrays = panels.figure, [np.asarray(array, dtype=np.float32) for array in values.values()]
    low, high = value_range or (min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays))
    bar = {"title": {"text": text(unit), "side": "right"}, "thickness": 12}
    scale = {"colorscale": colours, "cmin": low, "cmax": high, "colorbar": bar}
    for place, array in zip(panels.places, arrays, strict=True):
        figure.add_trace(go.Heatmap(z=array, coloraxis="coloraxis", hovertemplate="%{z:.3g}<extra></extra>"), **place)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed")
    for n, place in enumerate(panels.places):
        figure.update_yaxes(scaleanchor=f"x{n + 1 if n else ''}", **place)
    return _sized(panels, title).update_layout(coloraxis=scale)


def case_panel(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray] | None,
    maps: Sequence[np.ndarray],
    captions: Sequence[str],
    value_range: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw rows of image | mask | anomaly map over the image, with one colour range.

    Args:
        images: (H, W, 3) uint8 each; sizes may differ.
        masks: (H, W) bool each, or None for a panel without them.
        maps: (h, w) each, interpolated to their image.
        captions: one per row.
        value_range: of the colours; None for the `score_range` of `maps`.

    Raises:
        ValueError: the sequences differ in length.
    """
    low, high = value_range or score_range(np.concatenate([np.ravel(grid) for grid in maps]))
    headings, pictures = [], []
    for n, (image, grid, caption) in enumerate(zip(images, maps, captions, strict=True)):
        heat = overlay(image, resize_map(grid, image.shape[:2]), (low, high))
        truth = [] if masks is None else [np.where(masks[n], 255, 30).astype(np.uint8)]
        headings += [caption, *(["ground truth"] if truth else []), "anomaly map"]
        pictures += [image, *truth, heat]
    panels = picture_grid(headings, pictures, len(pictures) // len(images), size=(200, 200), gaps=(12, 34))
    bar = {"title": "score", "thickness": 12, "tickvals": [low, high], "ticktext": [f"{low:.3g}", f"{high:.3g}"]}
    scale = {"color": [low], "cmin": low, "cmax": high, "colorscale": SCORE_COLOURS, "colorbar": bar}
    panels.figure.add_scatter(x=[None], y=[None], mode="markers", marker=scale, showlegend=False)
    size = {"height": panels.height + 60, "width": panels.width + 140}
    return titled(panels.figure, "", margin={"l": 10, "r": 10, "t": 40, "b": 20}, **size)


def curves(
    x: ArrayLike | Mapping[str, ArrayLike], values: Mapping[str, ArrayLike], *, title: str, x_title: str, y_title: str
) -> go.Figure:
    """Draw curves over a common x, or each over its own (a mapping with the same names)."""
    figure = go.Figure()
    for name, hue in hues(values).items():
        points = thin(x[name] if isinstance(x, Mapping) else x, values[name])
        figure.add_scatter(x=points[0], y=points[1], name=text(name), mode="lines", line={"color": hue, "width": 2})
    figure.update_xaxes(title=x_title)
    figure.update_yaxes(title=y_title)
    return titled(figure, title, height=360, showlegend=True)


def number(value: float) -> str:
    """Write four digits, and thousands in full: 0.1235, 12.35, 383,500,000."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def bars(
    values: Mapping[str, float | tuple[float, float, float]],
    *,
    title: str,
    unit: str,
    value_range: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw horizontal bars, the first on top; a triple (value, low, high) also draws its interval."""
    triples = {name: v if isinstance(v, tuple) else (v, v, v) for name, v in values.items()}
    middle, low, high = (np.array([v[k] for v in triples.values()], dtype=float) for k in range(3))
    written = [_to_the_interval(*triple) for triple in zip(middle, low, high, strict=True)]
    names = [f"{text(name)}  <b>{value}</b>" for name, value in zip(triples, written, strict=True)]
    intervals = interval_bars(middle, low, high, color=INK) if (high > low).any() else None
    figure = go.Figure(go.Bar(y=names, x=middle, orientation="h", marker_color=OKABE_ITO[0], error_x=intervals))
    figure.update_xaxes(title=unit, range=value_range)
    figure.update_yaxes(autorange="reversed", ticksuffix=" ")
    return titled(figure, title, height=130 + 30 * len(triples), showlegend=False)


def grouped_bars(
    values: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    unit: str,
    value_range: tuple[float, float] | None = None,
    digits: int = 3,
) -> go.Figure:
    """Draw horizontal bars: a group for each outer name, the first on top, a hue for each inner name.

    A name may be missing in a group. The value is written at each bar.
    """
    figure, names = go.Figure(), hues(name for group in values.values() for name in group)
    for name, hue in names.items():
        _add_bars(figure, values, name, hue, name=text(name), digits=digits)
    if value_range and value_range[0] > 0:  # the bars begin left of the figure, and a number at their start is not seen
        figure.update_traces(insidetextanchor="end")
    figure.update_xaxes(title=unit, range=value_range)
    figure.update_yaxes(autorange="reversed", ticksuffix=" ")
    height = 130 + len(values) * (12 + 19 * len(names))
    return titled(figure, title, height=height, bargap=0.2, legend={"traceorder": "normal"})


def measures(
    values: Mapping[str, Mapping[str, float | None]],
    *,
    title: str,
    references: Mapping[str, float] | None = None,
    value_range: tuple[float, float] = (0, 1),
) -> go.Figure:
    """Draw a panel of horizontal bars for each measure; models are the rows, the first on top.

    Args:
        values: model -> measure -> value; None or absent where a model has none.
        references: measure -> value that is drawn as a dotted line, such as chance.

    Raises:
        ValueError: nothing to draw.
    """
    names = hues(name for row in values.values() for name in row)
    figure = panel_row(list(names), 0.04, shared_yaxes=True)
    for column, (name, hue) in enumerate(names.items(), start=1):
        _add_bars(figure, values, name, hue, row=1, col=column)
        if references and name in references:
            line = {"color": INK, "dash": "dot", "width": 2}
            figure.add_vline(x=references[name], line=line, row=1, col=column)
    figure.update_xaxes(range=value_range)
    figure.update_yaxes(autorange="reversed", ticks="")
    figure.update_yaxes(ticksuffix=" ", ticks="outside", row=1, col=1)
    return titled(figure, title, height=120 + 30 * len(values), showlegend=False, bargap=0.25)


def embedding(
    points_nP: ArrayLike, classes: Sequence[str], labels: Sequence[int] | None = None, *, title: str
) -> go.Figure:
    """Draw points (n, 2) of an embedding such as t-SNE (Fig. 4a, b): class = hue, normal = full triangle."""
    kinds = np.zeros(len(classes), dtype=int) if labels is None else labels
    figure = go.Figure()
    for name, kind, points in point_clouds(points_nP, classes, kinds):
        points["name"] = text(name) if labels is None else f"{text(name)}, {'anomalous' if kind else 'normal'}"
        figure.add_scatter(**points)
    figure.update_xaxes(title="first embedding axis (no unit)", showticklabels=False)
    figure.update_yaxes(title="second embedding axis", showticklabels=False)
    return titled(figure, title, height=460)


def point_clouds(
    points_nP: ArrayLike, classes: Sequence[str], labels: Sequence[int]
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield class, label and scatter trace of each class's normal and anomalous points (n, 2)."""
    points, names, kinds = np.asarray(points_nP, dtype=float).round(3), np.asarray(classes), np.asarray(labels)
    for name, hue in hues(sorted(set(names))).items():
        for kind in sorted({int(kind) for kind in kinds[names == name]}):
            x, y = points[(names == name) & (kinds == kind)].T
            look = {"color": hue, "symbol": SYMBOLS[kind], "size": 9, "opacity": 0.8, "line": {"width": 1.5 * kind}}
            yield name, kind, {"x": x, "y": y, "mode": "markers", "marker": look}


def _add_bars(figure: go.Figure, values: Mapping, key: str, hue: str, *, digits: int = 3, **options: object) -> None:
    """Add a horizontal bar for each row's value of `key`, with its number written on it; None leaves a gap."""
    numbers = [row.get(key) for row in values.values()]
    written = ["" if value is None else f"{value:.{digits}f}" for value in numbers]
    look = {"textposition": "auto", "insidetextanchor": "start", "textangle": 0, "marker_color": hue}
    figure.add_bar(y=list(map(text, values)), x=numbers, text=written, orientation="h", **look, **options)


def _to_the_interval(value: float, low: float, high: float) -> str:
    """Write a value to the decimal of its interval's first digit; without an interval see `number`."""
    half = (high - low) / 2
    digits = -math.floor(math.log10(half)) if 0 < half < math.inf else 0
    return f"{value:,.{min(max(0, digits), 4)}f}" if 0 < half < math.inf else number(value)


def _side(columns: int) -> int:
    return min(SIDE, (WIDEST - 110) // max(columns, 1) - GAPS[0])


def _sized(panels: Panels, title: str) -> go.Figure:
    margin = {"l": 10, "r": 10, "t": 72 if title else 34, "b": 12}
    size = {"width": max(420, panels.width + GAPS[0] + 110), "height": panels.height + margin["t"] + margin["b"]}
    return titled(panels.figure, title, margin=margin, **size)
