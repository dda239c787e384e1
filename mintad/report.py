"""The results page of a run: one HTML file that opens anywhere, offline."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from PIL import Image
from plotly.offline import get_plotlyjs

from mintad import plots
from mintad.data.images import read_image, read_mask, resize_mask
from mintad.scoring import upsample

THUMBNAIL = 168

STYLE = """
:root{color-scheme:light dark;--ink:#1c2733;--soft:#66717d;--line:#d9dee3;--card:#f6f8fa;--page:#fff;--accent:#0072B2}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa5b1;--line:#30363d;--card:#161b22;--page:#0d1117;--accent:#56B4E9}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:1180px;margin:0
auto;padding:24px} h1{font-size:1.7rem;margin:0 0 4px}h2{font-size:1.2rem;margin:36px 0 8px;border-bottom:1px solid
var(--line);padding-bottom:4px}
p.note,figcaption,caption{color:var(--soft);font-size:.88rem}caption{text-align:left;padding-bottom:6px}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:18px 0}.tile{background:var(--card);border:1px solid
var(--line);border-radius:8px; padding:10px 16px;min-width:150px}.tile
b{display:block;font-size:1.5rem;color:var(--accent)}.tile span{font-size:.85rem;color:var(--soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin:8px 0 16px;font-size:.92rem} th,td{padding:4px
12px;border-bottom:1px solid
var(--line);text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left}
.cases{display:grid;grid-template-columns:repeat(auto-fill,minmax(350px,1fr));gap:16px} .cases
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px} .cases
img{width:100%;image-rendering:auto;display:block;border-radius:4px}figcaption{margin-top:6px;overflow-wrap:anywhere}
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;overflow-x:auto;font-size:.82rem}
"""


def write_report(
    path: str | Path,
    *,
    scores: pd.DataFrame,
    grid_maps: np.ndarray,
    metrics: dict[str, Any],
    history: pd.DataFrame | None,
    config: dict[str, Any],
    threshold: dict[str, float] | None,
    title: str,
    peers: pd.DataFrame | None = None,
    versions: dict[str, str] | None = None,
    n_cases: int = 6,
) -> Path:
    """Write the page.

    Args:
        path: HTML file to write.
        scores: the test rows of the record table with pred_score and pred_class.
        grid_maps: (n, H, W) anomaly maps in the same order.
        metrics: as `mintad.metrics.summarise` gives, with class_accuracy.
        history: of the training, or None.
        config, versions: shown at the end.
        threshold: as `mintad.scoring.fit_threshold` gives, with its rates on the test images, or None.
        title: heading.
        peers: table of methods by "I category", "P category", or None.
        n_cases: images in each gallery.

    Returns:
        `path`.
    """
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="note">{len(scores):,} test images: {(scores["label"] == 0).sum():,} normal, '
        f"{(scores['label'] == 1).sum():,} anomalous. "
        "The model is the last of the run, none was picked on test images.</p>",
        _tiles(metrics, threshold),
        "<h2>By category</h2>",
        _category_table(scores, metrics),
        _figure(plots.per_category_bars(metrics)),
    ]
    if peers is not None:
        body += ["<h2>Peers on the same features</h2>", _peer_table(peers)]
    body += [
        "<h2>Image scores</h2>",
        _figure(plots.roc_pr(scores)),
        _figure(plots.score_histograms(scores, threshold["value"] if threshold else None)),
    ]
    if metrics["defects"]:
        body += ["<h2>By defect</h2>", _defect_table(metrics["defects"])]
    if metrics.get("class_accuracy"):
        body += ["<h2>Class head</h2>", _figure(plots.confusion(scores))]
    body += ["<h2>Cases</h2>", *_galleries(scores, grid_maps, n_cases)]
    if history is not None and len(history):
        body += ["<h2>Training</h2>", _figure(plots.learning_curves(history))]
    body += ["<h2>Configuration</h2>", f"<pre>{html.escape(json.dumps(config, indent=1))}</pre>"]
    if versions:
        body += ["<h2>Versions</h2>", f"<pre>{html.escape(json.dumps(versions, indent=1))}</pre>"]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<script>{get_plotlyjs()}</script></head><body>{''.join(body)}</body></html>"
    )
    path = Path(path)
    path.write_text(page, encoding="utf-8")
    return path


def _tiles(metrics: dict[str, Any], threshold: dict[str, float] | None) -> str:
    image = metrics["image"]["auroc"]
    tiles = [("image AUROC, mean", image["mean"]), ("image AUROC, pooled", image["pooled"])]
    if metrics["pixel"]:
        tiles += [
            ("pixel AP, mean", metrics["pixel"]["average_precision"]["mean"]),
            ("AUPRO, mean", metrics["pixel"]["aupro"]["mean"]),
        ]
    if metrics.get("class_accuracy"):
        tiles.append(("class accuracy", metrics["class_accuracy"]["mean"]))
    if threshold:
        tiles += [
            ("false alarms at the threshold", threshold["false_positive_rate"]),
            ("defects found at the threshold", threshold["true_positive_rate"]),
        ]
    cells = [f'<div class="tile"><b>{_number(value)}</b><span>{name}</span></div>' for name, value in tiles]
    note = (
        f'<p class="note">Threshold {threshold["value"]:.4g}: the {threshold["quantile"]:.0%} quantile of the scores '
        f"of {threshold['n']} normal training images that were held out. The rates are those on the test images.</p>"
        if threshold
        else ""
    )
    return f'<div class="tiles">{"".join(cells)}</div>{note}'


def _category_table(scores: pd.DataFrame, metrics: dict[str, Any]) -> str:
    keys = scores["dataset"] + "/" + scores["category"]
    counts = scores.groupby(keys)["label"].agg(["size", "sum"])
    columns = {
        "image AUROC": metrics["image"]["auroc"],
        "image AP": metrics["image"]["average_precision"],
        "image F1-max": metrics["image"]["f1_max"],
    }
    if metrics["pixel"]:
        columns |= {
            f"pixel {label}": metrics["pixel"][name]
            for name, label in (("average_precision", "AP"), ("auroc", "AUROC"), ("f1_max", "F1-max"))
        }
        columns["AUPRO"] = metrics["pixel"]["aupro"]
    rows = [
        [
            key,
            str(row["size"] - row["sum"]),
            str(row["sum"]),
            *(_number(c["per_category"].get(key)) for c in columns.values()),
        ]
        for key, row in counts.iterrows()
    ]
    rows.append(["mean", "", "", *(_number(column["mean"]) for column in columns.values())])
    rows.append(["pooled", "", "", *(_number(column.get("pooled")) for column in columns.values())])
    caption = "Test images. F1-max takes its threshold on the same images: an upper bound."
    return _table(["category", "normal", "anomalous", *columns], rows, caption)


def _peer_table(peers: pd.DataFrame) -> str:
    rows = [
        [name, *(_number(value) for value in values)]
        for name, values in zip(peers.index, peers.to_numpy(), strict=True)
    ]
    return _table(["method", *peers.columns], rows, "I: image AUROC, P: pixel AP, on the test images. One run each.")


def _defect_table(defects: dict[str, dict[str, dict[str, float]]]) -> str:
    rows = [
        [key, defect, str(entry["n"]), _number(entry["auroc"])]
        for key, by_defect in defects.items()
        for defect, entry in sorted(by_defect.items(), key=lambda item: item[1]["auroc"])
    ]
    return _table(
        ["category", "defect", "images", "image AUROC"], rows, "Each defect against its category's normal test images."
    )


def _galleries(scores: pd.DataFrame, grid_maps: np.ndarray, n_cases: int) -> list[str]:
    low, high = float(np.percentile(grid_maps, 1)), float(np.percentile(grid_maps, 99.9))
    order = scores.sort_values("pred_score")
    choices = {
        "Anomalies with the highest scores": order[order["label"] == 1].index[::-1],
        "Anomalies with the lowest scores (most likely missed)": order[order["label"] == 1].index,
        "Normal images with the highest scores (most likely false alarms)": order[order["label"] == 0].index[::-1],
    }
    parts = []
    for name, rows in choices.items():
        cards = [_card(scores.loc[row], grid_maps[row], (low, high)) for row in _spread(scores, rows, n_cases)]
        parts.append(f'<h3>{name}</h3><div class="cases">{"".join(cards)}</div>')
    note = f"Image | ground truth, if any | anomaly map. Colour range {low:.3g} to {high:.3g} everywhere."
    parts.append(f'<p class="note">{note}</p>')
    return parts


def _spread(scores: pd.DataFrame, rows: Iterable[int], n: int) -> list[int]:
    """The first rows of each category in turn, so that one category does not fill a gallery."""
    keys = scores["dataset"] + "/" + scores["category"]
    queues: dict[str, list[int]] = {}
    for row in rows:
        queues.setdefault(keys[row], []).append(row)
    chosen = []
    for rank in range(n):
        chosen += [queue[rank] for queue in queues.values() if rank < len(queue)]
    return chosen[:n]


def _card(row: pd.Series, grid_map: np.ndarray, value_range: tuple[float, float]) -> str:
    size = (THUMBNAIL, THUMBNAIL)
    image = np.asarray(read_image(row["image"]).resize(size, Image.Resampling.BILINEAR))
    panels = [image]
    if row["masks"]:
        mask = resize_mask(read_mask(row["masks"]), size)
        panels.append(np.repeat(np.where(mask, 255, 30).astype(np.uint8)[..., None], 3, axis=-1))
    panels.append(plots.overlay(image, upsample(grid_map[None], THUMBNAIL)[0], value_range))
    text = f"{row['dataset']}/{row['category']} · {row['defect']} · score {row['pred_score']:.4g}"
    if row["pred_class"] and row["pred_class"] != row["prompt_class"]:
        text += f" · taken for {row['pred_class']}"
    name = html.escape(Path(row["image"]).name)
    image = f'<img src="{_data_uri(np.hstack(panels))}" alt="{html.escape(text)}">'
    return f"<figure>{image}<figcaption>{html.escape(text)}<br>{name}</figcaption></figure>"


def _data_uri(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _figure(figure: go.Figure) -> str:
    return figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True})


def _table(head: list[str], rows: list[list[str]], caption: str) -> str:
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><caption>{html.escape(caption)}</caption><tr>{cells}</tr>{lines}</table></div>'


def _number(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.4f}"
