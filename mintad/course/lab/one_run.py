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
    "paper: …". Their mean is over the categories shown, so that both means are over the same ones.

    Args:
        results: of one run, columns `mintad.scoring.metrics.RESULT_COLUMNS`.
        variant: the model whose rows are taken.
        setting: 'unified' or 'separate'.
    """
    own = results[(results["method"] == variant) & (results["setting"] == setting)]
    columns: dict[str, pd.Series] = {}
    for metric in TABLES:
        values = by_category(own, metric)
        if not values:
            continue
        columns[METRICS[metric].title] = pd.Series(values, dtype=float)
        printed = {key: _printed(metric, key, variant, setting) for key in values}
        if any(value is not None for value in printed.values()):
            columns[f"paper: {METRICS[metric].title}"] = pd.Series(printed, dtype=float)
    table = pd.DataFrame(columns).rename_axis("category")
    table.loc["mean"] = table.mean()
    return (100 * table).round(1)


def _printed(metric: str, key: str, variant: str, setting: str) -> float | None:
    dataset, _, category = key.partition("/")
    if dataset not in TABLES[metric] or variant not in paper.PRINTED_PER_CATEGORY:
        return None
    rows = paper.load(TABLES[metric][dataset])
    conditions = {
        "method": paper.PRINTED_PER_CATEGORY[variant],
        "category": category,
        "setting": setting,
        "metric": metric,
    }
    for column, value in conditions.items():
        rows = rows[rows[column] == value]
    return float(rows["value"].iloc[0]) if len(rows) else None
