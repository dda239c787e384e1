"""The numbers of a table of the paper, one row each: measured mean and spread over seeds, the paper's, the
difference."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from mintad import paper
from mintad.comparison.choose import Chosen
from mintad.comparison.methods import ANOMALIB, DATA, HOME, reason
from mintad.model import build_model
from mintad.model.complexity import parameters
from mintad.paper import ALL, MEAN
from mintad.sweep.table import IMAGE, PIXEL, SWAP

COLUMNS = (
    "table", "method", "setting", "category", "metric", "measured", "std", "seeds", "data", "paper", "paper_data",
    "difference", "status",
)  # fmt: skip
"""Columns of `cells`. `difference` (measured - paper) is there only where `data` and categories are the paper's."""
KEY = ["method", "setting", "category", "metric"]
_CATEGORIES = {"mvtec": 15, "visa": 12, "btad": 3}
"""Data sets and how many categories they have."""
_BATCH_METRICS = {"Params (M)": "Params (M)", "MACs (G)": "FLOPs (G)", "Inference Time (s)": "Inference Time (s)"}


def cells(chosen: Chosen, complexity: pd.DataFrame | None = None) -> pd.DataFrame:
    """All numbers of a table: everything the paper prints, everything measured.

    On another data set than the paper's, its means stand in the column `paper` with their data set in `paper_data`, and
    there is no difference. Where runs cover only some of the paper's categories, `paper` is the mean of its rows for
    these, if it prints them.

    Args:
        chosen: the runs of the table.
        complexity: of benchmarks/complexity.py, for Table 6.

    Returns:
        Columns `COLUMNS`. `std` is over seeds (n - 1), NaN for one; status is 'measured' or why there is no number.
    """
    if chosen.table == 6:
        return _finish(chosen, _complexity(complexity), paper.load(6))
    measured = _measured(chosen)
    printed = paper.load(chosen.table)
    if chosen.data and not chosen.at_home:
        printed = printed[printed["category"].isin([MEAN, ALL])]
    return _finish(chosen, measured, printed)


def by_seed(chosen: Chosen, *, data_sets: bool = True) -> pd.DataFrame:
    """Values by category and seed, means over categories included: columns method, setting, category, metric, seed,
    value, in the table's terms. A peer that stands in several runs of a seed has their mean. Table 3 has the means of
    its data sets for categories, without `data_sets` the categories themselves."""
    rows = chosen.rows.drop(columns=["method", "setting"])
    rows = rows.rename(columns={"paper_method": "method", "paper_setting": "setting"})
    rows = rows[rows["metric"].isin([IMAGE, PIXEL, *([SWAP] if chosen.table in (4, 5) else [])])]
    if chosen.table == 3 and data_sets:
        rows = _data_sets(rows)
    rows = rows.groupby([*KEY, "seed"], sort=False, as_index=False)["value"].mean()
    if chosen.table == 7:
        rows = _splits(rows)
    if chosen.table not in (3,):
        rows["category"] = [_category(chosen, name) for name in rows["category"]]
    return rows


def _measured(chosen: Chosen) -> pd.DataFrame:
    if chosen.rows.empty:
        return pd.DataFrame(columns=[*KEY, "measured", "std", "seeds"])
    groups = by_seed(chosen).groupby(KEY, sort=False)["value"]
    table = groups.agg(measured="mean", std="std", seeds="size").reset_index()
    wanted = {*paper.load(chosen.table)["metric"], SWAP}
    if chosen.table in (4, 5, 8, 9):
        table = table[table["category"] == MEAN]
    if chosen.table == 9:
        table = pd.concat([table, _query_parameters(chosen)])
    return table[table["metric"].isin(wanted)]


def _query_parameters(chosen: Chosen) -> pd.DataFrame:
    """Table 9: parameters of the query module as each run built it."""
    rows = []
    for row in chosen.rows.drop_duplicates("paper_method").itertuples():
        config = chosen.configs[row.run]
        if config is None:
            continue
        model = build_model(config.model, channels=8, grid=(config.features.grid,) * 2, classes=2)
        count = parameters(getattr(model, "mlp_query" if row.method == "mlp_query" else "inr"))
        key = {"method": row.paper_method, "setting": row.paper_setting, "category": ALL, "metric": "Params (M)"}
        rows.append({**key, "measured": count / 1e6, "std": math.nan, "seeds": 1})
    return pd.DataFrame(rows)


def _data_sets(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 3: the mean over each data set's categories, and over all."""
    each = rows[rows["category"] != MEAN].copy()
    each["category"] = each["category"].str.partition("/")[0]
    means = each.groupby([*KEY, "seed", "run"], sort=False, as_index=False)["value"].mean()
    return pd.concat([means, rows[rows["category"] == MEAN]])


def _splits(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 7: one run a split; the mean is over splits, for seeds that have all four."""
    rows = rows[rows["metric"] == IMAGE].assign(metric="AUROC")
    groups = rows.groupby(["method", "setting", "metric", "seed"], sort=False)["value"]
    means = groups.agg(["mean", "size"]).reset_index()
    means = means[means["size"] == 4].rename(columns={"mean": "value"}).drop(columns="size")
    return pd.concat([rows, means.assign(category=MEAN)], ignore_index=True)


def _category(chosen: Chosen, name: str) -> str:
    """"mvtec/bottle" -> "bottle" where the table is about one data set."""
    return name.partition("/")[2] if "/" in name and chosen.data != "merged" else name


def _complexity(table: pd.DataFrame | None) -> pd.DataFrame:
    if table is None:
        return pd.DataFrame(columns=[*KEY, "measured", "std", "seeds"])
    table = table[table["metric"].isin(list(_BATCH_METRICS))]
    return pd.DataFrame(
        {
            "method": table["method"],
            "setting": [f"batch {batch}" for batch in table["batch"]],
            "category": ALL,
            "metric": table["metric"].map(_BATCH_METRICS),
            "measured": table["value"].astype(float),
            "std": math.nan,
            "seeds": 1,
        }
    )


def _finish(chosen: Chosen, measured: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    printed = printed.rename(columns={"value": "paper"})[[*KEY, "paper"]]
    table = printed.merge(measured, on=KEY, how="outer", sort=False)
    table = _in_order(table, printed, measured)
    home = DATA.get(HOME[chosen.table], "")
    same, complete = chosen.at_home or not chosen.data, _covers(chosen)
    means = table["category"] == MEAN
    if same and not complete and chosen.table != 3:  # it prints data sets, which say nothing about parts of them
        subset = _means_of_subset(table, printed, measured)
        table["paper"] = subset.where(means & subset.notna(), table["paper"])
        means &= subset.isna()
    comparable = same & (~means | complete)
    if chosen.table == 3:
        comparable &= complete | table["category"].isin(_complete_data_sets(chosen))
    comparable &= (table["metric"] != "Params (M)") & (chosen.table != 6)
    table["paper_data"] = np.where(table["paper"].notna(), home, "")
    table["difference"] = (table["measured"] - table["paper"]).where(comparable)
    table["status"] = [
        "measured" if np.isfinite(value) else _why(chosen, method)
        for value, method in zip(table["measured"].astype(float), table["method"], strict=True)
    ]
    table = table.assign(table=chosen.table, data=DATA.get(chosen.data, chosen.data))
    return table[list(COLUMNS)].reset_index(drop=True)


def _in_order(table: pd.DataFrame, printed: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """The paper's order first: by method and setting, then category (means last), then metric."""
    both = pd.concat([printed, measured])
    ranks = {name: {value: n for n, value in enumerate(dict.fromkeys(both[name]))} for name in KEY}
    ranks["category"] = {name: n for n, name in enumerate(sorted(ranks["category"], key=lambda name: name == MEAN))}
    order = pd.concat([table[name].map(ranks[name]) for name in KEY], axis=1)
    return table.iloc[np.lexsort([order[name] for name in reversed(KEY)])]


def _covers(chosen: Chosen) -> bool:
    """Whether every category behind the paper's means was run."""
    if not chosen.at_home or chosen.table in (6, 7):
        return True
    if chosen.table == 3:
        return len(_complete_data_sets(chosen)) == len(_CATEGORIES)
    return len(set(chosen.rows["category"]) - {MEAN}) == _CATEGORIES[HOME[chosen.table]]


def _complete_data_sets(chosen: Chosen) -> list[str]:
    """Data sets of which every category was run."""
    counts = pd.Series([key.partition("/")[0] for key in set(chosen.rows["category"]) - {MEAN}]).value_counts()
    return [name for name, count in _CATEGORIES.items() if counts.get(name) == count]


def _means_of_subset(table: pd.DataFrame, printed: pd.DataFrame, measured: pd.DataFrame) -> pd.Series:
    """The paper's means over those of its categories that were run, a value a row of `table`; NaN where it prints none
    of them."""
    rows = printed[printed["category"].isin(set(measured["category"]) - {MEAN})]
    means = rows.groupby(["method", "setting", "metric"])["paper"].mean()
    keys = pd.MultiIndex.from_frame(table[["method", "setting", "metric"]])
    return pd.Series(means.reindex(keys).to_numpy(), index=table.index)


def _why(chosen: Chosen, method: str) -> str:
    if chosen.table == 6:
        if method in ANOMALIB.values():
            return "cannot be timed here: benchmarks/complexity.py times our own models and peers"
        why = reason(method)
        return why if why.startswith("cannot") else "not run (benchmarks/complexity.py)"
    why = reason(method)
    if chosen.table == 8 and not why.startswith("cannot"):
        return f"{why}; needs this backbone's weights: timm's hub, or a file that features.weights names"
    return why
