"""The tables in the paper's layout.

Categories by methods (Tables 1, 2, 3, 7, 10), methods by metrics (4, 5, 8, 9), or methods by batch size (6).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from mintad.report import paper
from mintad.report.methods import ANOMALIB, DATA, HOME
from mintad.report.select_runs import TableRuns, measured_with
from mintad.report.statistics import mean_std
from mintad.scoring.metrics import MEAN

WIDE = (1, 2, 3, 7, 10)
"""Tables with one column per method."""
GROUPS = {
    "objects": "bottle cable capsule hazelnut metal_nut pill screw toothbrush transistor zipper".split(),
    "textures": "carpet grid leather tile wood".split(),
    "single instance": "cashew chewinggum fryum pipe_fryum".split(),
    "multiple instances": "candle capsules macaroni1 macaroni2".split(),
    "complex structure": "pcb1 pcb2 pcb3 pcb4".split(),
}
"""The paper's groups of categories in Tables 1, 2 and 10, in its order."""
_SWITCH_HEADS = ("adapter", "L_CE", "L_Prior", "query")
DASH = "–"


@dataclass
class RenderedTable:
    """A table as it is shown: all cells are text, with a line break between the measured number and the paper's."""

    number: int
    title: str
    head: list[str]
    rows: list[list[str]]
    texts: int = 1
    """Leading columns that hold text."""
    foot: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[list[str]] = field(default_factory=list)
    """Method, setting and reason, for everything in the paper's table that has no measured number."""
    measured: bool = False
    """Whether there is any measured number."""

    @property
    def caption(self) -> str:
        """Say how to read a cell."""
        two_lines = any("\n" in cell for row in self.rows for cell in row)
        paper_numbers = "Below each measured number: the paper's" if two_lines else "Columns headed 'paper': as printed"
        return f"{paper_numbers}. A dash: no number."


def render_table(table_runs: TableRuns, cells: pd.DataFrame) -> RenderedTable:
    """Lay out a table as it is shown.

    Args:
        table_runs: its runs.
        cells: as `mintad.report.table_values` gives them.
    """
    builder = _wide if table_runs.table in WIDE else _batches if table_runs.table == 6 else _long
    rendered = builder(table_runs, cells)
    rendered.measured = bool(cells["measured"].notna().any())
    rendered.notes = [note for note in (*_notes(table_runs, cells), *table_runs.notes) if note]
    rendered.missing = _missing(cells)
    return rendered


def _missing(cells: pd.DataFrame) -> list[list[str]]:
    missing = cells[cells["measured"].isna()]
    measured = set(map(tuple, cells.loc[cells["measured"].notna(), ["method", "setting"]].to_numpy()))
    settings: dict[str, list[str]] = {}
    for method, setting in dict.fromkeys(map(tuple, missing[["method", "setting"]].to_numpy())):
        if (method, setting) not in measured:
            settings.setdefault(method, []).append(setting)
    status = missing.drop_duplicates("method").set_index("method")["status"]
    return [[method, ", ".join(names), status[method]] for method, names in settings.items()]


def _notes(table_runs: TableRuns, cells: pd.DataFrame) -> Iterable[str]:
    if table_runs.table == 6:
        yield (
            "Seconds for one batch. The paper measured on other hardware, with other backbones for the baselines and a "
            "training set that grows with the batch, so compare ratios. Its FLOPs are set beside our multiply-adds."
        )
        return
    if not table_runs.data:
        yield "Nothing was run. All numbers are the paper's."
        return
    yield measured_with(table_runs)
    seeds = sorted(set(cells.loc[cells["measured"].notna(), "seeds"].astype(int)))
    if not seeds:
        data, metrics = (
            DATA.get(table_runs.data, table_runs.data),
            ", ".join(map(paper.title, dict.fromkeys(cells["metric"]))),
        )
        yield f"The runs on {data} have no {metrics}: pixel metrics need masks."
    elif seeds == [1]:
        yield "One run of each method: no standard deviation, and nothing is decided."
    else:
        runs = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        yield f"Measured: mean ± standard deviation over {runs} seeds; a number without ± is from one seed."
    if not table_runs.at_home:
        yield (
            f"The paper's numbers are for {DATA[HOME[table_runs.table]]}, another data set than "
            f"{DATA.get(table_runs.data, table_runs.data)}. They show the order of methods only, so no difference is "
            "taken."
        )
    if set(cells["method"]) & {"PaDiM", "PatchCore"} & set(cells.loc[cells["measured"].notna(), "method"]):
        yield "PaDiM and PatchCore use our features here; the paper ran them with other backbones."
    if foreign := [name for key, name in ANOMALIB.items() if key in set(table_runs.rows["method"])]:
        yield (
            f"{', '.join(foreign)}: run by anomalib on the same images, with our frozen backbone if they need one; "
            "training, maps and image scores are the library's."
        )


def _both(row: pd.Series | None, at_home: bool) -> str:
    """Write a cell of a wide table: the measured number and, on the paper's data, below it the paper's."""
    if row is None:
        return DASH
    if not at_home or pd.isna(row["paper"]):
        return _measured(row)
    difference = "" if pd.isna(row["difference"]) else f", {row['difference']:+.3f}"
    return f"{_measured(row)}\npaper {row['paper']:.3f}{difference}"


def _wide(table_runs: TableRuns, cells: pd.DataFrame) -> RenderedTable:
    at_home = table_runs.at_home or not table_runs.data
    metrics = list(dict.fromkeys(cells["metric"]))
    columns = list(dict.fromkeys(map(tuple, cells[["method", "setting", "metric"]].to_numpy())))
    if not at_home:  # not the paper's table: what was measured comes first
        measured = set(map(tuple, cells.loc[cells["measured"].notna(), ["method", "setting", "metric"]].to_numpy()))
        columns.sort(key=lambda column: column not in measured)
    settings = set(cells["setting"])
    index = {tuple(row[["method", "setting", "metric", "category"]]): row for _, row in cells.iterrows()}
    head = ["data set" if table_runs.table == 3 else "normal classes" if table_runs.table == 7 else "category"]
    for method, setting, metric in columns:
        words = [
            method,
            *([setting] if len(settings) > 1 else []),
            *([paper.title(metric)] if len(metrics) > 1 else []),
        ]
        head.append("\n".join(words))
    rows, foot = [], []
    for category in _ordered(dict.fromkeys(cells["category"])):
        line = [_both(index.get((*column, category)), at_home) for column in columns]
        (foot if category == MEAN else rows).append([category, *line])
    if not at_home:
        means = [index.get((*column, MEAN)) for column in columns]
        line = [DASH if row is None else _digits(row["paper"]) for row in means]
        foot.append([f"the paper's mean, {DATA[HOME[table_runs.table]]}", *line])
    title = f"Table {table_runs.table}. {paper.TABLES[table_runs.table]}"
    if len(metrics) == 1:
        title += f" ({paper.title(metrics[0])})"
    return RenderedTable(table_runs.table, title, head, rows, foot=foot)


def _ordered(names: Iterable[str]) -> list[str]:
    """Sort by the paper's groups if all names are in them, else keep the order. The mean is last."""
    ranks = {name: n for n, name in enumerate(name for group in GROUPS.values() for name in group)}
    names = sorted(names, key=lambda name: name == MEAN)
    return sorted(names, key=lambda name: ranks.get(name, len(ranks))) if set(names) - {MEAN} <= set(ranks) else names


def _long(table_runs: TableRuns, cells: pd.DataFrame) -> RenderedTable:
    other = table_runs.data and not table_runs.at_home
    printed = "paper" + (f", {DATA[HOME[table_runs.table]]}" if other else "")
    metrics = list(dict.fromkeys(cells["metric"]))
    in_print = set(cells.loc[cells["paper"].notna(), "metric"])
    beside = [printed] if other else [printed, "difference"]
    part = {metric: [paper.title(metric), *(beside if metric in in_print else [])] for metric in metrics}
    head = {4: ["method", "labels"], 5: list(_SWITCH_HEADS), 8: ["method", "backbone"], 9: ["query"]}[table_runs.table]
    head = [*head, *(name for metric in metrics for name in part[metric]), "seeds"]
    rows = []
    for (method, setting), group in cells.groupby(["method", "setting"], sort=False):
        by_metric, seeds = group.set_index("metric"), group["seeds"].max()
        values = [text for metric in metrics for text in _beside(by_metric, metric)[: len(part[metric])]]
        names = _names(table_runs.table, method, setting)
        rows.append([*names, *values, "not run" if pd.isna(seeds) else f"{seeds:.0f}"])
    title = f"Table {table_runs.table}. {paper.TABLES[table_runs.table]}"
    return RenderedTable(table_runs.table, title, head, rows, texts=len(_names(table_runs.table, "", "none")))


def _names(table: int, method: str, setting: str) -> list[str]:
    if table == 5:
        return ["✓" if on else DASH for on in paper.switches(setting).values()]
    return [method] if table == 9 else [method, setting]


def _beside(by_metric: pd.DataFrame, metric: str) -> tuple[str, str, str]:
    """Measured, printed, and their difference."""
    if metric not in by_metric.index:
        return DASH, DASH, DASH
    row = by_metric.loc[metric]
    return _measured(row), _digits(row["paper"]), _digits(row["difference"], "+.3f")


def _batches(table_runs: TableRuns, cells: pd.DataFrame) -> RenderedTable:
    settings = sorted(set(cells["setting"]), key=lambda text: int(text.split()[1]))
    columns = [("parameters_M", "batch 1"), ("flops_G", "batch 1"), *(("seconds", setting) for setting in settings)]
    index = {tuple(row[["method", "metric", "setting"]]): row for _, row in cells.iterrows()}
    rows = []
    for method in dict.fromkeys(cells["method"]):
        numbers = [index.get((method, *column)) for column in columns]
        rows.append([method, *(DASH if row is None else _measured_over_paper(row) for row in numbers)])
    head = ["method", "parameters, 10⁶", "MACs, 10⁹\n(paper: FLOPs)", *(f"{setting}, s" for setting in settings)]
    return RenderedTable(6, f"Table 6. {paper.TABLES[6]}", head, rows)


def _measured_over_paper(row: pd.Series) -> str:
    measured = _digits(row["measured"], ".3g")
    return measured if pd.isna(row["paper"]) else f"{measured}\npaper {row['paper']:.3g}"


def _digits(value: float | None, form: str = ".3f") -> str:
    return DASH if pd.isna(value) else f"{value:{form}}"


def _measured(row: pd.Series) -> str:
    return DASH if pd.isna(row["measured"]) else mean_std(row["measured"], row["std"])
