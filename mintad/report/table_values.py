"""The numbers of one of the paper's tables, one per row: measured mean and standard deviation, and the paper's."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from mintad.data import DATASETS
from mintad.data.merged import MERGED
from mintad.model import build_model
from mintad.model.complexity import parameters
from mintad.report import paper
from mintad.report.methods import ANOMALIB, DATA, HOME, reason
from mintad.report.select_runs import TableRuns
from mintad.scoring.metrics import ALL, MEAN, METRICS

COLUMNS = (
    "table", "method", "setting", "category", "metric", "measured", "std", "seeds", "data", "paper", "paper_data",
    "difference", "status",
)  # fmt: skip
"""Columns of `table_values`. `difference` (measured - paper) needs the paper's data set and categories."""
KEY = ["method", "setting", "category", "metric"]
_CATEGORIES = {name: len(DATASETS[name].categories) for name in MERGED}
"""Data sets and how many categories they have."""
PRINTED = ("image_auroc", "pixel_ap")
"""What the paper's tables of detection and localisation print."""
SWAP = "image_auroc_swap"
"""Shown in Tables 4 and 5, where the data have swapped parts."""
_COMPLEXITY = {"parameters_M": "parameters_M", "macs_G": "flops_G", "seconds": "seconds"}
"""Metric of benchmarks/complexity.py -> of Table 6, which calls multiply-accumulates FLOPs."""


def table_values(table_runs: TableRuns, complexity: pd.DataFrame | None = None) -> pd.DataFrame:
    """Collect all numbers of a table: everything that the paper prints and everything that was measured.

    On another data set than the paper's, the paper's means stand in the column `paper`, their data set in `paper_data`,
    and there is no difference. Where runs cover only some of the paper's categories, `paper` is the mean of its rows
    for these, if it prints them.

    Args:
        table_runs: the runs of the table.
        complexity: table of benchmarks/complexity.py, for Table 6.

    Returns:
        Columns `COLUMNS`. `std` is over seeds (n - 1), NaN for one seed. `status` is 'measured' or says why there is no
        number.
    """
    if table_runs.table == 6:
        return _finish(table_runs, _complexity(complexity), paper.load(6))
    measured = _measured(table_runs)
    printed = paper.load(table_runs.table)
    if table_runs.data and not table_runs.at_home:
        printed = printed[printed["category"].isin([MEAN, ALL])]
    return _finish(table_runs, measured, printed)


def every_metric(table_runs: TableRuns) -> pd.DataFrame:
    """Return the mean over categories of every metric that the runs have, also of those that the paper does not print.

    Returns:
        Columns table, method, setting, metric, measured, std, seeds; metrics in the registry's order.
    """
    rows = table_runs.rows[table_runs.rows["category"] == MEAN]
    keys = ["paper_method", "paper_setting", "metric"]
    values = rows.groupby([*keys, "seed"], sort=False)["value"].mean().groupby(level=keys, sort=False)
    table = values.agg(measured="mean", std="std", seeds="size").reset_index()
    table = table.rename(columns={"paper_method": "method", "paper_setting": "setting"})
    ranks = {name: rank for rank, name in enumerate(METRICS)}
    table = table.sort_values("metric", key=lambda names: names.map(ranks), kind="stable", ignore_index=True)
    return table.assign(table=table_runs.table)[["table", *COLUMNS[1:3], "metric", "measured", "std", "seeds"]]


def by_seed(table_runs: TableRuns, *, data_sets: bool = True) -> pd.DataFrame:
    """Return the values by category and seed, means over categories included.

    A baseline that stands in several runs of a seed has their mean.

    Args:
        table_runs: the runs of the table.
        data_sets: Table 3 has the means of its data sets in place of categories; False for the categories themselves.

    Returns:
        Columns method, setting, category, metric, seed, value, in the table's terms.
    """
    rows = table_runs.rows.drop(columns=["method", "setting"])
    rows = rows.rename(columns={"paper_method": "method", "paper_setting": "setting"})
    rows = rows[rows["metric"].isin([*PRINTED, *([SWAP] if table_runs.table in (4, 5) else [])])]
    if table_runs.table == 3 and data_sets:
        rows = _data_sets(rows)
    rows = rows.groupby([*KEY, "seed"], sort=False, as_index=False)["value"].mean()
    if table_runs.table == 7:
        rows = _splits(rows)
    if table_runs.table != 3:
        rows["category"] = [_category(table_runs, name) for name in rows["category"]]
    return rows


def _measured(table_runs: TableRuns) -> pd.DataFrame:
    if table_runs.rows.empty:
        return pd.DataFrame(columns=[*KEY, "measured", "std", "seeds"])
    groups = by_seed(table_runs).groupby(KEY, sort=False)["value"]
    table = groups.agg(measured="mean", std="std", seeds="size").reset_index()
    if table_runs.table in (4, 5, 8, 9):
        table = table[table["category"] == MEAN]
    if table_runs.table == 9:
        table = pd.concat([table, _query_parameters(table_runs)])
    return table[table["metric"].isin({*paper.load(table_runs.table)["metric"], SWAP})]


def _query_parameters(table_runs: TableRuns) -> pd.DataFrame:
    """Table 9: parameters of the query module as each run built it."""
    rows = []
    for row in table_runs.rows.drop_duplicates("paper_method").itertuples():
        config = table_runs.configs[row.run]
        if config is None:
            continue
        model = build_model(config.model, channels=8, grid=(config.features.grid,) * 2, classes=2)
        count = parameters(getattr(model, "mlp_query" if row.method == "mlp_query" else "inr"))
        key = {"method": row.paper_method, "setting": row.paper_setting, "category": ALL, "metric": "parameters_M"}
        rows.append({**key, "measured": count / 1e6, "std": math.nan, "seeds": 1})
    return pd.DataFrame(rows)


def _data_sets(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 3: the mean over each data set's categories, and over all."""
    each = rows[rows["category"] != MEAN].copy()
    each["category"] = each["category"].str.partition("/")[0]
    means = each.groupby([*KEY, "seed", "run"], sort=False, as_index=False)["value"].mean()
    return pd.concat([means, rows[rows["category"] == MEAN]])


def _splits(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 7: one run per split; the mean is over splits, for seeds that have all four."""
    rows = rows[rows["metric"] == "image_auroc"]
    groups = rows.groupby(["method", "setting", "metric", "seed"], sort=False)["value"]
    means = groups.agg(["mean", "size"]).reset_index()
    means = means[means["size"] == 4].rename(columns={"mean": "value"}).drop(columns="size")
    return pd.concat([rows, means.assign(category=MEAN)], ignore_index=True)


def _category(table_runs: TableRuns, name: str) -> str:
    """ "mvtec/bottle" -> "bottle" where the table is about one data set."""
    return name.partition("/")[2] if "/" in name and table_runs.data != "merged" else name


def _complexity(table: pd.DataFrame | None) -> pd.DataFrame:
    if table is None:
        return pd.DataFrame(columns=[*KEY, "measured", "std", "seeds"])
    table = table[table["metric"].isin(list(_COMPLEXITY))]
    return pd.DataFrame(
        {
            "method": table["method"],
            "setting": [f"batch {batch}" for batch in table["batch"]],
            "category": ALL,
            "metric": table["metric"].map(_COMPLEXITY),
            "measured": table["value"].astype(float),
            "std": math.nan,
            "seeds": 1,
        }
    )


def _finish(table_runs: TableRuns, measured: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    printed = printed.rename(columns={"value": "paper"})[[*KEY, "paper"]]
    table = printed.merge(measured, on=KEY, how="outer", sort=False)
    table = _in_order(table, printed, measured)
    home = DATA.get(HOME[table_runs.table], "")
    on_paper_data, complete = table_runs.at_home or not table_runs.data, _covers(table_runs)
    means = table["category"] == MEAN
    if on_paper_data and not complete and table_runs.table != 3:  # Table 3 prints whole data sets, no parts of them
        subset = _means_of_subset(table, printed, measured)
        table["paper"] = subset.where(means & subset.notna(), table["paper"])
        means &= subset.isna()
    comparable = on_paper_data & (~means | complete)
    if table_runs.table == 3:
        comparable &= complete | table["category"].isin(_complete_data_sets(table_runs))
    comparable &= (table["metric"] != "parameters_M") & (table_runs.table != 6)
    table["paper_data"] = np.where(table["paper"].notna(), home, "")
    table["difference"] = (table["measured"] - table["paper"]).where(comparable)
    table["status"] = [
        "measured" if np.isfinite(value) else _why_not_measured(table_runs, method)
        for value, method in zip(table["measured"].astype(float), table["method"], strict=True)
    ]
    table = table.assign(table=table_runs.table, data=DATA.get(table_runs.data, table_runs.data))
    return table[list(COLUMNS)].reset_index(drop=True)


def _in_order(table: pd.DataFrame, printed: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Sort in the paper's order: by method and setting, then category (means last), then metric."""
    both = pd.concat([printed, measured])
    ranks = {name: {value: n for n, value in enumerate(dict.fromkeys(both[name]))} for name in KEY}
    ranks["category"] = {name: n for n, name in enumerate(sorted(ranks["category"], key=lambda name: name == MEAN))}
    order = pd.concat([table[name].map(ranks[name]) for name in KEY], axis=1)
    return table.iloc[np.lexsort([order[name] for name in reversed(KEY)])]


def _covers(table_runs: TableRuns) -> bool:
    """Whether every category behind the paper's means was run."""
    if not table_runs.at_home or table_runs.table in (6, 7):
        return True
    if table_runs.table == 3:
        return len(_complete_data_sets(table_runs)) == len(_CATEGORIES)
    return len(set(table_runs.rows["category"]) - {MEAN}) == _CATEGORIES[HOME[table_runs.table]]


def _complete_data_sets(table_runs: TableRuns) -> list[str]:
    """List the data sets of which every category was run."""
    counts = pd.Series([key.partition("/")[0] for key in set(table_runs.rows["category"]) - {MEAN}]).value_counts()
    return [name for name, count in _CATEGORIES.items() if counts.get(name) == count]


def _means_of_subset(table: pd.DataFrame, printed: pd.DataFrame, measured: pd.DataFrame) -> pd.Series:
    """Return the paper's mean over those of its categories that were run, one per row of `table`.

    NaN where it prints none of them.
    """
    rows = printed[printed["category"].isin(set(measured["category"]) - {MEAN})]
    means = rows.groupby(["method", "setting", "metric"])["paper"].mean()
    keys = pd.MultiIndex.from_frame(table[["method", "setting", "metric"]])
    return pd.Series(means.reindex(keys).to_numpy(), index=table.index)


def _why_not_measured(table_runs: TableRuns, method: str) -> str:
    if table_runs.table == 6 and method in ANOMALIB.values():
        return "cannot be timed here: benchmarks/complexity.py times our own models and baselines"
    why = reason(method)
    if why.startswith("cannot"):
        return why
    if table_runs.table == 6:
        return "not run (benchmarks/complexity.py)"
    if table_runs.table == 8:
        return f"{why}; needs this backbone's weights: timm's hub, or a file that features.weights names"
    return why
