"""Paired comparisons within a table: each method against MINT-AD (against UniAD for MINT-AD itself), by category."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pandas as pd

from mintad.report import paper
from mintad.report.select_runs import TableRuns
from mintad.report.statistics import compare, holm
from mintad.report.table_values import SWAP, by_seed
from mintad.scoring.metrics import MEAN

COLUMNS = (
    "table", "data", "metric", "first", "second", "categories", "seeds_first", "seeds_second", "same_seeds",
    "difference", "low", "high", "won", "lost", "p_value", "p_holm", "smallest_p",
)  # fmt: skip
"""Columns of `pairs`: `difference` is `first` minus `second`, `low` and `high` its 95 % interval."""
_REFERENCES = {4: "Feature Prompt", 9: "INR-Query", 5: "adapter+class_loss+prior_loss+class_query"}
"""Table -> the row that is the full MINT-AD; a setting in Table 5."""


def pairs(table_runs: TableRuns) -> pd.DataFrame:
    """Compare MINT-AD with each other method of a table.

    What is compared are means over seeds, for each category that both methods have. Table 8 compares within each
    backbone, Tables 1 and 2 within each setting. `p_holm` is adjusted for all tests of the table with one metric.

    Returns:
        Columns `COLUMNS`; empty if there is nothing to compare.
    """
    rows = [] if table_runs.rows.empty else list(_rows(table_runs))
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "p_holm"])  # drops `seeds`
    table["p_holm"] = table.groupby("metric")["p_value"].transform(lambda p: holm(list(p))) if rows else None
    return table[list(COLUMNS)]


def _rows(table_runs: TableRuns) -> Iterator[dict[str, object]]:
    values = by_seed(table_runs, data_sets=False)
    printed = {*paper.load(table_runs.table)["metric"], SWAP}
    values = values[(values["category"] != MEAN) & values["metric"].isin(printed)]
    for metric, metric_values in values.groupby("metric", sort=False):
        tables = {
            key: group.pivot(index="category", columns="seed", values="value")
            for key, group in metric_values.groupby(["method", "setting"], sort=False)
        }
        for reference, key in _references(table_runs.table, list(tables)):
            comparison = _compare(tables[reference], tables[key])
            if comparison is None:
                continue
            names = {"first": _name(table_runs.table, reference), "second": _name(table_runs.table, key)}
            yield {"table": table_runs.table, "data": table_runs.data, "metric": metric, **names, **comparison}


def _references(table: int, keys: list[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
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


def _compare(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, object] | None:
    """Compare two tables of category by seed on the categories that both have; None if there are none."""
    common = first.index.intersection(second.index)
    first, second = first.loc[common].dropna(axis=1), second.loc[common].dropna(axis=1)
    if not first.size or not second.size:
        return None
    paired = compare(first, second, same_seeds=list(first.columns) == list(second.columns))
    values = dataclasses.asdict(paired) | {"seeds_first": paired.seeds[0], "seeds_second": paired.seeds[1]}
    return values | {"smallest_p": paired.smallest_p}


def _name(table: int, key: tuple[str, str]) -> str:
    method, setting = key
    return {4: method, 9: method, 5: setting}.get(table, f"{method}, {setting}")
