"""Figures of the plane (Figs 1, 5, 6 and 7); each function takes a `Comparison` and returns a `go.Figure`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from mintad.plots.theme import ANOMALOUS, INK
from toy.canvas import class_points, panel_at, panels, scatter, square
from toy.decisions import Decisions
from toy.experiment import Comparison, decisions_at
from toy.geometry import WINDOW, lattice

TITLES = {
    "ae": "autoencoder",
    "dae": "denoising AE",
    "dae_separate": "denoising AE per class",
    "label": "label known",
    "query_pool": "query pool, label known",
    "inr": "INR query, label known",
    "inr_unlabelled": "INR query, no label",
}
ACCEPTED = "rgba(128,128,128,0.28)"
GRID = 81
"""Points of a drawn field along each axis."""


def boundaries(
    comparison: Comparison,
    models: Sequence[str] | None = None,
    *,
    seed: int = 0,
    of_class: int | None = None,
    columns: int = 4,
    title: str = "",
) -> go.Figure:
    """Draw what each model accepts (shaded) at the threshold, over the training points of a seed (Figs 1 and 5).

    Args:
        comparison: holds all models that are drawn.
        models: names; all if None.
        seed: whose networks are drawn.
        of_class: draw the decisions for this class alone, see `Decisions.of_class`; None for all classes.
        columns: panels per row.
        title: of the figure; if empty, it says what is shaded.
    """
    names = list(models or comparison.decisions)
    owner = "" if of_class is None else f" of class {of_class}"
    passing = f"{comparison.tpr:.0%} of held-out normals{owner}"
    title = title or f"Shaded: accepted, at the threshold that {passing} pass (seed {seed})"
    drawn = [(TITLES.get(name, name), comparison, name) for name in names]
    return boundary_panels(drawn, seed=seed, of_class=of_class, columns=columns, title=title)


def boundary_panels(
    drawn: Sequence[tuple[str, Comparison, str]],
    *,
    title: str,
    seed: int = 0,
    of_class: int | None = None,
    columns: int = 4,
) -> go.Figure:
    """Draw one panel for each (title, comparison, model): shapes, models or settings side by side (Figs 5, 6, 7)."""
    figure = panels([heading for heading, _, _ in drawn], columns)
    for n, (_, comparison, model) in enumerate(drawn):
        figure.add_trace(accepted_area(comparison.decisions[model].of_class(of_class), seed), **panel_at(n, columns))
        scatter(figure, comparison.data[seed].points[::3], comparison.data[seed].labels[::3], n, columns)
    return square(figure, len(drawn), columns, title)


def three_panels(comparison: Comparison, *, seed: int = 0) -> go.Figure:
    """Draw Fig. 1: the autoencoder copies, the denoising one confuses classes, the class-aware one separates them."""
    summary = comparison.summary()
    names = ["ae", "dae", "inr_unlabelled"]
    shares = [summary[name].get("interclass_accepted", {}).get("mean") for name in names]
    percentages = ", ".join("–" if share is None else f"{share:.0%}" for share in shares)
    title = f"Accepted between the classes: {percentages}"
    return boundaries(comparison, names, seed=seed, columns=3, title=title)


def accepted_area(decisions: Decisions, seed: int) -> go.Contour:
    """Return the shaded area of scores up to 1 and its boundary (plotly shades where its constraint is *not* met)."""
    field = decisions.scores(lattice(GRID))[seed].clip(0, 4).reshape(GRID, GRID).astype(np.float16)
    axis = np.linspace(-WINDOW, WINDOW, GRID).round(4)
    return go.Contour(
        x=axis,
        y=axis,
        z=field.astype(np.float32),
        contours={"type": "constraint", "operation": ">", "value": 1},
        fillcolor=ACCEPTED,
        line={"color": INK, "width": 2},
        showlegend=False,
        hoverinfo="skip",
    )


def vector_field(
    comparison: Comparison, models: Sequence[str], *, seed: int = 0, columns: int = 3, arrows: int = 19
) -> go.Figure:
    """Draw arrows from x to its reconstruction; for a model that needs the label, to the one of the best class."""
    figure = panels([TITLES.get(name, name) for name in models], columns)
    points = lattice(arrows)
    for n, name in enumerate(models):
        scatter(figure, comparison.data[seed].points[::6], comparison.data[seed].labels[::6], n, columns)
        decisions = comparison.decisions[name]
        view = decisions.view_scores(points)[seed].argmin(axis=1)
        target = decisions.detector.reconstruct(points)[seed][np.arange(len(points)), view]
        x, y = (np.stack([points[:, k], target[:, k], np.full(len(points), np.nan)], 1).ravel() for k in (0, 1))
        line = {"color": INK, "width": 1}
        figure.add_scatter(
            x=x, y=y, mode="lines", line=line, showlegend=False, hoverinfo="skip", **panel_at(n, columns)
        )
        tip = {"color": ANOMALOUS, "size": 3}
        figure.add_scatter(
            x=target[:, 0],
            y=target[:, 1],
            mode="markers",
            marker=tip,
            showlegend=False,
            hoverinfo="skip",
            **panel_at(n, columns),
        )
    summary = comparison.summary()
    values = ", ".join(f"{summary[name]['projection_index']['mean']:.2f}" for name in models)
    title = f"From a point to its reconstruction (orange tips); projection index {values}"
    return square(figure, len(models), columns, title)


def training_animation(comparison: Comparison, model: str, steps: Sequence[int], *, seed: int = 0) -> go.Figure:
    """Draw the boundary at recorded training steps, with a slider; a printed page shows the last step."""
    areas = {step: accepted_area(decisions_at(comparison, model, step), seed) for step in steps}
    figure = go.Figure(areas[steps[-1]])
    for k in range(comparison.shape.classes):
        chosen = comparison.data[seed].points[comparison.data[seed].labels == k][::2]
        figure.add_scatter(**class_points(chosen, k))
    figure.frames = [go.Frame(data=[area], traces=[0], name=str(step)) for step, area in areas.items()]
    jump = {"frame": {"duration": 0, "redraw": True}, "mode": "immediate"}
    marks = [{"label": str(step), "method": "animate", "args": [[str(step)], jump]} for step in steps]
    play = {"frame": {"duration": 400, "redraw": True}, "fromcurrent": False}
    button = {"label": "▶ play", "method": "animate", "args": [[str(step) for step in steps], play]}
    slider = {"steps": marks, "active": len(steps) - 1, "currentvalue": {"prefix": "training step "}}
    slider |= {"pad": {"t": 30}, "x": 0.16, "len": 0.84}
    below = {"x": 0, "xanchor": "left", "y": -0.12, "yanchor": "top"}  # next to the slider, clear of the title
    figure.update_layout(sliders=[slider], updatemenus=[{"type": "buttons", "buttons": [button], **below}])
    square(figure, 1, 1, f"{TITLES.get(model, model)}: what is accepted, step by step")
    return figure.update_layout(width=560, height=640, showlegend=comparison.shape.classes > 1)
