"""The metrics, each described once, and the one table of results that holds them (§4.1).

The decorator `metric` adds one, also from a module that MINTAD_PLUGINS names. Its name then stands in every file, its
title on every page and in every report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from mintad.data.records import category_keys
from mintad.registry import Registry
from mintad.scoring.ranking import UndefinedMetricError, auroc, average_precision, f1_max, tpr_at
from mintad.scoring.regions import MapRanking

log = logging.getLogger(__name__)

MEAN, POOLED, ALL = "mean", "pooled", "all"
"""Categories of a mean over categories (which the paper reports), of a value over all test images on one scale (which a
single threshold for all products meets), and of a number that is not about test images (seconds, parameters)."""

RESULT_COLUMNS = ("method", "setting", "seed", "category", "metric", "value")
"""The one table of results: every run, baseline, sweep, report and benchmark reads and writes these columns.

method: a model variant or a baseline. setting: one of `SETTINGS`. category: "dataset/category", `MEAN`, `POOLED` or
`ALL`. metric: a name of `METRICS`."""
SETTINGS = {"unified": "", "separate": "given the class", "separate_chosen": "class chosen by a classifier"}
"""Table 1: one model for all categories; one model per category, given the category of a test image; one model per
category, chosen by a classifier (App. A.1). The text says who chooses the model of a test image."""

Level = Literal["image", "pixel"]


@dataclass(frozen=True)
class Metric:
    """A number that says how good a detector is; larger is better."""

    name: str
    """As in files and tables, for example "image_auroc"."""
    title: str
    """As people read it, for example "image AUROC"."""
    level: Level
    """What `function` takes: "image" the scored test rows, "pixel" a `MapRanking` of their maps and masks."""
    function: Callable[[Any], float | None]
    """Returns the value; None where the metric does not apply (no class head, say). Raises `UndefinedMetricError`
    where images that it needs are missing."""


METRICS: Registry[Metric] = Registry("metric")
"""Name -> metric, in the order in which tables show them."""


def metric(name: str, title: str, *, level: Level) -> Callable[[Callable], Callable]:
    """Register a function as a metric; see `Metric`."""

    def register(function: Callable) -> Callable:
        return METRICS.add(name, Metric(name, title, level, function), module=function.__module__).function

    return register


@metric("image_auroc", "image AUROC", level="image")
def image_auroc(scores: pd.DataFrame) -> float:
    """Return the AUROC of the image scores, the paper's I-AUROC."""
    return auroc(scores["pred_score"], scores["label"])


@metric("image_ap", "image AP", level="image")
def image_ap(scores: pd.DataFrame) -> float:
    """Return the average precision of the image scores."""
    return average_precision(scores["pred_score"], scores["label"])


@metric("image_f1_max", "image F1-max", level="image")
def image_f1_max(scores: pd.DataFrame) -> float:
    """Return the largest F1 over all thresholds, an upper bound: the threshold is taken on the same images."""
    return f1_max(scores["pred_score"], scores["label"])[0]


@metric("image_tpr_at_fpr1", "TPR at 1 % FPR", level="image")
def image_tpr_at_fpr1(scores: pd.DataFrame) -> float:
    """Return the share of anomalous images found with at most 1 % false alarms: none below 100 normal images."""
    return tpr_at(0.01, scores["pred_score"], scores["label"])


@metric("image_tpr_at_fpr5", "TPR at 5 % FPR", level="image")
def image_tpr_at_fpr5(scores: pd.DataFrame) -> float:
    """Return the share of anomalous images found with at most 5 % false alarms: none below 20 normal images."""
    return tpr_at(0.05, scores["pred_score"], scores["label"])


@metric("pixel_auroc", "pixel AUROC", level="pixel")
def pixel_auroc(ranking: MapRanking) -> float:
    """Return the AUROC of the pixels."""
    return ranking.auroc()


@metric("pixel_ap", "pixel AP", level="pixel")
def pixel_ap(ranking: MapRanking) -> float:
    """Return the average precision of the pixels, the paper's P-AUPR."""
    return ranking.average_precision()


@metric("pixel_f1_max", "pixel F1-max", level="pixel")
def pixel_f1_max(ranking: MapRanking) -> float:
    """Return the largest F1 of the pixels over all thresholds, an upper bound."""
    return ranking.f1_max()[0]


@metric("pixel_aupro", "pixel AUPRO", level="pixel")
def pixel_aupro(ranking: MapRanking) -> float:
    """Return the area under the per-region overlap curve up to a false positive rate of 0.3."""
    return ranking.aupro()


@metric("image_auroc_swap", "image AUROC, swap defects", level="image")
def image_auroc_swap(scores: pd.DataFrame) -> float | None:
    """Return the AUROC of `mini`'s "swap" defects, parts of another product, against the normal images."""
    return _auroc_of_defects(scores, scores["defect"] == "swap")


@metric("image_auroc_other", "image AUROC, other defects", level="image")
def image_auroc_other(scores: pd.DataFrame) -> float | None:
    """Return the AUROC of all defects but "swap" against the normal images, where there are swaps."""
    return _auroc_of_defects(scores, scores["defect"] != "swap") if (scores["defect"] == "swap").any() else None


@metric("class_accuracy", "class accuracy", level="image")
def class_accuracy(scores: pd.DataFrame) -> float | None:
    """Return the share of images of trained classes whose predicted class is right; None without predictions."""
    if "pred_class" not in scores:
        return None
    trained = scores[(scores["prompt_class"] != "") & (scores["pred_class"] != "")]
    return None if trained.empty else float((trained["pred_class"] == trained["prompt_class"]).mean())


@metric("class_accuracy_normal", "class accuracy, normal images", level="image")
def class_accuracy_normal(scores: pd.DataFrame) -> float | None:
    """Return the class accuracy of the normal images: the head has seen no others, and a defect may mislead it."""
    return class_accuracy(scores[scores["label"] == 0])


def measure(
    scores: pd.DataFrame,
    pixels: Iterable[tuple[str, np.ndarray, np.ndarray]] = (),
    region: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return every metric of a scored test set: by category, as the mean over categories, and pooled.

    The maps are read once and not kept. Measured on one core with 100 million pixels (1,993 maps of 224 x 224 in 15
    categories, 3 % anomalous): 20 to 25 s and 1.1 GB.

    Args:
        scores: test rows with columns dataset, category, label, defect, prompt_class, pred_score, and pred_class where
            a class is predicted.
        pixels: ("dataset/category", map (H, W), mask (H, W)) of every test image in categories with masks.
        region: region of interest (H, W), bool, of whose pixels alone the metrics are; None for all.

    Returns:
        Columns category ("dataset/category", `MEAN` or `POOLED`), metric, value. A value that is not defined has no
        row; where images are missing for it (a category with normal images alone, say) a warning says so.

    Raises:
        MetricError: a score is not finite.
    """
    table = pd.concat([measure_images(scores), measure_pixels(pixels, region)])
    order = {"key": lambda names: names.map(list(METRICS).index), "kind": "stable"}
    return table.sort_values("metric", **order, ignore_index=True)


def measure_images(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of level "image", see `measure`."""
    return _measure("image", dict(list(scores.groupby(category_keys(scores)))), scores)


def measure_pixels(
    pixels: Iterable[tuple[str, np.ndarray, np.ndarray]], region: np.ndarray | None = None
) -> pd.DataFrame:
    """Return the metrics of level "pixel", see `measure`; an empty table without pixels."""
    rankings: dict[str, MapRanking] = {}
    for key, anomaly_map, mask in pixels:
        rankings.setdefault(key, MapRanking()).update(anomaly_map, mask, region)
    return _measure("pixel", rankings, MapRanking.merged(rankings.values()) if rankings else None)


def first_method(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table's first method and setting: in a run's results those of its own model."""
    if table.empty or "method" not in table:
        return table
    keys = table[["method", "setting"]]
    return table[(keys == keys.iloc[0]).all(axis=1)]


def by_category(table: pd.DataFrame, metric: str) -> dict[str, float]:
    """Return a metric's value of each category of results (or of what `measure` gives), first method and setting."""
    rows = first_method(table)
    rows = rows[(rows["metric"] == metric) & ~rows["category"].isin([MEAN, POOLED, ALL])]
    return dict(zip(rows["category"], rows["value"], strict=True))


def value_of(table: pd.DataFrame, metric: str, category: str = MEAN) -> float | None:
    """Return one value of a table's first method and setting; None if it has none. See `by_category`."""
    rows = first_method(table)
    values = rows.loc[(rows["metric"] == metric) & (rows["category"] == category), "value"]
    return None if values.empty else float(values.iloc[0])


def _measure(level: Level, items: dict[str, Any], pooled: Any) -> pd.DataFrame:
    """Apply the metrics of a level to what belongs to each category, and to all of it together."""
    names = [metric.name for metric in METRICS.values() if metric.level == level]
    rows: list[tuple[str, str, float]] = []
    for category, item in {**items, POOLED: pooled}.items() if items else ():
        problems = []
        for name in names:
            try:
                value = METRICS[name].function(item)
            except UndefinedMetricError as error:
                problems.append(error)
            else:
                rows += [] if value is None else [(category, name, float(value))]
        if problems:
            log.warning("%s: %d %s metrics are left out (%s)", category, len(problems), level, problems[0])
    for name in names:
        values = [value for category, metric, value in rows if metric == name and category != POOLED]
        rows += [(MEAN, name, float(np.mean(values)))] if values else []
    rows.sort(key=lambda row: (names.index(row[1]), row[0] == POOLED))  # stable: categories, mean, pooled
    table = pd.DataFrame(rows, columns=["category", "metric", "value"])
    return table.astype({"category": object, "metric": object, "value": float})


def _auroc_of_defects(scores: pd.DataFrame, chosen: pd.Series) -> float | None:
    normal = scores["label"] == 0
    if not normal.any() or not (chosen & ~normal).any():
        return None
    return image_auroc(scores[normal | chosen])
