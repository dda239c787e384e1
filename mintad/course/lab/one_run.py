"""A run's results as a table like the paper's Table 1, beside the paper's own numbers (notebook 10)."""

from __future__ import annotations

import pandas as pd

from mintad.report import paper
from mintad.scoring.metrics import METRICS, by_category

TABLES = {"image_auroc": {"mvtec": 1, "visa": 2}, "pixel_ap": {"mvtec": 10, "visa": 2}}
"""Metric -> data set -> the paper's table that prints it for each category."""


def results_table(results: pd.DataFrame, *, variant: str = "mint_ad", setting: str = "unified") -> pd.DataFrame:
    """Return image AUROC and pixel AP of every category in %, and their means.

    Where the paper prints numbers per category for this variant and setting, they stand beside in columns named
    "paper: …". Their mean is over the categories shown, so that both means are over the same ones. `results` are those
    of one run, with the columns `mintad.scoring.metrics.RESULT_COLUMNS`.
    """
    own = results[(results["method"] == variant) & (results["setting"] == setting)]
    columns = {}
    for metric in TABLES:
        values, title = by_category(own, metric), METRICS[metric].title
        columns[title] = values
        columns[f"paper: {title}"] = {key: _printed(metric, key, variant, setting) for key in values}
    table = pd.DataFrame(columns, dtype=float).dropna(axis=1, how="all").rename_axis("category")
    table.loc["mean"] = table.mean()
    return (100 * table).round(1)


def _printed(metric: str, key: str, variant: str, setting: str) -> float | None:
    dataset, _, category = key.partition("/")
    table, method = TABLES[metric].get(dataset), paper.PRINTED_PER_CATEGORY.get(variant)
    if not table or not method or category not in set(paper.load(table)["category"]):
        return None
    return paper.value(table, method, category, metric, setting)
