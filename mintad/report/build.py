"""`mintad report`: from runs to the page and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mintad.errors import ConfigError, nearest
from mintad.report import paper
from mintad.report.export import html_page, write_files
from mintad.report.figures import dots, growth
from mintad.report.layout import RenderedTable, render_table
from mintad.report.methods import DATA
from mintad.report.pairs import COLUMNS, pairs
from mintad.report.runs import Runs, read_runs
from mintad.report.select_runs import select_runs, where
from mintad.report.table_values import table_values

PAGE = "index.html"


@dataclass
class Report:
    """What `report` has written."""

    page: Path
    sheets: list[RenderedTable]
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
        if number not in paper.tables():
            raise ConfigError(f"no table {number}." + nearest(str(number), map(str, paper.tables())))
    runs = where(read_runs(paths), conditions)
    sheets, values, tests, figures = [], {}, {}, {}
    for number in tables or paper.tables():
        table_runs = select_runs(runs, number)
        values[number] = table_values(table_runs, runs.complexity)
        sheets.append(render_table(table_runs, values[number]))
        if number == 6 and runs.complexity is not None:
            sheets[-1].notes += runs.complexity.attrs["notes"]
        tests[number] = pairs(table_runs)
        figure = dots(table_runs, values[number])
        if figure is not None:
            figures[number] = figure
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    found = [one for one in tests.values() if len(one)]
    write_files(folder, sheets, values, pd.concat(found) if found else pd.DataFrame(columns=list(COLUMNS)))
    page = html_page(
        sheets, tests, figures, growth=growth(runs), head=_head(runs), runs=_listed(runs), skipped=runs.skipped
    )
    (folder / PAGE).write_text(page, encoding="utf-8")
    return Report(folder / PAGE, sheets, runs)


def _head(runs: Runs) -> str:
    sets = sorted({DATA.get(name, name) for name in runs.rows["data"]})
    text = f"{len(runs.configs)} runs on {', '.join(sets)}." if sets else "No runs."
    text += f" {len(runs.skipped)} were skipped and are listed below." if runs.skipped else ""
    return f"{text} Test images only, last model of each run. Numbers called the paper's are as printed, not measured."


def _listed(runs: Runs) -> list[list[object]]:
    own = runs.rows.drop_duplicates("run")
    return [[row.run, row.method, row.setting, str(row.seed), DATA.get(row.data, row.data)] for row in own.itertuples()]
