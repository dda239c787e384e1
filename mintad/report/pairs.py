"""Paired comparisons within a table: MINT-AD with each other method, category by category."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pandas as pd

from mintad.report import paper
from mintad.report.select_runs import TableRuns
from mintad.report.statistics import Paired, compare, holm
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
    """Compare MINT-AD with each other method of a table, by category, on means over seeds: columns `COLUMNS`.

    Table 8 compares within each backbone, Tables 1 and 2 within each setting. `p_holm` is adjusted for all tests of the
    table with one metric.
    """
    rows = list(_rows(table_runs))
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "p_holm"])
    table["p_holm"] = table.groupby("metric")["p_value"].transform(holm) if rows else None
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
        for key in tables:
            reference = _reference(table_runs.table, key, list(tables))
            if reference in tables and reference != key and (paired := _compare(tables[reference], tables[key])):
                names = {"table": table_runs.table, "data": table_runs.data, "metric": metric}
                names |= {"first": _name(table_runs.table, reference), "second": _name(table_runs.table, key)}
                yield names | dataclasses.asdict(paired)


def _reference(table: int, key: tuple[str, str], keys: list[tuple[str, str]]) -> tuple[str, str] | None:
    """Return what a method and setting is compared with."""
    if table not in _REFERENCES:
        return "MINT-AD", key[1]
    return next((other for other in keys if other[table == 5] == _REFERENCES[table]), None)


def _compare(first: pd.DataFrame, second: pd.DataFrame) -> Paired | None:
    """Compare two tables of category by seed on the categories that both have; None if there are none."""
    common = first.index.intersection(second.index)
    first, second = first.loc[common].dropna(axis=1), second.loc[common].dropna(axis=1)
    if not first.size or not second.size:
        return None
    return compare(first, second, same_seeds=list(first.columns) == list(second.columns))


def _name(table: int, key: tuple[str, str]) -> str:
    return key[table == 5] if table in _REFERENCES else ", ".join(key)
