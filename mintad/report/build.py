"""`mintad report`: from runs to the page and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mintad.errors import ConfigError, nearest
from mintad.report import paper
from mintad.report.export import ReportPart, html_page, write_files
from mintad.report.figures import growth, table_dots
from mintad.report.layout import RenderedTable, render_table
from mintad.report.pairs import pairs
from mintad.report.runs import Runs, read_runs
from mintad.report.select_runs import select_runs, where
from mintad.report.table_values import every_metric, table_values

PAGE = "index.html"


@dataclass
class Report:
    """What `report` has written."""

    page: Path
    tables: list[RenderedTable]
    runs: Runs


def report(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    tables: Sequence[int] = (),
    conditions: Sequence[str] = (),
) -> Report:
    """Set measured numbers beside the paper's: a page, and every table as CSV and LaTeX.

    Args:
        paths: see `mintad.report.runs.read_runs`.
        out: folder, made if need be; files of an earlier report are overwritten.
        tables: which; all ten if none.
        conditions: KEY=VALUE that runs must have.

    Raises:
        ConfigError: no such table or key.
        DataError: no run was found, or runs that do not belong together would be mixed.
    """
    for number in tables:
        if number not in paper.TABLES:
            raise ConfigError(f"no table {number}." + nearest(str(number), map(str, paper.TABLES)))
    runs = where(read_runs(paths), conditions)
    parts = [_part(runs, number) for number in tables or paper.TABLES]
    page = html_page(parts, runs, growth(runs))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder, parts)
    (folder / PAGE).write_text(page, encoding="utf-8")
    return Report(folder / PAGE, [part.table for part in parts], runs)


def _part(runs: Runs, number: int) -> ReportPart:
    table_runs = select_runs(runs, number)
    values = table_values(table_runs, runs.complexity)
    table = render_table(table_runs, values)
    if number == 6 and runs.complexity is not None:
        table.notes += runs.complexity.attrs["notes"]
    return ReportPart(table, values, pairs(table_runs), every_metric(table_runs), table_dots(table_runs, values))
