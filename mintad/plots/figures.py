"""Figures of a run: scores, metrics, training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mintad.data.records import category_keys
from mintad.plots.arrays import grouped_bars
from mintad.plots.panels import panel_grid
from mintad.plots.theme import ANOMALOUS, FAINT, INK, NORMAL, OKABE_ITO, template, text, thin
from mintad.scoring import METRICS, auroc, by_category, value_of

SINGLED_OUT = 3
"""How many curves have a hue of their own where there are more categories than hues: the weakest ones."""


def roc_pr(scores: pd.DataFrame) -> go.Figure:
    """Draw ROC and precision-recall curves of the image scores, a line for each category with both kinds of images.

    Args:
        scores: columns dataset, category, label, pred_score.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve  # here, because it takes a second to import

    groups = {key: group for key, group in _by_category(scores) if group["label"].nunique() == 2}
    values = {key: auroc(group["pred_score"], group["label"]) for key, group in groups.items()}
    weakest = sorted(values, key=values.__getitem__)
    named = list(groups) if len(groups) <= len(OKABE_ITO) else weakest[:SINGLED_OUT]
    hues = dict(zip(named, OKABE_ITO, strict=False))
    figure = make_subplots(1, 2, subplot_titles=("ROC", "precision and recall"), horizontal_spacing=0.1)
    for key in [*(key for key in groups if key not in hues), *hues]:  # the grey ones first, below the others
        fpr, tpr, _ = roc_curve(groups[key]["label"], groups[key]["pred_score"])
        precision, recall, _ = precision_recall_curve(groups[key]["label"], groups[key]["pred_score"])
        line = {"color": hues.get(key, FAINT), "width": 2.5 if key in hues else 1}
        for column, (x, y) in enumerate(((fpr, tpr), (recall, precision)), start=1):
            x, y = thin(x, y)
            name = f"{text(key)} ({values[key]:.3f})"
            shown = column == 1 and key in hues
            figure.add_scatter(
                x=x, y=y, name=name, legendgroup=text(key), line=line, mode="lines", showlegend=shown, row=1, col=column
            )
    chance = {"color": INK, "dash": "dot", "width": 1}
    figure.add_scatter(x=[0, 1], y=[0, 1], line=chance, mode="lines", name="chance", hoverinfo="skip", row=1, col=1)
    for column, (x, y) in enumerate((("false positive rate", "true positive rate"), ("recall", "precision")), start=1):
        figure.update_xaxes(title=x, range=[-0.02, 1.02], row=1, col=column)
        figure.update_yaxes(title=y, range=[-0.02, 1.02], row=1, col=column)
    finding = "no category has both normal and anomalous test images"
    if values:
        finding = f"mean image AUROC {np.mean(list(values.values())):.3f} over {len(values)} categories"
    if len(values) > 1:
        finding += f", the weakest is {text(weakest[0])} ({values[weakest[0]]:.3f})"
    legend = {"title": {"text": "image AUROC" if len(hues) == len(groups) else "lowest image AUROC<br>(others grey)"}}
    return figure.update_layout(template=template(), title=_sentence(finding), legend=legend, height=430)


def per_category_bars(results: pd.DataFrame) -> go.Figure:
    """Draw image AUROC, and pixel AP where there are masks, of every category, the weakest on top; dotted: the means.

    Args:
        results: columns category, metric, value, of one method and setting, as `mintad.scoring.measure` gives them.
    """
    metrics = [name for name in ("image_auroc", "pixel_ap") if by_category(results, name)]
    values = {METRICS[name].title: by_category(results, name) for name in metrics}
    image = by_category(results, "image_auroc")
    keys = sorted({key for part in values.values() for key in part}, key=lambda key: image.get(key, 2))
    groups = {key: {name: part[key] for name, part in values.items() if key in part} for key in keys}
    means = {METRICS[name].title: value_of(results, name) for name in metrics}
    finding = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
    title = f"Mean over categories: {finding}" if means else "No category has a value"
    figure = grouped_bars(groups, title=title, unit="value on the test images (1 is perfect)", value_range=(0, 1.005))
    for trace in figure.data:
        figure.add_vline(x=means[trace.name], line={"color": trace.marker.color, "dash": "dot", "width": 2})
    return figure


def score_histograms(scores: pd.DataFrame, threshold: float | None = None) -> go.Figure:
    """Draw histograms of the image scores of normal and anomalous test images: a panel per category, a common axis.

    Args:
        scores: columns dataset, category, label, pred_score.
        threshold: drawn as a line if given; above it an image is called anomalous.
    """
    groups = dict(list(_by_category(scores)))
    columns, height, gap = (1, 150, 56) if len(groups) <= 3 else (3, 110, 58)
    panels = panel_grid(list(groups), columns, size=(960 // columns, height), gaps=(60, gap))
    figure = panels.figure
    low, high = float(scores["pred_score"].min()), float(scores["pred_score"].quantile(0.995))
    high = high if high > low else low + max(abs(low), 1) * 1e-3
    edges = np.linspace(low, high, 41)
    for place, group in zip(panels.places, groups.values(), strict=True):
        for label, name, hue in ((0, "normal", NORMAL), (1, "anomalous", ANOMALOUS)):
            counts, _ = np.histogram(group.loc[group["label"] == label, "pred_score"].clip(upper=high), edges)
            figure.add_bar(
                x=[float(f"{x:.5g}") for x in (edges[:-1] + edges[1:]) / 2],
                y=counts.tolist(),
                width=float(edges[1] - edges[0]),
                name=name,
                legendgroup=name,
                marker_color=hue,
                marker_line_width=0,
                opacity=0.65,
                showlegend=place == panels.places[0],
                **place,
            )
        if threshold is not None:
            figure.add_vline(x=min(max(threshold, low), high), line={"color": INK, "dash": "dash"}, **place)
    figure.update_xaxes(range=[low, high])
    figure.update_yaxes(title="images", col=1)
    for place in panels.places[-columns:]:
        title = "image score" if columns > 1 else "image score (the last bin holds all above)"
        figure.update_xaxes(title=title, **place)
    title = f"Scores of {len(scores):,} test images"
    if threshold is not None:
        flagged = (scores["pred_score"] > threshold).groupby(scores["label"]).mean()
        shares = [
            f"{flagged[label]:.1%} of {kind}" for label, kind in ((0, "normal"), (1, "anomalous")) if label in flagged
        ]
        title = f"The threshold {threshold:.4g} (dashed) flags {' and '.join(shares)} test images"
    legend = {"orientation": "h", "x": 0.95, "xanchor": "right", "y": 1, "yref": "container", "yanchor": "top"}
    margin = {"t": 80, "b": 56}
    height = panels.height + margin["t"] + margin["b"]
    return figure.update_layout(
        template=template(), barmode="overlay", height=height, title=title, legend=legend, margin=margin
    )


def learning_curves(history: pd.DataFrame) -> go.Figure:
    """Draw the losses over training steps, and the class head's accuracy on the batches.

    Args:
        history: columns step, mse and, as far as the model has them, ce, prior, accuracy.
    """
    names = {
        "mse": "reconstruction, MSE",
        "ce": "class, cross-entropy (nats)",
        "prior": "prior, NLL (nats)",
        "accuracy": "class accuracy on the batch",
    }
    shown = [name for name in names if name in history and history[name].abs().max() > 0]
    figure = make_subplots(
        1, max(1, len(shown)), subplot_titles=[names[name] for name in shown], horizontal_spacing=0.07
    )
    for column, name in enumerate(shown, start=1):
        x, y = thin(history["step"], history[name])
        line = {"color": OKABE_ITO[0], "width": 1.5}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, showlegend=False, name=name, row=1, col=column)
        figure.update_xaxes(title="training step", row=1, col=column)
        if name == "accuracy":
            figure.update_yaxes(range=(0, 1.05), row=1, col=column)
    last = history.iloc[-1]
    title = f"After {int(last['step']):,} steps: " + ", ".join(f"{name} {last[name]:.3g}" for name in shown)
    return figure.update_layout(template=template(), height=320, title=title)


def confusion(scores: pd.DataFrame) -> go.Figure:
    """Draw predicted against true class of the test images whose class was trained on; shade: share of the true class.

    Args:
        scores: columns prompt_class and pred_class.
    """
    trained = scores[(scores["prompt_class"] != "") & (scores["pred_class"] != "")]
    names = sorted({*trained["prompt_class"], *trained["pred_class"]})
    counts = (
        pd.crosstab(trained["prompt_class"], trained["pred_class"])
        .reindex(index=names, columns=names, fill_value=0)
        .to_numpy()
    )
    share = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    labels = [text(name) for name in names]
    figure = go.Figure(
        go.Heatmap(
            z=np.where(counts > 0, share.round(4), np.nan),
            text=np.where(counts > 0, counts.astype(str), ""),
            x=labels,
            y=labels,
            zmin=0,
            zmax=1,
            colorscale=[[0, "#cfe3f1"], [1, "#084a7a"]],
            texttemplate="%{text}",
            hovertemplate="true %{y}<br>predicted %{x}<br>%{text} images, %{z:.1%} of the class<extra></extra>",
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    right = (trained["prompt_class"] == trained["pred_class"]).mean()
    size = max(34, 110 - 12 * len(names))
    figure.update_xaxes(title="predicted class", showgrid=False, tickangle=-40 if len(names) > 4 else 0)
    figure.update_yaxes(title={"text": "true class", "standoff": 12}, showgrid=False, autorange="reversed")
    title = f"The class head is right on {right:.1%} of {len(trained):,} test images"
    width = max(520, 240 + size * len(names))
    height = 170 + size * len(names)
    return figure.update_layout(template=template(), title=title, height=height, width=min(width, 1130))


def _by_category(scores: pd.DataFrame) -> Any:
    return scores.groupby(category_keys(scores))


def _sentence(finding: str) -> str:
    return finding[:1].upper() + finding[1:]
