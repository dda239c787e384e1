"""A run's results as a table like the paper's Table 1, with the paper's numbers beside where it has them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mintad.report import paper

METHODS = {"mint_ad": "MINT-AD", "uniad": "UniAD"}
"""Variants whose numbers the paper prints per category."""
TABLES = {
    "image AUROC": ("I-AUROC", {"mvtec": 1, "visa": 2}),
    "pixel AP": ("P-AUPR", {"mvtec": 10, "visa": 2}),
}
"""Our metric -> the paper's, and the table that has it for each data set."""


def results_table(metrics: dict[str, Any], *, variant: str = "mint_ad", setting: str = "unified") -> pd.DataFrame:
    """Image AUROC and pixel AP of every category in %, and their means.

    Columns named "paper: …" stand beside where the paper has a category's number for this variant and setting; their
    mean is over the categories shown, so that both means are over the same ones.

    Args:
        metrics: as `mintad.scoring.summarise` gives.
        variant: of `mintad.model.VARIANTS`.
        setting: 'unified' or 'separate'.
    """
    ours = {"image AUROC": metrics["image"]["auroc"]}
    if metrics["pixel"]:
        ours["pixel AP"] = metrics["pixel"]["average_precision"]
    columns = {name: pd.Series(part["per_category"], dtype=float) for name, part in ours.items()}
    for name in list(ours):
        printed = {key: _printed(name, key, variant, setting) for key in columns[name].index}
        if any(value is not None for value in printed.values()):
            columns[f"paper: {name}"] = pd.Series(printed, dtype=float)
    table = pd.DataFrame(columns).rename_axis("category")
    table.loc["mean"] = table.mean()
    return (100 * table).round(1)


def _printed(name: str, key: str, variant: str, setting: str) -> float | None:
    dataset, _, category = key.partition("/")
    metric, tables = TABLES[name]
    if dataset not in tables or variant not in METHODS:
        return None
    rows = paper.load(tables[dataset])
    wanted = {"method": METHODS[variant], "category": category, "setting": setting, "metric": metric}
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return float(rows["value"].iloc[0]) if len(rows) else None
