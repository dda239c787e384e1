"""Paired comparisons within a table: each method against MINT-AD (against UniAD for MINT-AD itself), by category."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pandas as pd

from mintad.report import paper
from mintad.report.select_runs import TableRuns
from mintad.report.statistics import compare, holm
from mintad.report.table_values import by_seed
from mintad.scoring.metrics import MEAN

COLUMNS = (
    "table", "data", "metric", "one", "other", "categories", "seeds_one", "seeds_other", "same_seeds", "difference",
    "low", "high", "won", "lost", "p_value", "p_holm", "smallest_p",
)  # fmt: skip
"""Columns of `pairs`: `difference` is one minus other, `low` and `high` its 95 % interval."""
_REFERENCES = {4: "Feature Prompt", 9: "INR-Query", 5: "adapter+class_loss+prior_loss+class_query"}
"""Tables -> the row that is MINT-AD in full; a setting in Table 5."""


def pairs(table_runs: TableRuns) -> pd.DataFrame:
    """MINT-AD against each other method of a table: columns `COLUMNS`, empty if there is nothing to compare.

    Compared are the means over seeds of each category that both have; Table 8 compares within each backbone, Tables 1
    and 2 within each setting. `p_holm` is adjusted for all tests of the table with one metric.
    """
    rows = [] if table_runs.rows.empty else list(_rows(table_runs))
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "p_holm"])  # leaves `seeds` out
    table["p_holm"] = table.groupby("metric")["p_value"].transform(lambda p: holm(list(p))) if rows else None
    return table[list(COLUMNS)]


def _rows(table_runs: TableRuns) -> Iterator[dict[str, object]]:
    values = by_seed(table_runs, data_sets=False)
    printed = {*paper.load(table_runs.table)["metric"], "image_auroc_swap"}
    values = values[(values["category"] != MEAN) & values["metric"].isin(printed)]
    for metric, of_metric in values.groupby("metric", sort=False):
        tables = {
            key: group.pivot(index="category", columns="seed", values="value")
            for key, group in of_metric.groupby(["method", "setting"], sort=False)
        }
        for one, other in _which(table_runs.table, list(tables)):
            found = _compared(tables[one], tables[other])
            if found is None:
                continue
            names = {"one": _name(table_runs.table, one), "other": _name(table_runs.table, other)}
            yield {"table": table_runs.table, "data": table_runs.data, "metric": metric, **names, **found}


def _which(table: int, keys: list[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    for key in keys:
        method, setting = key
        if table in (4, 9):
            reference = next((k for k in keys if k[0] == _REFERENCES[table]), None)
        elif table == 5:
            reference = next((k for k in keys if k[1] == _REFERENCES[5]), None)
        else:
            reference = ("MINT-AD", setting)
        if reference in keys and reference != key:
            yield reference, key


def _compared(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, object] | None:
    common = one.index.intersection(other.index)
    one, other = one.loc[common].dropna(axis=1), other.loc[common].dropna(axis=1)
    if not one.size or not other.size:
        return None
    found = compare(one, other, same_seeds=list(one.columns) == list(other.columns))
    values = dataclasses.asdict(found) | {"seeds_one": found.seeds[0], "seeds_other": found.seeds[1]}
    return values | {"smallest_p": found.smallest_p}


def _name(table: int, key: tuple[str, str]) -> str:
    method, setting = key
    return {4: method, 9: method, 5: setting}.get(table, f"{method}, {setting}")
