"""The means of a table with one row a method, ours beside the paper's; a row without a number of ours says why."""

from __future__ import annotations

import pandas as pd

from mintad.report import paper
from mintad.report.layout import DASH, WIDE, digits, measured_text
from mintad.report.methods import HOME, data_title
from mintad.report.select_runs import TableRuns
from mintad.runs.page.render import Table
from mintad.scoring.metrics import MEAN


def side_by_side(table_runs: TableRuns, cells: pd.DataFrame) -> Table | None:
    """Lay out the means that `mintad.report.table_values` gives of a table whose methods are columns.

    Returns:
        Columns method, setting, then ours and the paper's of every metric, seeds, and why there is no number of ours,
        where one lacks; None for other tables, and where nothing was measured.
    """
    means = cells[cells["category"] == MEAN]
    if table_runs.table not in WIDE or not means["measured"].notna().any():
        return None
    parts = "splits" if table_runs.table == 7 else "categories"
    home, ours = data_title(HOME[table_runs.table]), data_title(table_runs.data)
    metrics = means["metric"].unique()
    head = ["method", "setting"]
    for metric in metrics:
        name = f"{paper.title(metric)}, " if len(metrics) > 1 else ""
        head += [f"{name}ours: {ours}", f"{name}paper: {home}"]
    measured = cells.loc[cells["measured"].notna(), ["method", "setting"]]
    rows, partly = [], set(measured.itertuples(index=False, name=None))
    for (method, setting), group in means.groupby(["method", "setting"], sort=False):
        by_metric = {row.metric: row for row in group.itertuples()}
        row = [method, setting]
        for metric in metrics:
            cell = by_metric.get(metric)
            row += [measured_text(cell), digits(cell.paper)] if cell else [DASH, DASH]
        why = "" if group["measured"].notna().any() else group["status"].iloc[0]
        why = f"not run on all {parts}" if why and (method, setting) in partly else why
        seeds = group["seeds"].max()
        rows.append([*row, "" if pd.isna(seeds) else f"{seeds:.0f}", why])
    caption = f"Means over {parts}, method by method{'' if len(metrics) > 1 else ': ' + paper.title(metrics[0])}."
    if table_runs.elsewhere or table_runs.few_images:
        caption += " Ours and the paper's are from different images: compare orders and falls, not levels."
    head += ["seeds", "why there is no number of ours"]
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return Table(head, rows, caption, texts=2)
