"""`mintad report`: from runs to one HTML page that opens offline, and every table as CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from mintad.report import paper
from mintad.report.figures import growth, table_dots
from mintad.report.latex import latex
from mintad.report.layout import RenderedTable, grid, render_table
from mintad.report.methods import data_title
from mintad.report.pairs import pairs
from mintad.report.runs import Runs, read_runs
from mintad.report.select_runs import select_runs, where
from mintad.report.statistics import mean_std
from mintad.report.table_values import every_metric, table_values
from mintad.runs.page.render import Table, render


class Part(NamedTuple):
    """A table with its numbers, its paired comparisons, all metrics of its runs, and its figure."""

    table: RenderedTable
    values: pd.DataFrame
    pairs: pd.DataFrame
    metrics: pd.DataFrame
    figure: go.Figure | None

    @property
    def every_metric(self) -> Table:
        """Lay out all metrics, one row per method."""
        names = self.metrics["metric"].unique()
        texts = [mean_std(row.measured, row.std) for row in self.metrics.itertuples()]
        cells = self.metrics.assign(text=texts)
        rows = grid(cells, ["method", "setting"], ["metric"], [(name,) for name in names])
        caption = "Mean over categories, ± standard deviation over seeds where there are several."
        return Table(["method", "setting", *map(paper.title, names)], rows, caption, texts=2)


class Report(NamedTuple):
    """What `report` has written."""

    page: Path
    tables: list[RenderedTable]
    runs: Runs


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
    runs_shown = runs.rows.drop_duplicates("run")[["run", "method", "setting", "seed", "data"]].astype(str)
    page = render(
        "report.html.j2",
        package="mintad.report",
        parts=parts,
        growth=growth(runs),
        runs=runs_shown.assign(data=runs_shown["data"].map(data_title)).to_numpy().tolist(),
        skipped=list(runs.skipped.items()),
        title=paper.title,
    )
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
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return Report(folder / "index.html", [part.table for part in parts], runs)


def _part(runs: Runs, number: int) -> Part:
    table_runs = select_runs(runs, number)
    values = table_values(table_runs, runs.complexity)
    table = render_table(table_runs, values)
    if number == 6 and runs.complexity is not None:
        table.notes += runs.complexity.attrs["notes"]
    return Part(table, values, pairs(table_runs), every_metric(table_runs), table_dots(table_runs, values))
