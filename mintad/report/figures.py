"""The figures of the report: methods beside each other, and the growth of classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mintad.plots.comparison import dot_plot, growth_curves
from mintad.report.methods import DATA
from mintad.report.paper import PRINTED_PER_CATEGORY, SWITCHES, title
from mintad.report.runs import Runs
from mintad.report.select_runs import TableRuns, protocol
from mintad.report.statistics import t_interval
from mintad.report.table_values import by_seed
from mintad.scoring.metrics import MEAN

_SHORT = {"adapter": "adapter", "class_loss": "L_CE", "prior_loss": "L_Prior", "class_query": "query"}


def table_dots(table_runs: TableRuns, table: pd.DataFrame) -> go.Figure | None:
    """Draw the mean over categories of every method that was run.

    Each run, their mean, its 95 % interval over seeds, and the paper's number where it may be compared.

    Args:
        table_runs: the runs of the table.
        table: as `mintad.report.table_values` gives it.

    Returns:
        None if nothing was run.
    """
    if table_runs.rows.empty:
        return None
    values = by_seed(table_runs)
    values = values[values["category"] == MEAN]
    panels, marks = {}, {}
    for metric, group in values.groupby("metric", sort=False):
        if metric not in set(table["metric"]):
            continue
        by_method = {key: rows["value"] for key, rows in group.groupby(["method", "setting"], sort=False)}
        order = dict.fromkeys(map(tuple, table[["method", "setting"]].to_numpy()))
        panels[title(metric)] = {
            _label(table_runs, *key): (list(by_method[key]), *t_interval(by_method[key]))
            for key in order
            if key in by_method
        }
        printed = table[(table["metric"] == metric) & (table["category"] == MEAN) & table["difference"].notna()]
        marks[title(metric)] = {_label(table_runs, row.method, row.setting): row.paper for row in printed.itertuples()}
    if not panels:
        return None
    metric, methods = next(iter(panels.items()))
    means = {name: np.mean(values) for name, (values, _, _) in methods.items()}
    best = max(means, key=means.__getitem__)
    finding = f"Highest mean {metric} on {DATA.get(table_runs.data, table_runs.data)}: {best}, {means[best]:.3f}"
    return dot_plot(panels, title=finding, unit="mean over categories", marks=marks, mark_name="the paper's")


def _label(table_runs: TableRuns, method: str, setting: str) -> str:
    if table_runs.table == 5:
        return " + ".join(_SHORT[name] for name in SWITCHES if name in setting.split("+")) or "none"
    return f"{method}, {setting}" if table_runs.table in (1, 2, 8) else method


def growth(runs: Runs) -> go.Figure | None:
    """Draw image AUROC over the number of classes, of the full models of MINT-AD and UniAD.

    One panel for the mean over all categories of a run, one for the mean over those that all runs have in common. None
    without runs that are trained alike on different numbers of classes.
    """
    table = growth_table(runs)
    if table.empty:
        return None
    panels = {}
    for panel, rows in table.groupby("over", sort=False):
        panels[panel] = {
            method: {int(n): (values.mean(), *t_interval(values)) for n, values in group.groupby("classes")["value"]}
            for method, group in rows.groupby("method", sort=False)
        }
    changes = []
    for method, curve in next(iter(reversed(panels.values()))).items():
        changes.append(f"{method} {curve[max(curve)][0] - curve[min(curve)][0]:+.3f}")
    few, many = table["classes"].min(), table["classes"].max()
    finding = f"From {few} to {many} classes, on the categories in common: {', '.join(changes)}"
    return growth_curves(panels, title=finding, unit="image AUROC, mean over categories")


def growth_table(runs: Runs) -> pd.DataFrame:
    """Return mean image AUROC by number of classes, of runs that are trained alike and have categories in common.

    Of several families of such runs the largest is taken.

    Returns:
        Columns over ('all categories' or 'the n categories in common'), data, method, classes, seed, value; empty
        without such runs.
    """
    columns = ["over", "data", "method", "classes", "seed", "value"]
    sets, families = runs.categories(), {}
    for name, config in runs.configs.items():
        full = config is not None and all(getattr(config.model, switch) for switch in SWITCHES)
        if full and name in sets and config.model.variant in PRINTED_PER_CATEGORY:
            families.setdefault((config.data.name, str(protocol(config, 4))), []).append(name)
    sizes = {family: len({sets[name] for name in names}) for family, names in families.items()}
    family = max(sizes, key=sizes.__getitem__, default=None)
    names = families.get(family, [])
    common = frozenset.intersection(*(sets[name] for name in names)) if names else frozenset()
    if not common or sizes[family] < 2:
        return pd.DataFrame(columns=columns)
    shared = "the category in common" if len(common) == 1 else f"the {len(common)} categories in common"
    rows = [
        {"over": over, "data": family[0], **row}
        for over, categories in (("all categories", None), (shared, common))
        for name in names
        for row in _mean_over(runs, name, categories)
    ]
    return pd.DataFrame(rows, columns=columns)


def _mean_over(runs: Runs, name: str, categories: frozenset[str] | None) -> list[dict[str, object]]:
    """At most one row: the run's own model over some categories, or over all for None."""
    rows, config = runs.rows[runs.rows["run"] == name], runs.configs[name]
    own = rows[(rows["method"] == config.model.variant) & (rows["setting"] == "unified")]
    own = own[(own["metric"] == "image_auroc") & (own["category"] != MEAN)]
    averaged = own if categories is None else own[own["category"].isin(categories)]
    if averaged.empty:
        return []
    method, seed = PRINTED_PER_CATEGORY[config.model.variant], config.train.seed
    return [{"method": method, "classes": len(own), "seed": seed, "value": averaged["value"].mean()}]
