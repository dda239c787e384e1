"""The figures of the report: methods beside each other, and the growth of classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mintad.plots.comparison import dot_plot, growth_curves
from mintad.report.methods import data_title
from mintad.report.paper import PRINTED_PER_CATEGORY, SWITCHES, title
from mintad.report.runs import Runs
from mintad.report.select_runs import TableRuns, protocol
from mintad.report.statistics import t_interval
from mintad.report.table_values import by_seed
from mintad.scoring.metrics import MEAN


def table_dots(table_runs: TableRuns, table: pd.DataFrame) -> go.Figure | None:
    """Draw every method's mean over categories, of each run and of all, with its 95 % interval over seeds.

    The paper's number stands beside it where it may be compared. `table` is what `table_values` gives. None if nothing
    was run.
    """
    values = by_seed(table_runs)
    values = values[(values["category"] == MEAN) & values["metric"].isin(table["metric"])]
    if values.empty:
        return None
    keys = table[["method", "setting"]].itertuples(index=False, name=None)
    labels, panels, marks = {key: _label(table_runs.table, *key) for key in keys}, {}, {}
    for metric, group in values.groupby("metric", sort=False):
        by_method = {key: rows["value"] for key, rows in group.groupby(["method", "setting"])}
        by_label = {label: by_method[key] for key, label in labels.items() if key in by_method}
        panels[title(metric)] = {label: (list(runs), *t_interval(runs)) for label, runs in by_label.items()}
        printed = table[(table["metric"] == metric) & (table["category"] == MEAN) & table["difference"].notna()]
        marks[title(metric)] = {labels[row.method, row.setting]: row.paper for row in printed.itertuples()}
    metric, methods = next(iter(panels.items()))
    means = {name: np.mean(values) for name, (values, _, _) in methods.items()}
    best = max(means, key=means.__getitem__)
    finding = f"Highest mean {metric} on {data_title(table_runs.data)}: {best}, {means[best]:.3f}"
    return dot_plot(panels, title=finding, unit="mean over categories", marks=marks, mark_name="the paper's")


def _label(table: int, method: str, setting: str) -> str:
    if table == 5:
        return " + ".join(text for name, text in SWITCHES.items() if name in setting.split("+")) or "none"
    return f"{method}, {setting}" if table in (1, 2, 8) else method


def growth(runs: Runs) -> go.Figure | None:
    """Draw image AUROC over the number of classes, of the full models of MINT-AD and UniAD; None without any growth."""
    table = growth_table(runs)
    if table.empty:
        return None
    panels = {}
    for panel, rows in table.groupby("over", sort=False):
        panels[panel] = {
            method: {int(n): (values.mean(), *t_interval(values)) for n, values in group.groupby("classes")["value"]}
            for method, group in rows.groupby("method", sort=False)
        }
    *_, in_common = panels.values()
    changes = [f"{name} {curve[max(curve)][0] - curve[min(curve)][0]:+.3f}" for name, curve in in_common.items()]
    few, many = table["classes"].min(), table["classes"].max()
    finding = f"From {few} to {many} classes, on the categories in common: {', '.join(changes)}"
    return growth_curves(panels, title=finding, unit="image AUROC, mean over categories")


def growth_table(runs: Runs) -> pd.DataFrame:
    """Return mean image AUROC by number of classes, of the runs trained alike that differ most in their categories.

    Columns over ('all categories' or 'the n categories in common'), data, method, classes, seed, value.
    """
    columns = ["over", "data", "method", "classes", "seed", "value"]
    sets, families = runs.categories(), {}
    for name, config in runs.configs.items():
        full = config is not None and all(getattr(config.model, switch) for switch in SWITCHES)
        if full and name in sets and config.model.variant in PRINTED_PER_CATEGORY:
            families.setdefault((config.data.name, str(protocol(config, 4))), []).append(name)
    (data, _), names = max(families.items(), key=lambda family: sets[family[1]].nunique(), default=(("", ""), []))
    common = frozenset.intersection(*sets[names]) if names else frozenset()
    if not common or sets[names].nunique() < 2:
        return pd.DataFrame(columns=columns)
    rows = runs.rows[(runs.rows["setting"] == "unified") & (runs.rows["metric"] == "image_auroc")]
    variants = rows["run"].map({name: runs.configs[name].model.variant for name in names})
    rows = rows[(rows["category"] != MEAN) & (rows["method"] == variants)]
    classes = rows.groupby("run")["category"].transform("size")
    rows = rows.assign(data=data, classes=classes, method=rows["method"].map(PRINTED_PER_CATEGORY))
    shared = "the category in common" if len(common) == 1 else f"the {len(common)} categories in common"
    both = pd.concat({"all categories": rows, shared: rows[rows["category"].isin(common)]}, names=["over"])
    return both.groupby([*columns[:-1], "run"], sort=False)["value"].mean().reset_index()[columns]
