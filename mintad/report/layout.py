"""The paper's layouts: categories by methods (Tables 1, 2, 3, 7, 10), methods by metrics (4, 5, 8, 9), or batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mintad.baselines import BASELINES
from mintad.config import Config, is_published_uniad
from mintad.report import baseline_notes, paper
from mintad.report.methods import ANOMALIB, HOME, data_title
from mintad.report.select_runs import TableRuns, measured_with
from mintad.report.statistics import mean_std
from mintad.scoring.metrics import MEAN

WIDE = (1, 2, 3, 7, 10)  # tables with one column per method
_NAMES = {4: ["method", "labels"], 5: list(paper.SWITCHES.values()), 8: ["method", "backbone"], 9: ["query"]}
"""Table -> heads of its leading columns, where methods are rows."""
_PAPER_MEAN = "the paper's mean, "
DASH = "–"


@dataclass
class RenderedTable:
    """A table as it is shown: all cells are text, with a line break between the measured number and the paper's."""

    number: int
    title: str
    head: list[str]
    rows: list[list[str]]
    foot: list[list[str]]
    texts: int  # leading columns that hold text
    notes: list[str]
    missing: list[list[str]]  # method, settings and reason, of everything printed that has no measured number
    measured: bool  # whether there is any measured number

    @property
    def caption(self) -> str:
        """Say how to read a cell."""
        two_lines = any("\n" in cell for row in self.rows for cell in row)
        paper_numbers = "Below each measured number: the paper's" if two_lines else "Columns headed 'paper': as printed"
        return f"{paper_numbers}. A dash: no number."


def render_table(table_runs: TableRuns, cells: pd.DataFrame) -> RenderedTable:
    """Lay out the numbers that `mintad.report.table_values` gives as the table is shown."""
    table, metrics = table_runs.table, cells["metric"].unique()
    head, rows = (_wide if table in WIDE else _batches if table == 6 else _long)(table_runs, cells)
    foot = [row for row in rows if row[0] == MEAN or row[0].startswith(_PAPER_MEAN)]
    rows = [row for row in rows if row not in foot]
    title = f"Table {table}. {paper.TABLES[table]}"
    title += f" ({paper.title(metrics[0])})" if table in WIDE and len(metrics) == 1 else ""
    notes = [note for note in (*_notes(table_runs, cells), *table_runs.notes) if note]
    groups = cells.groupby(["method", "setting"], sort=False).agg(seeds=("seeds", "max"), status=("status", "first"))
    absent = groups[groups["seeds"].isna()].reset_index().groupby(["method", "status"], sort=False)
    missing = absent["setting"].agg(", ".join).reset_index()[["method", "setting", "status"]].to_numpy().tolist()
    measured = bool(cells["measured"].notna().any())
    return RenderedTable(table, title, head, rows, foot, len(_NAMES.get(table, [""])), notes, missing, measured)


def _notes(table_runs: TableRuns, cells: pd.DataFrame) -> Iterator[str]:
    table, data = table_runs.table, data_title(table_runs.data)
    measured = cells[cells["measured"].notna()]
    if table == 6:
        yield (
            "Seconds for one batch. The paper measured on other hardware, with other backbones for the baselines and a "
            "training set that grows with the batch, so compare ratios. Its FLOPs are set beside our multiply-adds."
        )
        return
    if not table_runs.data:
        yield "Nothing was run. All numbers are the paper's."
        return
    yield measured_with(table_runs)
    fewest, most = measured["seeds"].min(), measured["seeds"].max()
    if measured.empty:
        metrics = ", ".join(map(paper.title, cells["metric"].unique()))
        yield f"The runs on {data} have no {metrics}: pixel metrics need masks."
    elif most == 1:
        yield "One run of each method: no standard deviation, and nothing is decided."
    else:
        seeds = f"{most:.0f}" if fewest == most else f"{fewest:.0f} to {most:.0f}"
        yield f"Measured: mean ± standard deviation over {seeds} seeds; a number without ± is from one seed."
    if table_runs.elsewhere:
        yield (
            f"The paper's numbers are for {data_title(HOME[table])}, another data set than {data}. They show the order "
            "of methods only, so no difference is taken."
        )
    if table_runs.few_images:
        yield f"The paper's numbers are for all images of {data}, ours for a part of them, so no difference is taken."
    if uniads := {is_published_uniad(config) for config in _uniads(table_runs)}:
        published = "UniAD is as published: its loss, map, image score, initial weights and length of training."
        yield published if uniads == {True} else "UniAD is UniAD's network in our recipe, not UniAD as published."
    if {"PaDiM", "PatchCore"} & set(measured["method"]):
        yield "PaDiM and PatchCore use our backbone here; the paper ran them with other backbones."
    trained = [BASELINES[name].title for name in BASELINES.trained()]
    if ours := [title for title in trained if title in set(measured["method"])]:
        named = baseline_notes.settings(table_runs)
        yield (
            f"{', '.join(ours)}: our own implementation, with our backbone where it needs one, a short training and "
            f"its last weights; {f'{named}; ' if named else ''}what is simplified stands in the class's documentation "
            "(`mintad/baselines/`)."
        )
    if changed := baseline_notes.changes(table_runs):
        yield f"Set in the configuration of baselines: {changed}."
    if foreign := [name for key, name in ANOMALIB.items() if key in set(table_runs.rows["method"])]:
        yield (
            f"{', '.join(foreign)}: run by anomalib on the same images, with our frozen backbone if they need one; "
            "training, maps and image scores are the library's."
        )


def _uniads(table_runs: TableRuns) -> list[Config]:
    """Return the configurations of the table's UniAD runs."""
    runs = table_runs.rows.loc[table_runs.rows["method"] == "uniad", "run"].unique()
    return [config for run in runs if (config := table_runs.configs[run])]


def _wide(table_runs: TableRuns, cells: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Lay out categories by methods; on the paper's data its number stands below the measured one."""
    table, elsewhere, keys = table_runs.table, table_runs.elsewhere, ["method", "setting", "metric"]
    columns = cells.groupby(keys, sort=False)["measured"].count()
    if elsewhere:  # not the paper's table: what was measured comes first
        columns = columns.sort_values(key=lambda count: count == 0, kind="stable")
    metrics, settings = cells["metric"].unique(), cells["setting"].unique()
    head = ["data set" if table == 3 else "normal classes" if table == 7 else "category"]
    for method, setting, metric in columns.index:
        words = method, setting if len(settings) > 1 else "", paper.title(metric) if len(metrics) > 1 else ""
        head.append("\n".join(filter(None, words)))
    cells = cells.sort_values("category", key=_ranks, kind="stable")
    cells["text"] = [measured_text(row) if elsewhere else _both(row) for row in cells.itertuples()]
    if elsewhere:
        means = cells[cells["category"] == MEAN]
        means = means.assign(category=_PAPER_MEAN + data_title(HOME[table]), text=means["paper"].map(digits))
        cells = pd.concat([cells, means])
    return head, grid(cells, ["category"], keys, columns.index)


def _ranks(categories: pd.Series) -> pd.Series:
    """Rank categories as the paper prints them if it has them all, else as they stand. The mean is last."""
    names, printed = categories.unique(), pd.concat([paper.load(1), paper.load(2)])["category"].unique()
    order = [name for name in (printed if set(names) <= set(printed) else names) if name != MEAN]
    return categories.map({name: rank for rank, name in enumerate([*order, MEAN])})


def _long(table_runs: TableRuns, cells: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Lay out methods by metrics, the paper's number and, on its data, the difference beside the measured one."""
    table = table_runs.table
    elsewhere = {"paper": f"paper, {data_title(HOME[table])}"}
    beside = elsewhere if table_runs.elsewhere else {"paper": "paper", "difference": "difference"}
    printed = set(cells.loc[cells["paper"].notna(), "metric"])
    heads = {
        (metric, part): title
        for metric in cells["metric"].unique()
        for part, title in ({"measured": paper.title(metric)} | (beside if metric in printed else {})).items()
    }
    texts = {
        "measured": [measured_text(row) for row in cells.itertuples()],
        "paper": cells["paper"].map(digits),
        "difference": [digits(value, "+.3f") for value in cells["difference"]],
    }
    parts = pd.concat([cells.assign(part=part, text=column) for part, column in texts.items()])
    seeds = cells.groupby(["method", "setting"], sort=False)["seeds"].max()
    rows = []
    for method, setting, *line in grid(parts, ["method", "setting"], ["metric", "part"], heads):
        number = seeds[method, setting]
        names = ["✓" if on else DASH for on in paper.switches(setting).values()] if table == 5 else [method, setting]
        rows.append([*names[: len(_NAMES[table])], *line, "not run" if pd.isna(number) else f"{number:.0f}"])
    return [*_NAMES[table], *heads.values(), "seeds"], rows


def _batches(table_runs: TableRuns, cells: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Lay out methods by parameters, MACs and, for each batch size, seconds."""
    batches = sorted(cells["setting"].unique(), key=lambda setting: int(setting.split()[1]))
    columns = [("parameters_M", "batch 1"), ("flops_G", "batch 1"), *(("seconds", batch) for batch in batches)]
    cells = cells.assign(text=[_both(row, ".3g") for row in cells.itertuples()])
    head = ["method", "parameters, 10⁶", "MACs, 10⁹\n(paper: FLOPs)", *(f"{batch}, s" for batch in batches)]
    return head, grid(cells, ["method"], ["metric", "setting"], columns)


def grid(cells: pd.DataFrame, rows: list[str], columns: list[str], order: Iterable[tuple[str, ...]]) -> list[list[str]]:
    """Spread the texts of cells over a grid: names of the row, then its cells in the order of columns, or a dash."""
    texts = dict(zip(cells[[*rows, *columns]].itertuples(index=False, name=None), cells["text"], strict=True))
    names = cells[rows].drop_duplicates().itertuples(index=False, name=None)
    return [[*name, *(texts.get((*name, *column), DASH) for column in order)] for name in names]


def _both(row: Any, form: str = "") -> str:
    """Write the measured number and below it the paper's, with the difference where there is one."""
    measured = digits(row.measured, form) if form else measured_text(row)
    if pd.isna(row.paper):
        return measured
    difference = "" if pd.isna(row.difference) else f", {row.difference:+.3f}"
    return f"{measured}\npaper {row.paper:{form or '.3f'}}{difference}"


def measured_text(row: Any) -> str:
    """Write a row's measured number with its standard deviation over seeds; a dash where there is none."""
    return DASH if pd.isna(row.measured) else mean_std(row.measured, row.std)


def digits(value: float, form: str = ".3f") -> str:
    """Write a number, or a dash where there is none."""
    return DASH if pd.isna(value) else f"{value:{form}}"
