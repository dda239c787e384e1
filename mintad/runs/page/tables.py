"""The numbers of the results page: headline tiles, categories, methods beside each other, types of defect."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from mintad.baselines import BASELINES
from mintad.data.records import category_keys
from mintad.runs.page.render import Table
from mintad.scoring import auroc
from mintad.scoring.metrics import MEAN, METRICS, POOLED, by_category, value_of
from mintad.scoring.threshold import Threshold

HEADLINE = ("image_auroc", "pixel_ap")
"""Metrics whose comparison is shown unfolded: the paper's two."""
SETTINGS = {"unified": "", "separate": "given the class", "separate_chosen": "class chosen by a classifier"}
"""What a setting adds to a method's name."""


@dataclass
class Tile:
    """A headline number and what it was taken over."""

    value: str
    name: str
    note: str


@dataclass
class Comparison:
    """One table per metric, a column per method."""

    headline: list[Table]
    further: list[Table]


def own_results(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the run's own model: the first method and setting of the table."""
    first = results.iloc[0]
    return results[(results["method"] == first["method"]) & (results["setting"] == first["setting"])]


def tiles(scores: pd.DataFrame, results: pd.DataFrame, threshold: Threshold | None) -> list[Tile]:
    """Return the headline numbers.

    Args:
        scores: test rows with label, pred_score.
        results: of the run's own model, see `own_results`.
        threshold: above it an image is called anomalous; None if there is none.
    """
    shown = [
        _mean_tile(results, "image_auroc"),
        Tile(
            _three_digits(value_of(results, "image_auroc", POOLED)),
            "image AUROC, pooled",
            f"{len(scores):,} test images, one scale",
        ),
    ]
    names = set(results["metric"])
    shown += [_mean_tile(results, name) for name in ("pixel_ap", "pixel_aupro") if name in names]
    accuracy, of_normal = (value_of(results, f"class_accuracy{part}", POOLED) for part in ("", "_normal"))
    if accuracy is not None:
        note = "of the test images" + ("" if of_normal is None else f"; {of_normal:.1%} of the normal ones")
        shown.append(Tile(f"{accuracy:.1%}", METRICS["class_accuracy"].title, note))
    if threshold:
        flagged = scores["pred_score"] > threshold.value
        for label, name, kind in ((0, "false alarms", "normal"), (1, "anomalies found", "anomalous")):
            images = flagged[scores["label"] == label]
            if len(images):
                shown.append(Tile(f"{images.mean():.1%}", name, f"of {len(images):,} {kind} test images"))
    return shown


def threshold_note(threshold: Threshold) -> str:
    """Return where the threshold comes from."""
    text = (
        f"Threshold {threshold.value:.4g}: the {threshold.quantile:.4g} quantile of the scores of {threshold.n:,} "
        "normal training images that were held out."
    )
    if not threshold.reached:
        text += " They are too few for this quantile, so their highest score is taken instead."
    return f"{text} The rates above are measured on the test images."


def category_table(scores: pd.DataFrame, results: pd.DataFrame) -> Table:
    """Return every metric of the run's own model by category, with means and pooled values below."""
    counts = scores.groupby(category_keys(scores))["label"].agg(["size", "sum"])
    metrics = [name for name in METRICS if name in set(results["metric"])]
    values = {name: by_category(results, name) for name in metrics}
    rows = [
        [key, int(count["size"] - count["sum"]), int(count["sum"]), *(values[name].get(key) for name in metrics)]
        for key, count in counts.iterrows()
    ]
    foot = [[name, "", "", *(value_of(results, metric, name) for metric in metrics)] for name in (MEAN, POOLED)]
    head = ["category", "normal", "anomalous", *(METRICS[name].title for name in metrics)]
    caption = (
        "Test images; a dash where the metric is not defined. AP is the area under the precision-recall curve, AUPRO "
        "the area up to a false positive rate of 0.3. F1-max is an upper bound, because its threshold is taken on the "
        "same images. Click a heading to sort."
    )
    return Table(head, rows, caption, foot)


def comparison(results: pd.DataFrame) -> Comparison | None:
    """Return the metrics that several methods or settings have, with a column for each; None if only one is there."""
    keys = list(dict.fromkeys(zip(results["method"], results["setting"], strict=True)))
    tables: dict[str, Table] = {}
    for name in (name for name in METRICS if name in set(results["metric"])):
        rows = results[results["metric"] == name]
        columns = {key: group for key, group in rows.groupby(["method", "setting"], sort=False)}
        columns = {key: columns[key] for key in keys if key in columns}
        if len(columns) > 1:
            tables[name] = _comparison_of(METRICS[name].title, columns)
    if not tables:
        return None
    return Comparison(
        [table for name, table in tables.items() if name in HEADLINE],
        [table for name, table in tables.items() if name not in HEADLINE],
    )


def defect_table(scores: pd.DataFrame) -> Table | None:
    """Return the image AUROC of each type of defect against the normal test images of its category.

    The hardest types stand first in each category. None if no category has both kinds of images.
    """
    rows = []
    for key, group in scores.groupby(category_keys(scores)):
        normal = group[group["label"] == 0]
        of_category = []
        for defect, images in group[group["label"] == 1].groupby("defect"):
            if len(normal):
                both = pd.concat([normal, images])
                of_category.append([key, defect, len(images), float(auroc(both["pred_score"], both["label"]))])
        rows += sorted(of_category, key=lambda row: row[3])
    caption = "Test images of each type of defect against the normal test images of its category."
    return (
        Table(["category", "defect", "images", METRICS["image_auroc"].title], rows, caption, texts=2) if rows else None
    )


def hardest_defect(table: Table) -> str:
    """Return one line about a `defect_table`: how many types there are, and which has the lowest image AUROC."""
    category, defect, images, value = min(table.rows, key=lambda row: row[3])
    metric = METRICS["image_auroc"].title
    hardest = f"{defect} of {category}, {metric} {value:.3f} (n = {images})"
    return f"{len(table.rows)} types of defect; the hardest: {hardest}"


def _comparison_of(title: str, columns: dict[tuple[str, str], pd.DataFrame]) -> Table:
    values = {
        key: dict(zip(rows["category"], rows["value"].astype(float), strict=True)) for key, rows in columns.items()
    }
    categories = dict.fromkeys(name for by_name in values.values() for name in by_name)
    foot = [name for name in (MEAN, POOLED) if name in categories]

    def line(category: str) -> list[object]:
        return [category, *(by_name.get(category) for by_name in values.values())]

    head = [title, *(_method_name(*key) for key in columns)]
    caption = (
        f"{title[:1].upper()}{title[1:]} on the test images, one run of each method. The highest of a row is bold."
    )
    return Table(head, [line(name) for name in categories if name not in foot], caption, [line(name) for name in foot])


def _method_name(method: str, setting: str) -> str:
    name, addition = BASELINES[method].title if method in BASELINES else method, SETTINGS.get(setting, setting)
    return f"{name}, {addition}" if addition else name


def _mean_tile(results: pd.DataFrame, metric: str) -> Tile:
    count = len(by_category(results, metric))
    note = f"of {count} {'category' if count == 1 else 'categories'}"
    note += " with masks" if METRICS[metric].level == "pixel" else ""
    return Tile(_three_digits(value_of(results, metric)), f"{METRICS[metric].title}, mean", note)


def _three_digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
