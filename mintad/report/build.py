"""`mintad report`: from runs to one HTML page that opens offline, and every table as CSV and LaTeX."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mintad.disk import write
from mintad.report import paper
from mintad.report.figures import growth, table_dots
from mintad.report.latex import latex
from mintad.report.layout import grid, render_table
from mintad.report.methods import data_title
from mintad.report.pairs import pairs
from mintad.report.runs import Runs, read_runs
from mintad.report.select_runs import select_runs, where
from mintad.report.side_by_side import side_by_side
from mintad.report.statistics import mean_std
from mintad.report.table_values import every_metric, table_values
from mintad.runs.page.render import Table, render

Part = namedtuple("Part", ["table", "values", "pairs", "metrics", "every_metric", "figure", "beside"])
"""A table with its numbers, its paired comparisons, all metrics of its runs (also laid out), its figure, and the means
of ours beside the paper's."""
Report = namedtuple("Report", ["page", "tables", "runs"])
"""What `report` has written: the page's path, the `RenderedTable` of each table, and the `Runs`."""


def report(
    paths: Sequence[str | Path], out: str | Path, *, tables: Sequence[int] = (), conditions: Sequence[str] = ()
) -> Report:
    """Set measured numbers beside the paper's: a page, every table as CSV and LaTeX, all pairs and all metrics as CSV.

    Args:
        paths: see `mintad.report.runs.read_runs`.
        out: folder; files of an earlier report are overwritten.
        tables: all ten if none.
        conditions: see `mintad.report.select_runs.where`.

    Raises:
        ConfigError: no such table or key.
        DataError: no run was found, or runs that do not belong together would be mixed.
    """
    for number in tables:
        paper.load(number)  # refuses an unknown one before the runs are read
    runs = where(read_runs(paths), conditions)
    parts = [_part(runs, number) for number in tables or paper.TABLES]
    listed = runs.rows.drop_duplicates("run")[["run", "method", "setting", "seed", "data"]].astype(str)
    listed = listed.assign(data=listed["data"].map(data_title)).to_numpy().tolist()
    context = {"parts": parts, "growth": growth(runs), "runs": listed, "skipped": list(runs.skipped.items())}
    page = render("report.html.j2", package="mintad.report", title=paper.title, **context)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"index.html": page}
    for part in parts:
        name = f"table_{part.table.number:02d}"
        files |= {f"{name}.csv": part.values.to_csv(index=False), f"{name}.tex": latex(part.table)}
    for name, frames in ("paired_tests", [p.pairs for p in parts]), ("every_metric", [p.metrics for p in parts]):
        filled = [frame for frame in frames if len(frame)] or frames[:1]
        files[f"{name}.csv"] = pd.concat(filled).to_csv(index=False)
    for name, text in files.items():
        write(folder / name, text)
    return Report(folder / "index.html", [part.table for part in parts], runs)


def _part(runs: Runs, number: int) -> Part:
    table_runs = select_runs(runs, number)
    values, metrics = table_values(table_runs, runs.complexity), every_metric(table_runs)
    table = render_table(table_runs, values)
    if number == 6 and runs.complexity is not None:
        table.notes += runs.complexity.attrs["notes"]
    beside, figure = side_by_side(table_runs, values), table_dots(table_runs, values)
    return Part(table, values, pairs(table_runs), metrics, _laid_out(metrics), figure, beside)


def _laid_out(metrics: pd.DataFrame) -> Table:
    names, texts = metrics["metric"].unique(), [mean_std(row.measured, row.std) for row in metrics.itertuples()]
    rows = grid(metrics.assign(text=texts), ["method", "setting"], ["metric"], [(name,) for name in names])
    caption = "Mean over categories, ± standard deviation over seeds where there are several."
    return Table(["method", "setting", *map(paper.title, names)], rows, caption, texts=2)
