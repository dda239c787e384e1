"""The sections of the page, in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from plotly.offline import get_plotlyjs

from mintad import plots
from mintad.data.records import category_keys
from mintad.runs.page.galleries import galleries
from mintad.runs.page.markup import SORT, STYLE, escape, interactive, table, tag

FOLDED = 20
"""Tables with more rows start folded."""
METRICS = {"auroc": "AUROC", "average_precision": "AP", "f1_max": "F1-max", "aupro": "AUPRO"}
BASELINE_METRICS = {"I": "image AUROC", "P": "pixel AP"}


def write_report(
    path: str | Path,
    *,
    scores: pd.DataFrame,
    grid_maps: np.ndarray,
    metrics: dict[str, Any],
    history: pd.DataFrame | None,
    config: dict[str, Any],
    threshold: dict[str, Any] | None,
    title: str,
    baselines: pd.DataFrame | None = None,
    versions: dict[str, str] | None = None,
    n_cases: int = 6,
) -> Path:
    """Write the page: about 5 MB, nearly all of it plotly's script, so that it works offline.

    Args:
        path: HTML file to write.
        scores: the test rows of the record table with pred_score and pred_class ("" for none).
        grid_maps: (n, H, W) anomaly maps in the same order.
        metrics: as `mintad.scoring.summarise` gives, and class_accuracy if there is a class head.
        history: of the training, or None.
        config, versions: shown at the end.
        threshold: as `mintad.scoring.maps.fit_threshold` gives, or None.
        title: heading.
        baselines: methods (rows) by "I dataset/category", "P dataset/category" (columns: image AUROC, pixel AP), or None.
        n_cases: images in each gallery.

    Returns:
        `path`.

    Raises:
        DataError: an image or a mask of a case cannot be read.
    """
    value = threshold["value"] if threshold else None
    defined = metrics["image"]["auroc"]["mean"] is not None
    sections = [
        ("", _head(title, scores) + _tiles(scores, metrics, threshold)),
        ("By category", _categories(scores, metrics)),
        ("Baselines on the same features", "" if baselines is None else _baselines(baselines)),
        (
            "Image scores",
            (interactive(plots.roc_pr(scores)) if defined else "") + interactive(plots.score_histograms(scores, value)),
        ),
        ("By defect", _defects(metrics["defects"])),
        ("Class head", interactive(plots.confusion(scores)) if metrics.get("class_accuracy") else ""),
        ("Cases", galleries(scores, grid_maps, n_cases, value)),
        ("Training", interactive(plots.learning_curves(history)) if history is not None and len(history) else ""),
        ("Configuration and versions", _listing("Configuration", config) + _listing("Versions", versions)),
    ]
    body = "".join(tag("section", (tag("h2", name) if name else "") + part) for name, part in sections if part)
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · mintad results</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style>'
        f"<script>{get_plotlyjs()}</script></head><body><main>{body}</main><script>{SORT}</script></body></html>"
    )
    path = Path(path)
    path.write_text(page, encoding="utf-8")
    return path


def _head(title: str, scores: pd.DataFrame) -> str:
    anomalous = int(scores["label"].sum())
    note = (
        f"{len(scores):,} test images: {len(scores) - anomalous:,} normal, {anomalous:,} anomalous. "
        "The model is the last of the run, none was picked on test images."
    )
    return tag("h1", escape(title)) + tag("p", note, class_="note")


def _tiles(scores: pd.DataFrame, metrics: dict[str, Any], threshold: dict[str, Any] | None) -> str:
    """Headline numbers, each with what it was taken over."""
    image, pixel, classes = metrics["image"]["auroc"], metrics["pixel"], metrics.get("class_accuracy")
    tiles = [
        ("image AUROC, mean", image["mean"], f"of {len(image['per_category'])} categories"),
        ("image AUROC, pooled", image["pooled"], f"{len(scores):,} test images, one scale"),
    ]
    if pixel:
        masked = f"of {len(pixel['aupro']['per_category'])} categories with masks"
        tiles.append(("pixel AP, mean", pixel["average_precision"]["mean"], masked))
        tiles.append(("AUPRO, mean", pixel["aupro"]["mean"], masked))
    shown = [(name, "–" if value is None else f"{value:.3f}", of) for name, value, of in tiles]
    if classes:
        of = f"of {classes['n']:,} test images" if "n" in classes else "of the test images"
        if classes.get("normal") is not None:
            of += f"; {classes['normal']:.1%} of the normal ones"
        shown.append(("class accuracy", f"{classes['mean']:.1%}", of))
    note = ""
    if threshold:
        flagged = scores["pred_score"] > threshold["value"]
        for label, name, kind in ((0, "false alarms", "normal"), (1, "anomalies found", "anomalous")):
            among = flagged[scores["label"] == label]
            if len(among):
                shown.append((name, f"{among.mean():.1%}", f"of {len(among):,} {kind} test images"))
        note = f"Threshold {threshold['value']:.4g}"
        if "quantile" in threshold:
            note += f": the {threshold['quantile']:.4g} quantile of the scores of {threshold['n']:,} normal training "
            note += "images that were held out. "
            if not threshold.get("reached", True):
                note += "They are too few for it: the highest of them stands in. "
            note += "The rates above are those on the test images."
    cells = [
        tag("div", tag("b", value) + tag("span", name) + tag("small", of), class_="tile") for name, value, of in shown
    ]
    return tag("div", "".join(cells), class_="tiles") + (tag("p", note, class_="note") if note else "")


def _categories(scores: pd.DataFrame, metrics: dict[str, Any]) -> str:
    counts = scores.groupby(category_keys(scores))["label"].agg(["size", "sum"])
    columns = {
        f"{kind} {name}": metrics[kind][metric]
        for kind in ("image", "pixel")
        for metric, name in METRICS.items()
        if metrics[kind] and metric in metrics[kind]
    }
    rows = [
        [key, int(row["size"] - row["sum"]), int(row["sum"]), *(c["per_category"].get(key) for c in columns.values())]
        for key, row in counts.iterrows()
    ]
    foot = [
        [name, "", "", *(column.get(of) for column in columns.values())]
        for name, of in (("mean", "mean"), ("pooled", "pooled"))
    ]
    caption = (
        "Test images; a dash where the metric is not defined. AP is the area under the precision-recall curve. "
        "F1-max takes its threshold on the same images: an upper bound. A click on a heading sorts."
    )
    if metrics["pixel"]:
        caption += " AUPRO is up to a false positive rate of 0.3."
    bars = interactive(plots.per_category_bars(metrics)) if metrics["image"]["auroc"]["per_category"] else ""
    return table(["category", "normal", "anomalous", *columns], rows, caption, foot=foot) + bars


def _baselines(baselines: pd.DataFrame) -> str:
    """A column a method, a row a category: readable for 2 methods and 30 categories."""
    parts = []
    for letter in dict.fromkeys(str(column).partition(" ")[0] for column in baselines.columns):
        columns = [column for column in baselines.columns if str(column).partition(" ")[0] == letter]
        rows = [[str(column).partition(" ")[2], *pd.to_numeric(baselines[column]).astype(float)] for column in columns]
        foot = [row for row in rows if row[0] == "mean"]
        rows = [row for row in rows if row[0] != "mean"]
        name = BASELINE_METRICS.get(letter, letter)
        caption = (
            f"{name[:1].upper()}{name[1:]} on the test images, one run of each method. The highest of a row is bold."
        )
        parts.append(table([name, *baselines.index], rows, caption, foot=foot, best=True))
    return tag("div", "".join(parts), class_="pair")


def _defects(defects: dict[str, dict[str, dict[str, Any]]]) -> str:
    rows = [
        [key, defect, entry["n"], entry["auroc"]]
        for key, by_defect in defects.items()
        for defect, entry in sorted(by_defect.items(), key=lambda item: item[1]["auroc"])
    ]
    if not rows:
        return ""
    caption = "Test images of each type of defect against the normal test images of its category."
    shown = table(["category", "defect", "images", "image AUROC"], rows, caption, texts=2)
    if len(rows) <= FOLDED:
        return shown
    weakest = min(rows, key=lambda row: row[3])
    hardest = f"{weakest[1]} of {weakest[0]}, image AUROC {weakest[3]:.3f} (n = {weakest[2]})"
    summary = f"{len(rows)} types of defect; the hardest: {hardest}"
    return tag("details", tag("summary", escape(summary)) + shown)


def _listing(name: str, values: dict[str, Any] | None) -> str:
    if not values:
        return ""
    text = escape(json.dumps(values, indent=2, ensure_ascii=False, default=str))
    return tag("details", tag("summary", escape(name)) + tag("pre", text))
