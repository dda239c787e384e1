"""Figures: arrays and tables in, `go.Figure` out; nothing is shown or written here.

One template for all: hue is the category, triangles are normal and circles anomalous images (as in Fig. 4), anomaly
scores use one sequential colour map with a common range. Titles state what the figure shows with its numbers; axes
carry units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sequential, unlabel_rgb
from plotly.subplots import make_subplots
from sklearn.metrics import precision_recall_curve, roc_curve

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A7A00", "#555555")
"""Colour-blind-safe hues (the palette's yellow darkened, so that it reads on white)."""
NORMAL, ANOMALOUS = "#0072B2", "#D55E00"
SCORE_COLOURS = sequential.Inferno
CURVE_POINTS = 400


def template() -> go.layout.Template:
    """The look of every figure; small, since each figure carries it."""
    axis = {"showgrid": True, "gridcolor": "rgba(128,128,128,0.2)", "zeroline": False, "ticks": "outside", "ticklen": 4}
    return go.layout.Template(
        layout={
            "colorway": OKABE_ITO,
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#777"},
            "title": {"font": {"size": 15}, "x": 0, "xanchor": "left"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 60, "r": 20, "t": 60, "b": 50},
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"orientation": "v"},
        }
    )


def roc_pr(scores: pd.DataFrame) -> go.Figure:
    """ROC and precision-recall curves of the image scores, one line a category.

    Args:
        scores: columns dataset, category, label, pred_score.
    """
    figure = make_subplots(1, 2, subplot_titles=("ROC", "precision and recall"), horizontal_spacing=0.12)
    for n, (key, group) in enumerate(_complete(scores)):
        fpr, tpr, _ = roc_curve(group["label"], group["pred_score"])
        precision, recall, _ = precision_recall_curve(group["label"], group["pred_score"])
        line = {
            "color": OKABE_ITO[n % len(OKABE_ITO)],
            "width": 2,
            "dash": ("solid", "dash", "dot")[n // len(OKABE_ITO) % 3],
        }
        for column, (x, y) in enumerate(((fpr, tpr), (recall, precision)), start=1):
            x, y = thin(x, y)
            trace = go.Scatter(x=x, y=y, name=key, legendgroup=key, line=line, mode="lines", showlegend=column == 1)
            figure.add_trace(trace, 1, column)
    figure.add_trace(
        go.Scatter(
            x=[0, 1], y=[0, 1], mode="lines", line={"color": "#999", "dash": "dot"}, showlegend=False, hoverinfo="skip"
        ),
        1,
        1,
    )
    for column, (x, y) in enumerate((("false positive rate", "true positive rate"), ("recall", "precision")), start=1):
        figure.update_xaxes(title=x, range=[-0.02, 1.02], row=1, col=column)
        figure.update_yaxes(title=y, range=[-0.02, 1.02], row=1, col=column)
    return figure.update_layout(template=template(), title="Image scores on the test images, by category", height=420)


def per_category_bars(metrics: dict[str, Any]) -> go.Figure:
    """Image AUROC, and pixel AP where there are masks, of every category; dotted lines are the means."""
    parts = {"image AUROC": (metrics["image"]["auroc"], OKABE_ITO[0])}
    if metrics["pixel"]:
        parts["pixel AP"] = (metrics["pixel"]["average_precision"], OKABE_ITO[1])
    figure = go.Figure()
    title = []
    for name, (part, colour) in parts.items():
        values = part["per_category"]
        text = [f"{value:.3f}" for value in values.values()]
        figure.add_bar(x=list(values), y=list(values.values()), name=name, marker_color=colour, text=text)
        figure.add_hline(y=part["mean"], line={"color": colour, "dash": "dot"})
        title.append(f"{name} {part['mean']:.3f}")
    figure.update_yaxes(range=[0, 1.05], title="value on test images")
    return figure.update_layout(template=template(), title=f"Mean over categories: {', '.join(title)}", height=380)


def score_histograms(scores: pd.DataFrame, threshold: float | None = None) -> go.Figure:
    """Histograms of the image scores of normal and anomalous test images, one row a category, one common axis.

    Args:
        scores: columns dataset, category, label, pred_score.
        threshold: drawn as a line if given.
    """
    groups = list(scores.groupby(scores["dataset"] + "/" + scores["category"]))
    low, high = scores["pred_score"].min(), scores["pred_score"].quantile(0.995)
    bins = np.linspace(low, high, 50)
    figure = make_subplots(
        len(groups),
        1,
        shared_xaxes=True,
        vertical_spacing=0.12 / len(groups),
        subplot_titles=[key for key, _ in groups],
    )
    for row, (_, group) in enumerate(groups, start=1):
        for label, name, colour in ((0, "normal", NORMAL), (1, "anomalous", ANOMALOUS)):
            counts, _ = np.histogram(group.loc[group["label"] == label, "pred_score"].clip(upper=high), bins)
            bar = go.Bar(
                x=(bins[:-1] + bins[1:]) / 2,
                y=counts,
                name=name,
                legendgroup=name,
                marker_color=colour,
                opacity=0.65,
                showlegend=row == 1,
            )
            figure.add_trace(bar, row, 1)
        if threshold is not None:
            figure.add_vline(x=min(threshold, high), line={"color": "#777", "dash": "dash"}, row=row, col=1)
    figure.update_yaxes(title="images")
    figure.update_xaxes(title="image score (the last bin holds all above)", row=len(groups), col=1)
    missing = "" if threshold is None else f"; threshold {threshold:.3g} (dashed) from held-out normals"
    height = 170 + 140 * len(groups)
    return figure.update_layout(
        template=template(), barmode="overlay", bargap=0, height=height, title=f"Scores of test images{missing}"
    )


def learning_curves(history: pd.DataFrame) -> go.Figure:
    """Losses over training steps, and the class head's accuracy on the batches.

    Args:
        history: columns step, mse, ce, prior and, for models with a head, accuracy.
    """
    shown = [name for name in ("mse", "ce", "prior", "accuracy") if name in history and history[name].abs().max() > 0]
    titles = {
        "mse": "reconstruction (MSE)",
        "ce": "cross-entropy",
        "prior": "prior (NLL)",
        "accuracy": "class accuracy",
    }
    figure = make_subplots(1, len(shown), subplot_titles=[titles[name] for name in shown], horizontal_spacing=0.07)
    for column, name in enumerate(shown, start=1):
        x, y = thin(history["step"].to_numpy(), history[name].to_numpy())
        figure.add_trace(go.Scatter(x=x, y=y, mode="lines", line={"color": OKABE_ITO[0]}, showlegend=False), 1, column)
        figure.update_xaxes(title="step", row=1, col=column)
    last = history.iloc[-1]
    return figure.update_layout(
        template=template(), height=320, title=f"Training: {int(last['step']):,} steps, final MSE {last['mse']:.4g}"
    )


def confusion(scores: pd.DataFrame) -> go.Figure:
    """Predicted against true class of the test images whose class was trained on."""
    known = scores[(scores["prompt_class"] != "") & (scores["pred_class"] != "")]
    table = pd.crosstab(known["prompt_class"], known["pred_class"])
    right = (known["prompt_class"] == known["pred_class"]).mean()
    heat = go.Heatmap(
        z=table.to_numpy(),
        x=list(table.columns),
        y=list(table.index),
        colorscale="Blues",
        texttemplate="%{z}",
        showscale=False,
    )
    figure = go.Figure(heat)
    figure.update_xaxes(title="predicted class")
    figure.update_yaxes(title="true class", autorange="reversed")
    title = f"The class head is right on {right:.1%} of {len(known):,} test images"
    return figure.update_layout(template=template(), title=title, height=220 + 34 * len(table))


def thin(x: np.ndarray, y: np.ndarray, points: int = CURVE_POINTS) -> tuple[list[float], list[float]]:
    """At most `points` of the given points of a curve, ends included, rounded to 5 digits."""
    chosen = np.unique(np.linspace(0, len(x) - 1, points).round().astype(int))
    return [[float(f"{value:.5g}") for value in np.asarray(axis)[chosen]] for axis in (x, y)]


def colourise(anomaly_map: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Scores (H, W) as colours (H, W, 3), uint8, on the common sequential scale."""
    anchors = np.array([_rgb(colour) for colour in SCORE_COLOURS])
    low, high = value_range
    position = np.clip((anomaly_map - low) / max(high - low, 1e-12), 0, 1) * (len(anchors) - 1)
    below = np.floor(position).astype(int).clip(max=len(anchors) - 2)
    share = (position - below)[..., None]
    return (anchors[below] * (1 - share) + anchors[below + 1] * share).round().astype(np.uint8)


def overlay(image: np.ndarray, anomaly_map: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """An RGB image (H, W, 3) with the anomaly map (H, W) over it: the higher the score, the more opaque."""
    low, high = value_range
    share = np.clip((anomaly_map - low) / max(high - low, 1e-12), 0, 1)[..., None] * 0.75
    grey = image.mean(axis=-1, keepdims=True)
    return (grey * (1 - share) + colourise(anomaly_map, value_range) * share).round().astype(np.uint8)


def _rgb(colour: str) -> tuple[float, ...]:
    if colour.startswith("#"):
        return tuple(int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return unlabel_rgb(colour)


def _complete(scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups = scores.groupby(scores["dataset"] + "/" + scores["category"])
    return [(key, group) for key, group in groups if group["label"].nunique() == 2]
