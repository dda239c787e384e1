"""What of the tables is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mintad.plots.comparison import dot_plot, growth_curves
from mintad.report.methods import DATA
from mintad.report.paper import PRINTED_PER_CATEGORY as METHODS
from mintad.report.paper import SWITCHES
from mintad.report.runs import Runs
from mintad.report.select_runs import TableRuns, protocol
from mintad.report.statistics import t_interval
from mintad.report.table_values import by_seed
from mintad.scoring.metrics import MEAN

_SHORT = {"adapter": "adapter", "class_loss": "L_CE", "prior_loss": "L_Prior", "class_query": "query"}


def dots(table_runs: TableRuns, cells: pd.DataFrame) -> go.Figure | None:
    """Means over categories of every method that was run: each run, their mean, its 95 % interval over seeds, and the
    paper's number where it may be compared. None if nothing was run."""
    if table_runs.rows.empty:
        return None
    values = by_seed(table_runs)
    values = values[values["category"] == MEAN]
    panels, marks = {}, {}
    for metric, group in values.groupby("metric", sort=False):
        if metric not in set(cells["metric"]):
            continue
        found = {key: one["value"] for key, one in group.groupby(["method", "setting"], sort=False)}
        ordered = [key for key in dict.fromkeys(map(tuple, cells[["method", "setting"]].to_numpy())) if key in found]
        panels[metric] = {_label(table_runs, *key): (list(found[key]), *t_interval(found[key])) for key in ordered}
        printed = cells[(cells["metric"] == metric) & (cells["category"] == MEAN) & cells["difference"].notna()]
        marks[metric] = {_label(table_runs, r.method, r.setting): r.paper for r in printed.itertuples()}
    if not panels:
        return None
    metric, first = next(iter(panels.items()))
    best = max(first, key=lambda name: np.mean(first[name][0]))
    title = (
        f"Highest mean {metric} on {DATA.get(table_runs.data, table_runs.data)}: {best}, {np.mean(first[best][0]):.3f}"
    )
    return dot_plot(panels, title=title, unit="mean over categories", marks=marks, mark_name="the paper's")


def _label(table_runs: TableRuns, method: str, setting: str) -> str:
    if table_runs.table == 5:
        return " + ".join(_SHORT[name] for name in SWITCHES if name in setting.split("+")) or "none"
    return f"{method}, {setting}" if table_runs.table in (1, 2, 8) else method


def growth(runs: Runs) -> go.Figure | None:
    """Image AUROC of MINT-AD's and UniAD's full models against the number of classes, where runs with different numbers
    of classes but the same training are there: over all their categories, and over those that all have in common."""
    table = growth_table(runs)
    if table.empty:
        return None
    panels = {}
    for panel, of_panel in table.groupby("over", sort=False):
        panels[panel] = {
            method: {int(n): (one["value"].mean(), *t_interval(one["value"])) for n, one in group.groupby("classes")}
            for method, group in of_panel.groupby("method", sort=False)
        }
    changes = []
    for method, curve in next(iter(reversed(panels.values()))).items():
        changes.append(f"{method} {curve[max(curve)][0] - curve[min(curve)][0]:+.3f}")
    few, many = table["classes"].min(), table["classes"].max()
    title = f"From {few} to {many} classes, on the categories in common: {', '.join(changes)}"
    return growth_curves(panels, title=title, unit="image AUROC, mean over categories")


def growth_table(runs: Runs) -> pd.DataFrame:
    """Columns over ('all categories' or 'the n categories in common'), data, method, classes, seed, value; empty unless
    there are runs, trained alike, on several sets of categories with some in common. Of several such families the
    largest."""
    columns = ["over", "data", "method", "classes", "seed", "value"]
    sets, families = runs.categories(), {}
    for name, config in runs.configs.items():
        full = config is not None and all(getattr(config.model, switch) for switch in SWITCHES)
        if full and name in sets and config.model.variant in METHODS:
            families.setdefault((config.data.name, str(protocol(config, 4))), []).append(name)
    sizes = {family: len({sets[name] for name in names}) for family, names in families.items()}
    family = max(sizes, key=sizes.__getitem__, default=None)
    names = families.get(family, [])
    common = frozenset.intersection(*(sets[name] for name in names)) if names else frozenset()
    if not common or sizes[family] < 2:
        return pd.DataFrame(columns=columns)
    shared = "the category in common" if len(common) == 1 else f"the {len(common)} categories in common"
    ways = {"all categories": None, shared: common}
    rows = [
        {"over": over, "data": family[0], **row}
        for over, wanted in ways.items()
        for name in names
        for row in _mean_of(runs, name, wanted)
    ]
    return pd.DataFrame(rows, columns=columns)


def _mean_of(runs: Runs, name: str, wanted: frozenset[str] | None) -> list[dict[str, object]]:
    rows, config = runs.rows[runs.rows["run"] == name], runs.configs[name]
    own = rows[(rows["method"] == config.model.variant) & (rows["metric"] == "image_auroc") & (rows["category"] != MEAN)]
    own = own[own["setting"] == "unified"]
    taken = own if wanted is None else own[own["category"].isin(wanted)]
    if taken.empty:
        return []
    method, seed = METHODS[config.model.variant], config.train.seed
    return [{"method": method, "classes": len(own), "seed": seed, "value": taken["value"].mean()}]
