"""Figures of a run: scores, metrics, training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mintad.data.records import category_keys
from mintad.plots.arrays import grouped_bars
from mintad.plots.panels import panel_grid, panel_row
from mintad.plots.theme import ANOMALOUS, FAINT, INK, NORMAL, OKABE_ITO, hues, text, thin, titled
from mintad.scoring import METRICS, auroc, by_category, value_of

SINGLED_OUT = 3
"""How many curves have a hue of their own where there are more categories than hues: the weakest ones."""


KINDS = ("normal", "anomalous")
"""What test images of label 0 and 1 are called."""


def roc_pr(scores: pd.DataFrame) -> go.Figure:
    """Draw ROC and precision-recall curves of the image scores, a line for each category with both kinds of images.

    `scores` has the columns dataset, category, label, pred_score.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve  # here, because it takes a second to import

    groups = {key: group for key, group in scores.groupby(category_keys(scores)) if group["label"].nunique() == 2}
    values = {key: auroc(group["pred_score"], group["label"]) for key, group in groups.items()}
    weakest = sorted(values, key=values.__getitem__)
    named = list(groups) if len(groups) <= len(OKABE_ITO) else weakest[:SINGLED_OUT]
    colours = hues(named)
    figure = panel_row(["ROC", "precision and recall"], 0.1)
    for key in [*(key for key in groups if key not in colours), *colours]:  # the grey ones first, below the others
        labels, pred_scores = groups[key]["label"], groups[key]["pred_score"]
        fpr, tpr, _ = roc_curve(labels, pred_scores)
        precision, recall, _ = precision_recall_curve(labels, pred_scores)
        line = {"color": colours.get(key, FAINT), "width": 2.5 if key in colours else 1}
        look = {"name": f"{text(key)} ({values[key]:.3f})", "legendgroup": text(key), "line": line, "mode": "lines"}
        for column, curve in enumerate((thin(fpr, tpr), thin(recall, precision)), start=1):
            shown = column == 1 and key in colours
            figure.add_scatter(x=curve[0], y=curve[1], **look, showlegend=shown, row=1, col=column)
    chance = {"color": INK, "dash": "dot", "width": 1}
    figure.add_scatter(x=[0, 1], y=[0, 1], line=chance, mode="lines", name="chance", hoverinfo="skip", row=1, col=1)
    for column, (x, y) in enumerate((("false positive rate", "true positive rate"), ("recall", "precision")), start=1):
        figure.update_xaxes(title=x, range=[-0.02, 1.02], row=1, col=column)
        figure.update_yaxes(title=y, range=[-0.02, 1.02], row=1, col=column)
    title = "No category has both normal and anomalous test images"
    if values:
        title = f"Mean image AUROC {np.mean(list(values.values())):.3f} over {len(values)} categories"
    if len(values) > 1:
        title += f", the weakest is {text(weakest[0])} ({values[weakest[0]]:.3f})"
    heading = "image AUROC" if len(colours) == len(groups) else "lowest image AUROC<br>(others grey)"
    return titled(figure, title, legend={"title": {"text": heading}}, height=430)


def per_category_bars(results: pd.DataFrame) -> go.Figure:
    """Draw image AUROC, and pixel AP where there are masks, of every category, the weakest on top; dotted: the means.

    `results` is what `mintad.scoring.measure` gives.
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


def score_histograms(
    scores: pd.DataFrame,
    threshold: float | Mapping[str, float] | None = None,
    *,
    kinds: tuple[str, str] = KINDS,
) -> go.Figure:
    """Draw histograms of the image scores of normal and anomalous test images: a panel per category, a common axis.

    Args:
        scores: columns dataset, category, label, pred_score, and anomalous where there are several thresholds.
        threshold: drawn as a line if given; above it an image is called anomalous. Or category -> threshold; "all" is
            that of the others.
        kinds: what the images of label 0 and 1 are called.
    """
    groups = dict(list(scores.groupby(category_keys(scores))))
    columns, height, gap = (1, 150, 56) if len(groups) <= 3 else (3, 110, 58)
    panels = panel_grid(list(groups), columns, size=(960 // columns, height), gaps=(60, gap))
    figure = panels.figure
    low, high = float(scores["pred_score"].min()), float(scores["pred_score"].quantile(0.995))
    high = high if high > low else low + max(abs(low), 1) * 1e-3
    edges = np.linspace(low, high, 41)
    for place, (key, group) in zip(panels.places, groups.items(), strict=True):
        for label, name, hue in ((0, kinds[0], NORMAL), (1, kinds[1], ANOMALOUS)):
            counts, _ = np.histogram(group.loc[group["label"] == label, "pred_score"].clip(upper=high), edges)
            x, _ = thin((edges[:-1] + edges[1:]) / 2, edges[1:])
            look = {"marker_color": hue, "marker_line_width": 0, "opacity": 0.65, "width": float(edges[1] - edges[0])}
            legend = {"name": name, "legendgroup": name, "showlegend": place == panels.places[0]}
            figure.add_bar(x=x, y=counts.tolist(), **look, **legend, **place)
        limit = threshold.get(key, threshold.get("all")) if isinstance(threshold, Mapping) else threshold
        if limit is not None:
            figure.add_vline(x=min(max(limit, low), high), line={"color": INK, "dash": "dash"}, **place)
    figure.update_xaxes(range=[low, high])
    figure.update_yaxes(title="images", col=1)
    x_title = "image score" if columns > 1 else "image score (the last bin holds all above)"
    for place in panels.places[-columns:]:
        figure.update_xaxes(title=x_title, **place)
    what = "test images" if kinds == KINDS else "images"
    title = f"Scores of {len(scores):,} {what}"
    if threshold is not None:
        several = isinstance(threshold, Mapping)
        flagged = scores["anomalous"] if several else scores["pred_score"] > threshold
        flagged = flagged.groupby(scores["label"]).mean()
        shares = " and ".join(f"{share:.1%} of {kinds[label]}" for label, share in flagged.items())
        rule = "The thresholds (dashed) flag" if several else f"The threshold {threshold:.4g} (dashed) flags"
        title = f"{rule} {shares} {what}"
    legend = {"orientation": "h", "x": 0.95, "xanchor": "right", "y": 1, "yref": "container", "yanchor": "top"}
    margin = {"t": 80, "b": 56}
    return titled(figure, title, barmode="overlay", height=panels.height + 136, legend=legend, margin=margin)


def learning_curves(history: pd.DataFrame) -> go.Figure:
    """Draw the losses over training steps, and the class head's accuracy on the batches.

    `history` has the columns step, mse and, as far as the model has them, ce, prior, accuracy.
    """
    names = {"mse": "reconstruction, MSE", "ce": "class, cross-entropy (nats)", "prior": "prior, NLL (nats)"}
    names["accuracy"] = "class accuracy on the batch"
    shown = [name for name in names if name in history and history[name].abs().max() > 0]
    figure = panel_row([names[name] for name in shown], 0.07)
    for column, name in enumerate(shown, start=1):
        x, y = thin(history["step"], history[name])
        line = {"color": OKABE_ITO[0], "width": 1.5}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, showlegend=False, name=name, row=1, col=column)
        figure.update_yaxes(range=(0, 1.05) if name == "accuracy" else None, row=1, col=column)
    figure.update_xaxes(title="training step")
    last = history.iloc[-1]
    title = f"After {int(last['step']):,} steps: " + ", ".join(f"{name} {last[name]:.3g}" for name in shown)
    return titled(figure, title, height=320)


def confusion(scores: pd.DataFrame, judge: str = "class head") -> go.Figure:
    """Draw predicted against true class (columns pred_class, prompt_class) of the test images of trained classes.

    The shade is the share of the true class; `judge` is what predicts the class.
    """
    trained = scores[(scores["prompt_class"] != "") & (scores["pred_class"] != "")]
    names = sorted({*trained["prompt_class"], *trained["pred_class"]})
    counts = pd.crosstab(trained["prompt_class"], trained["pred_class"])
    counts = counts.reindex(index=names, columns=names, fill_value=0).to_numpy()
    share = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    labels = [text(name) for name in names]
    cells = {"z": np.where(counts > 0, share.round(4), np.nan), "text": np.where(counts > 0, counts.astype(str), "")}
    hover = "true %{y}<br>predicted %{x}<br>%{text} images, %{z:.1%} of the class<extra></extra>"
    look = {"zmin": 0, "zmax": 1, "colorscale": [[0, "#cfe3f1"], [1, "#084a7a"]], "showscale": False}
    figure = go.Figure()
    figure.add_heatmap(**cells, x=labels, y=labels, texttemplate="%{text}", hovertemplate=hover, **look, xgap=1, ygap=1)
    right = (trained["prompt_class"] == trained["pred_class"]).mean()
    side = len(names) * max(34, 110 - 12 * len(names))
    figure.update_xaxes(title="predicted class", showgrid=False, tickangle=-40 if len(names) > 4 else 0)
    figure.update_yaxes(title={"text": "true class", "standoff": 12}, showgrid=False, autorange="reversed")
    title = f"The {judge} is right on {right:.1%} of {len(trained):,} test images"
    return titled(figure, title, height=170 + side, width=min(max(520, 240 + side), 1130))
