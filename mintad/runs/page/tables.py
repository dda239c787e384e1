"""The numbers of the results page: headline tiles, categories, methods beside each other, types of defect."""

from __future__ import annotations

from collections import namedtuple

import pandas as pd

from mintad.baselines import BASELINES
from mintad.data.records import category_keys
from mintad.runs.page.render import Table
from mintad.scoring import auroc
from mintad.scoring.metrics import MEAN, METRICS, POOLED, SETTINGS, by_category, first_method, value_of
from mintad.scoring.sharp_prior import SCORES, split_method

Tile = namedtuple("Tile", ["value", "name", "note"])
"""A headline number and what it was taken over."""


def class_rows(results: pd.DataFrame) -> pd.DataFrame:
    """Return the run's own results that have a class accuracy, no rows if none have.

    Of a separate run these are the results of the setting in which a classifier chooses the model.
    """
    own = results[results["method"].isin(results["method"].iloc[:1])]
    settings = own.loc[own["metric"] == "class_accuracy", "setting"]
    return own[own["setting"].isin(settings[:1])]


def tiles(scores: pd.DataFrame, all_results: pd.DataFrame, *, decided: bool) -> list[Tile]:
    """Return the headline numbers of the run's own model; rates where it was `decided` which images are anomalous."""
    results, classes = first_method(all_results), class_rows(all_results)
    pooled = value_of(results, "image_auroc", POOLED)
    over = f"{len(scores):,} test images, one scale"
    shown = [_mean_tile(results, "image_auroc"), Tile(_three_digits(pooled), "image AUROC, pooled", over)]
    shown += [_mean_tile(results, name) for name in ("pixel_ap", "pixel_aupro") if name in set(results["metric"])]
    accuracy, of_normal = (value_of(classes, f"class_accuracy{part}", POOLED) for part in ("", "_normal"))
    if accuracy is not None:
        note = "of the test images" + ("" if of_normal is None else f"; {of_normal:.1%} of the normal ones")
        note += "; of the classifier that chooses the separate model" if chooses_model(classes) else ""
        shown.append(Tile(f"{accuracy:.1%}", METRICS["class_accuracy"].title, note))
    if decided:
        for label, name, kind in ((0, "false alarms", "normal"), (1, "anomalies found", "anomalous")):
            images = scores.loc[scores["label"] == label, "anomalous"]
            if len(images):
                shown.append(Tile(f"{images.mean():.1%}", name, f"of {len(images):,} {kind} test images"))
    return shown


def chooses_model(classes: pd.DataFrame) -> bool:
    """Return whether `class_rows` are those of the classifier that chooses the model in a separate run."""
    return "separate_chosen" in set(classes["setting"])


def _mean_tile(results: pd.DataFrame, metric: str) -> Tile:
    count = len(by_category(results, metric))
    note = f"of {count} {'category' if count == 1 else 'categories'}"
    note += " with masks" if METRICS[metric].level == "pixel" else ""
    return Tile(_three_digits(value_of(results, metric)), f"{METRICS[metric].title}, mean", note)


def _three_digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def category_table(scores: pd.DataFrame, results: pd.DataFrame) -> Table:
    """Return every metric of the run's own model by category, with means and pooled values below."""
    metrics = [name for name in METRICS if name in set(results["metric"])]
    labels = scores.groupby(category_keys(scores))["label"]
    counts = [[int((group == 0).sum()), int((group == 1).sum())] for _, group in labels]
    values = results.pivot(index="category", columns="metric", values="value")
    values = values.reindex(index=[*labels.groups, MEAN, POOLED], columns=metrics).astype(float)
    rows = [[*row, *line] for row, line in zip([*counts, ["", ""], ["", ""]], values.to_numpy().tolist(), strict=True)]
    rows = [[name, *row] for name, row in zip(values.index, rows, strict=True)]
    caption = (
        "Test images; a dash where the metric is not defined. AP is the area under the precision-recall curve, AUPRO "
        "the area up to a false positive rate of 0.3. F1-max is an upper bound, because its threshold is taken on the "
        "same images. Click a heading to sort."
    )
    head = ["category", "normal", "anomalous", *(METRICS[name].title for name in metrics)]
    return Table(head, rows[:-2], caption, rows[-2:])


def comparison(results: pd.DataFrame, neighbours: int = 0) -> dict[str, Table]:
    """Return a table for each metric, with a column for each method and setting that has it.

    Metrics that the run's own model alone has are left out, because `category_table` shows them. `neighbours` are those
    that the model's features are recentred by, see `RecentreConfig`.
    """
    keys = ["method", "setting"]
    methods = list(results[keys].drop_duplicates().itertuples(index=False, name=None))
    tables = {}
    for metric in (name for name in METRICS if name in set(results["metric"])):
        rows = results[results["metric"] == metric]
        values = rows.pivot(index="category", columns=keys, values="value").astype(float)
        columns = [method for method in methods if method in values]
        if columns == methods[:1]:
            continue
        values = values.reindex(index=rows["category"].unique(), columns=columns)
        lines = [[name, *line] for name, line in zip(values.index, values.to_numpy().tolist(), strict=True)]
        title = METRICS[metric].title
        several = any(split_method(method)[1] != "reconstruction" for method, _ in methods)
        head = [title, *(_method_name(*column, several_scores=several) for column in columns)]
        caption = f"{title[:1].upper()}{title[1:]} on the test images, one run of each method."
        foot = [line for line in lines if line[0] in (MEAN, POOLED)]
        rows = [line for line in lines if line not in foot]
        caption += " The highest of a row is bold." if len(columns) > 1 else ""
        if neighbours:
            caption += f" The model reconstructs what the {neighbours} most similar normal images leave of the features"
            caption += " (ours; the paper reconstructs the features)."
        tables[metric] = Table(head, rows, caption, foot)
    return tables


def _method_name(method: str, setting: str, *, several_scores: bool) -> str:
    """Return a method as people read it; the score is named where a model has several."""
    name, score = split_method(method)
    text = SCORES[score] if several_scores and method not in BASELINES else ""
    name = BASELINES[method].title if method in BASELINES else name
    return ", ".join(part for part in (name, text, SETTINGS.get(setting, setting)) if part)


def defect_table(scores: pd.DataFrame) -> Table | None:
    """Return the image AUROC of each type of defect against its category's normal test images, the hardest first.

    None if no category has both kinds of images.
    """
    keys, anomalous = category_keys(scores), scores["label"] == 1
    rows = []
    for (key, defect), images in scores[anomalous].groupby([keys[anomalous], "defect"]):
        normal = scores[(keys == key) & ~anomalous]
        if len(normal):
            both = pd.concat([normal, images])
            rows.append([key, defect, len(images), float(auroc(both["pred_score"], both["label"]))])
    rows.sort(key=lambda row: (row[0], row[3]))
    caption = "Test images of each type of defect against the normal test images of its category."
    head = ["category", "defect", "images", METRICS["image_auroc"].title]
    return Table(head, rows, caption, texts=2) if rows else None


def hardest_defect(table: Table) -> str:
    """Return one line about a `defect_table`: how many types there are, and which has the lowest image AUROC."""
    category, defect, images, value = min(table.rows, key=lambda row: row[3])
    hardest = f"{defect} of {category}, {table.head[3]} {value:.3f} (n = {images})"
    return f"{len(table.rows)} types of defect; the hardest: {hardest}"
