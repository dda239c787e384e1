"""Small multiples for teaching: pictures, maps, curves, bars and points, from plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from mintad.plots.images import overlay, resize_map, score_range
from mintad.plots.panels import Panels, panel_grid, picture_grid
from mintad.plots.theme import INK, OKABE_ITO, SCORE_COLOURS, SYMBOLS, interval_bars, template, text, thin

SIDE, GAPS, WIDEST = 170, (6, 34), 1000
"""Pixels of a panel, of the gaps between columns and rows, and of the widest figure, which must fit a notebook."""


def gallery(pictures: Mapping[str, ArrayLike], *, title: str = "", columns: int = 6) -> go.Figure:
    """Draw pictures side by side, each under its caption.

    Args:
        pictures: caption -> (H, W, 3) or (H, W), uint8. Captions are distinct.
        title: states what is to be seen.
        columns: pictures per row.

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
    """Draw maps (H, W) side by side on one colour scale, row 0 on top.

    Args:
        values: caption -> (H, W).
        title: states what is to be seen.
        unit: of the values, written at the colour bar.
        columns: maps per row.
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
        maps: (h, w) each, any resolution; interpolated to their image.
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
    return panels.figure.update_layout(template=template(), margin={"l": 10, "r": 10, "t": 40, "b": 20}, **size)


def curves(
    x: ArrayLike | Mapping[str, ArrayLike], values: Mapping[str, ArrayLike], *, title: str, x_title: str, y_title: str
) -> go.Figure:
    """Draw curves over a common x, or each over its own (a mapping with the same names)."""
    figure = go.Figure()
    for n, (name, y) in enumerate(values.items()):
        points = thin(x[name] if isinstance(x, Mapping) else x, y)
        line = {"color": OKABE_ITO[n % len(OKABE_ITO)], "width": 2}
        figure.add_scatter(x=points[0], y=points[1], name=text(name), mode="lines", line=line)
    figure.update_xaxes(title=x_title)
    figure.update_yaxes(title=y_title)
    return figure.update_layout(template=template(), title=title, height=360, showlegend=True)


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
    spread = bool((high > low).any())
    figure = go.Figure(
        go.Bar(
            y=[f"{text(name)}  <b>{number(value)}</b>" for name, value in zip(triples, middle, strict=True)],
            x=middle,
            orientation="h",
            marker_color=OKABE_ITO[0],
            error_x=interval_bars(middle, low, high, color=INK) if spread else None,
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
        numbers = {group: row.get(name) for group, row in values.items()}
        add_bars(figure, numbers, OKABE_ITO[n % len(OKABE_ITO)], name=text(name), digits=digits)
    figure.update_xaxes(title=unit, range=value_range)
    figure.update_yaxes(autorange="reversed", ticksuffix=" ")
    height = 130 + len(values) * (12 + 19 * len(names))
    legend = {"traceorder": "normal"}
    return figure.update_layout(template=template(), title=title, height=height, bargap=0.2, legend=legend)


def add_bars(
    figure: go.Figure, values: Mapping[str, float | None], hue: str, *, digits: int = 3, **options: object
) -> None:
    """Add horizontal bars with their numbers written on them; None leaves a gap."""
    figure.add_bar(
        y=[text(name) for name in values],
        x=list(values.values()),
        text=["" if value is None else f"{value:.{digits}f}" for value in values.values()],
        textposition="auto",
        insidetextanchor="start",
        textangle=0,
        orientation="h",
        marker_color=hue,
        **options,
    )


def embedding(
    points_nP: ArrayLike, classes: Sequence[str], labels: Sequence[int] | None = None, *, title: str
) -> go.Figure:
    """Draw points (n, 2) of an embedding such as t-SNE (Fig. 4a, b).

    Class = hue, normal = triangle, anomalous = circle.
    """
    points, names = np.asarray(points_nP, dtype=float).round(3), np.asarray(classes)
    kinds = np.zeros(len(points), dtype=int) if labels is None else np.asarray(labels)
    figure = go.Figure()
    for n, name in enumerate(sorted(set(names))):
        for kind in sorted(set(kinds[names == name])):
            x, y = points[(names == name) & (kinds == kind)].T
            look = {"color": OKABE_ITO[n % len(OKABE_ITO)], "symbol": SYMBOLS[int(kind)], "size": 8, "opacity": 0.8}
            label = text(name) if labels is None else f"{text(name)}, {'anomalous' if kind else 'normal'}"
            figure.add_scatter(x=x, y=y, mode="markers", name=label, marker=look)
    figure.update_xaxes(title="first embedding axis (no unit)", showticklabels=False)
    figure.update_yaxes(title="second embedding axis", showticklabels=False)
    return figure.update_layout(template=template(), title=title, height=460)


def _side(columns: int) -> int:
    return min(SIDE, (WIDEST - 110) // max(columns, 1) - GAPS[0])


def _sized(panels: Panels, title: str) -> go.Figure:
    top = 72 if title else 34
    size = {"width": max(420, panels.width + GAPS[0] + 110), "height": panels.height + top + 12}
    margin = {"l": 10, "r": 10, "t": top, "b": 12}
    return panels.figure.update_layout(template=template(), title=title, margin=margin, **size)
