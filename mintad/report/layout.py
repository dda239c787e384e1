"""The tables in the paper's layout: categories by methods (Tables 1, 2, 3, 7, 10), methods by metrics (4, 5, 8, 9), or
methods by batch size (6)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from mintad.report import paper
from mintad.report.methods import ANOMALIB, DATA, HOME
from mintad.report.select_runs import TableRuns, measured_with
from mintad.report.statistics import mean_std
from mintad.scoring.metrics import MEAN

WIDE = (1, 2, 3, 7, 10)
"""Tables with a column a method."""
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
    """A table as it is shown; all cells are text, a line break parts the measured number from the paper's."""

    number: int
    title: str
    head: list[str]
    rows: list[list[str]]
    texts: int = 1
    """Leading columns of words."""
    foot: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[list[str]] = field(default_factory=list)
    """Method, setting and reason of everything the paper compares that has no measured number."""
    measured: bool = False
    """Whether there is any measured number."""

    @property
    def caption(self) -> str:
        """How to read a cell."""
        lines = any("\n" in cell for row in self.rows for cell in row)
        below = "Measured, and below it the paper's" if lines else "Measured; columns headed 'paper' are the paper's"
        return f"{below}. A dash: no number."


def render_table(table_runs: TableRuns, cells: pd.DataFrame) -> RenderedTable:
    """The table as it is shown.

    Args:
        table_runs: its runs.
        cells: as `mintad.report.table_values` gives.
    """
    builder = _wide if table_runs.table in WIDE else _batches if table_runs.table == 6 else _long
    shown = builder(table_runs, cells)
    shown.measured = bool(cells["measured"].notna().any())
    shown.notes = [note for note in (*_about(table_runs, cells), *table_runs.notes) if note]
    missing = cells[cells["measured"].isna()]
    done = set(map(tuple, cells.loc[cells["measured"].notna(), ["method", "setting"]].to_numpy()))
    pairs = dict.fromkeys(map(tuple, missing[["method", "setting"]].to_numpy()))
    settings: dict[str, list[str]] = {}
    for method, setting in pairs:
        if (method, setting) not in done:
            settings.setdefault(method, []).append(setting)
    status = missing.drop_duplicates("method").set_index("method")["status"]
    shown.missing = [[method, ", ".join(which), status[method]] for method, which in settings.items()]
    return shown


def _about(table_runs: TableRuns, cells: pd.DataFrame) -> Iterable[str]:
    if table_runs.table == 6:
        yield (
            "Seconds for one batch; the paper's on its own hardware, with backbones of their own for the baselines and a "
            "training set that grows with the batch. Compare ratios. Its FLOPs stand beside our multiply-accumulates."
        )
        return
    if not table_runs.data:
        yield "Nothing was run. All numbers are the paper's."
        return
    yield measured_with(table_runs)
    seeds = sorted(set(cells.loc[cells["measured"].notna(), "seeds"].astype(int)))
    if not seeds:
        data, metrics = DATA.get(table_runs.data, table_runs.data), ", ".join(dict.fromkeys(cells["metric"]))
        yield f"The runs on {data} have no {metrics}; pixels are judged where there are masks."
    elif seeds == [1]:
        yield "One run of each method: no deviation, and nothing is decided."
    else:
        runs = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        yield f"Measured: mean ± standard deviation over {runs} seeds; without ± there was one."
    if not table_runs.at_home:
        yield (
            f"The paper's numbers are for {DATA[HOME[table_runs.table]]}, another data set than "
            f"{DATA.get(table_runs.data, table_runs.data)}: they stand here for the order of methods only, and there is no "
            "difference to take."
        )
    if set(cells["method"]) & {"PaDiM", "PatchCore"} & set(cells.loc[cells["measured"].notna(), "method"]):
        yield "PaDiM and PatchCore see our features here; the paper ran them with backbones of their own."
    if foreign := [name for key, name in ANOMALIB.items() if key in set(table_runs.rows["method"])]:
        yield (
            f"{', '.join(foreign)}: by anomalib on the same images, with our frozen backbone if with any; training, "
            "maps and image scores are the library's."
        )


def _both(row: pd.Series | None, at_home: bool) -> str:
    """A cell of a wide table: what was measured, and on the paper's data its number below, with the difference."""
    if row is None:
        return DASH
    measured = mean_std(row["measured"], row["std"]) if _there(row["measured"]) else DASH
    if not at_home or not _there(row["paper"]):
        return measured
    difference = f", {row['difference']:+.3f}" if _there(row["difference"]) else ""
    return f"{measured}\npaper {row['paper']:.3f}{difference}"


def _wide(table_runs: TableRuns, cells: pd.DataFrame) -> RenderedTable:
    at_home = table_runs.at_home or not table_runs.data
    metrics = list(dict.fromkeys(cells["metric"]))
    columns = list(dict.fromkeys(map(tuple, cells[["method", "setting", "metric"]].to_numpy())))
    if not at_home:  # not the paper's table: what was measured comes first
        done = set(map(tuple, cells.loc[cells["measured"].notna(), ["method", "setting", "metric"]].to_numpy()))
        columns.sort(key=lambda column: column not in done)
    settings = set(cells["setting"])
    index = {tuple(row[["method", "setting", "metric", "category"]]): row for _, row in cells.iterrows()}
    head = ["data set" if table_runs.table == 3 else "normal classes" if table_runs.table == 7 else "category"]
    for method, setting, metric in columns:
        words = [method, *([setting] if len(settings) > 1 else []), *([metric] if len(metrics) > 1 else [])]
        head.append("\n".join(words))
    rows, foot = [], []
    for category in _ordered(dict.fromkeys(cells["category"])):
        line = [_both(index.get((*column, category)), at_home) for column in columns]
        (foot if category == MEAN else rows).append([category, *line])
    if not at_home:
        printed = [index.get((*column, MEAN)) for column in columns]
        there = [row is not None and _there(row["paper"]) for row in printed]
        line = [f"{row['paper']:.3f}" if ok else DASH for row, ok in zip(printed, there, strict=True)]
        foot.append([f"the paper's mean, {DATA[HOME[table_runs.table]]}", *line])
    title = f"Table {table_runs.table}. {paper.tables()[table_runs.table]}"
    if len(metrics) == 1:
        title += f" ({metrics[0]})"
    return RenderedTable(table_runs.table, title, head, rows, foot=foot)


def _ordered(names: Iterable[str]) -> list[str]:
    """The paper's groups in its order, if all names are in them; else as they come. The mean is last."""
    known = {name: n for n, name in enumerate(name for group in GROUPS.values() for name in group)}
    names = sorted(names, key=lambda name: name == MEAN)
    return sorted(names, key=lambda name: known.get(name, len(known))) if set(names) - {MEAN} <= set(known) else names


def _long(table_runs: TableRuns, cells: pd.DataFrame) -> RenderedTable:
    other = table_runs.data and not table_runs.at_home
    printed = "paper" + (f", {DATA[HOME[table_runs.table]]}" if other else "")
    metrics = list(dict.fromkeys(cells["metric"]))
    in_print = set(cells.loc[cells["paper"].notna(), "metric"])
    beside = [printed] if other else [printed, "difference"]
    part = {metric: [metric, *beside] if metric in in_print else [metric] for metric in metrics}
    head = {4: ["method", "labels"], 5: list(_SWITCH_HEADS), 8: ["method", "backbone"], 9: ["query"]}[table_runs.table]
    head = [*head, *(name for metric in metrics for name in part[metric]), "seeds"]
    rows = []
    for (method, setting), group in cells.groupby(["method", "setting"], sort=False):
        of = group.set_index("metric")
        values = [text for metric in metrics for text in _three(of, metric)[: len(part[metric])]]
        seeds = of["seeds"].max()
        rows.append(
            [*_names(table_runs.table, method, setting), *values, f"{seeds:.0f}" if _there(seeds) else "not run"]
        )
    title = f"Table {table_runs.table}. {paper.tables()[table_runs.table]}"
    return RenderedTable(table_runs.table, title, head, rows, texts=len(_names(table_runs.table, "", "none")))


def _names(table: int, method: str, setting: str) -> list[str]:
    if table == 5:
        return ["✓" if on else DASH for on in paper.switches(setting).values()]
    return [method] if table == 9 else [method, setting]


def _three(of: pd.DataFrame, metric: str) -> tuple[str, str, str]:
    if metric not in of.index:
        return DASH, DASH, DASH
    row = of.loc[metric]
    measured = mean_std(row["measured"], row["std"]) if _there(row["measured"]) else DASH
    printed = f"{row['paper']:.3f}" if _there(row["paper"]) else DASH
    return measured, printed, f"{row['difference']:+.3f}" if _there(row["difference"]) else DASH


def _batches(table_runs: TableRuns, cells: pd.DataFrame) -> RenderedTable:
    settings = sorted(set(cells["setting"]), key=lambda text: int(text.split()[1]))
    columns = [(metric, "batch 1") for metric in ("parameters_M", "flops_G")]
    columns += [("seconds", setting) for setting in settings]
    index = {tuple(row[["method", "metric", "setting"]]): row for _, row in cells.iterrows()}
    rows = []
    for method in dict.fromkeys(cells["method"]):
        found = [index.get((method, *column)) for column in columns]
        rows.append([method, *(DASH if row is None else _measured_over_paper(row) for row in found)])
    head = ["method", "parameters, 10⁶", "MACs, 10⁹\n(paper: FLOPs)", *(f"{setting}, s" for setting in settings)]
    return RenderedTable(6, f"Table 6. {paper.tables()[6]}", head, rows)


def _measured_over_paper(row: pd.Series) -> str:
    measured = f"{row['measured']:.3g}" if _there(row["measured"]) else DASH
    return f"{measured}\npaper {row['paper']:.3g}" if _there(row["paper"]) else measured


def _there(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value)) and not pd.isna(value)
