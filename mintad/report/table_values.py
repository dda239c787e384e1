"""The numbers of one of the paper's tables, one per row: measured mean and standard deviation, and the paper's."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from mintad.model import build_model
from mintad.model.complexity import parameters
from mintad.report import paper
from mintad.report.methods import HOME, data_title, reason
from mintad.report.select_runs import TableRuns
from mintad.scoring.metrics import ALL, MEAN, METRICS

COLUMNS = (
    "table", "method", "setting", "category", "metric", "measured", "std", "seeds", "data", "paper", "paper_data",
    "difference", "status",
)  # fmt: skip
"""Columns of `table_values`. `difference` (measured - paper) needs the paper's data set and categories."""
KEY = ["method", "setting", "category", "metric"]
SWAP = "image_auroc_swap"  # shown in Tables 4 and 5, where the data have swapped parts
_NOTHING = pd.DataFrame(columns=[*KEY, "measured", "std", "seeds"])


def table_values(table_runs: TableRuns, complexity: pd.DataFrame | None = None) -> pd.DataFrame:
    """Collect all numbers of a table, printed and measured; Table 6 needs the table of benchmarks/complexity.py.

    On another data set than the paper's, only the paper's means are set beside, with no difference. Where runs cover
    some of the paper's categories, `paper` is the mean of its rows for these, if it prints them.

    Returns:
        Columns `COLUMNS`. `std` is over seeds (n - 1), NaN for one. `status`: 'measured', or why there is no number.
    """
    number = table_runs.table
    measured = _complexity(complexity) if number == 6 else _measured(table_runs)
    printed = paper.load(number).rename(columns={"value": "paper"})[[*KEY, "paper"]]
    measured = measured[measured["metric"].isin({*printed["metric"], SWAP})]
    if table_runs.elsewhere:
        printed = printed[printed["category"].isin([MEAN, ALL])]
    table = _in_order(printed.merge(measured, on=KEY, how="outer", sort=False), pd.concat([printed, measured]))
    comparable = _comparable(table_runs, table["category"])
    if table_runs.few_images:
        comparable[:] = False
    elif number != 3:  # which prints whole data sets, no parts of them
        subset = _means_of_subset(table, printed, measured).where(~comparable & (not table_runs.elsewhere))
        table["paper"] = subset.fillna(table["paper"])
        comparable |= subset.notna()
    comparable &= (table["metric"] != "parameters_M") & (number != 6)
    table["paper_data"] = np.where(table["paper"].notna(), data_title(HOME[number]), "")
    table["difference"] = (table["measured"] - table["paper"]).where(comparable)
    reasons = [reason(row.method, number, row.setting, table_runs.data) for row in table.itertuples()]
    table["status"] = pd.Series(reasons, index=table.index, dtype=object).mask(
        np.isfinite(table["measured"].astype(float)), "measured"
    )
    return table.assign(table=number, data=data_title(table_runs.data))[list(COLUMNS)].reset_index(drop=True)


def every_metric(table_runs: TableRuns) -> pd.DataFrame:
    """Return the mean over categories of every metric that the runs have, in the registry's order.

    Columns table, method, setting, metric, measured, std, seeds.
    """
    rows, keys = _renamed(table_runs.rows), ["method", "setting", "metric"]
    rows = rows[rows["category"] == MEAN].groupby([*keys, "seed"], sort=False, as_index=False)["value"].mean()
    ranks = {name: rank for rank, name in enumerate(METRICS)}
    table = _over_seeds(rows, keys).sort_values("metric", key=lambda names: names.map(ranks), kind="stable")
    return table.assign(table=table_runs.table)[["table", *keys, "measured", "std", "seeds"]].reset_index(drop=True)


def by_seed(table_runs: TableRuns, *, data_sets: bool = True) -> pd.DataFrame:
    """Return method, setting, category, metric, seed and value in the table's terms, means over categories included.

    A baseline that stands in several runs of a seed has their mean. Table 3 has the means of its data sets in place of
    categories; without `data_sets` it has the categories themselves.
    """
    rows, number = _renamed(table_runs.rows), table_runs.table
    rows = rows[rows["metric"].isin(["image_auroc", "pixel_ap", *([SWAP] if number in (4, 5) else [])])]
    if number == 3 and data_sets:  # the mean over each data set's categories, and over all
        names = rows["category"].str.replace("/.*", "", regex=True)  # of a mean: "mean"
        rows = rows.assign(category=names).groupby([*KEY, "seed", "run"], sort=False, as_index=False)["value"].mean()
    rows = rows.groupby([*KEY, "seed"], sort=False, as_index=False)["value"].mean()
    if number == 7:
        rows = _splits(rows)
    if number != 3 and table_runs.data != "merged":  # "mvtec/bottle" -> "bottle" where all are of one data set
        rows["category"] = rows["category"].str.replace("^[^/]*/", "", regex=True)
    return rows


def _renamed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(method=rows["paper_method"], setting=rows["paper_setting"])


def _over_seeds(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return rows.groupby(keys, sort=False)["value"].agg(measured="mean", std="std", seeds="size").reset_index()


def _measured(table_runs: TableRuns) -> pd.DataFrame:
    table, number = _over_seeds(by_seed(table_runs), KEY), table_runs.table
    if number in (4, 5, 8, 9):
        table = table[table["category"] == MEAN]
    return pd.concat([table, _query_parameters(table_runs)]) if number == 9 else table


def _query_parameters(table_runs: TableRuns) -> pd.DataFrame:
    """Table 9: parameters of the query module as each run built it."""
    rows = []
    for row in table_runs.rows.drop_duplicates("paper_method").itertuples():
        if config := table_runs.configs[row.run]:
            model = build_model(config.model, channels=8, grid=(config.features.grid,) * 2, classes=2)
            count = parameters(getattr(model, "mlp_query" if row.method == "mlp_query" else "inr"))
            rows.append((row.paper_method, row.paper_setting, ALL, "parameters_M", count / 1e6, math.nan, 1))
    return pd.DataFrame(rows, columns=_NOTHING.columns)


def _splits(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 7: one run per split; the mean is over splits, for seeds that have all four."""
    rows = rows[rows["metric"] == "image_auroc"]
    groups = rows.groupby(["method", "setting", "metric", "seed"], sort=False, as_index=False)
    means = groups["value"].agg(value="mean", splits="size").query("splits == 4").drop(columns="splits")
    return pd.concat([rows, means.assign(category=MEAN)], ignore_index=True)


def _complexity(table: pd.DataFrame | None) -> pd.DataFrame:
    """Return the table of benchmarks/complexity.py in the terms of Table 6, which calls multiply-accumulates FLOPs."""
    if table is None:
        return _NOTHING
    metric, setting = table["metric"].replace("macs_G", "flops_G"), "batch " + table["batch"].astype(str)
    table = table.assign(metric=metric, setting=setting, category=ALL, measured=table["value"], std=math.nan, seeds=1)
    return table[list(_NOTHING.columns)].astype({"measured": float})


def _in_order(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Sort in the order of rows, the paper's first: by method and setting, then category (means last), then metric."""
    orders = {name: list(rows[name].unique()) for name in KEY}
    orders["category"].sort(key=lambda name: name == MEAN)
    ranks = {name: {value: rank for rank, value in enumerate(order)} for name, order in orders.items()}
    return table.sort_values(KEY, key=lambda column: column.map(ranks[column.name]))


def _comparable(table_runs: TableRuns, categories: pd.Series) -> pd.Series:
    """Say of every row whether what it is about was run on the paper's data, a mean on every category behind it."""
    if not table_runs.data or table_runs.table == 7 or table_runs.elsewhere:
        return pd.Series(not table_runs.elsewhere, index=categories.index)
    counts = pd.Series([name.partition("/")[0] for name in set(table_runs.rows["category"]) - {MEAN}]).value_counts()
    complete = {name for name, count in paper.CATEGORIES_IN.items() if counts.get(name) == count}
    if table_runs.table == 3:
        return categories.isin(complete | ({MEAN} if complete == set(paper.CATEGORIES_IN) else set()))
    return (categories != MEAN) | (HOME[table_runs.table] in complete)


def _means_of_subset(table: pd.DataFrame, printed: pd.DataFrame, measured: pd.DataFrame) -> pd.Series:
    """Return the paper's mean over those of its categories that were run, one per row; NaN where it prints none."""
    keys = ["method", "setting", "metric"]
    rows = printed[printed["category"].isin(set(measured["category"]) - {MEAN})]
    means = rows.groupby(keys)["paper"].mean().reset_index()
    return table[keys].merge(means, on=keys, how="left")["paper"].set_axis(table.index)
