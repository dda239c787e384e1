"""The tables as one HTML page that opens offline, and as CSV and LaTeX files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from mintad.report.latex import latex
from mintad.report.layout import DASH, RenderedTable
from mintad.report.methods import DATA
from mintad.report.paper import title
from mintad.report.runs import Runs
from mintad.report.statistics import mean_std
from mintad.runs.page.render import Table, render


@dataclass
class ReportPart:
    """A table with its numbers, its figure and its paired comparisons."""

    table: RenderedTable
    values: pd.DataFrame
    """As `mintad.report.table_values` gives them."""
    pairs: pd.DataFrame
    """As `mintad.report.pairs` gives them."""
    metrics: pd.DataFrame
    """As `mintad.report.table_values.every_metric` gives them."""
    figure: go.Figure | None = None

    @property
    def comparisons(self) -> Table | None:
        """Lay out the paired comparisons; None without any."""
        return _comparisons(self.pairs) if len(self.pairs) else None

    @property
    def every_metric(self) -> Table | None:
        """Lay out all metrics, one row per method; None without any."""
        return _every_metric(self.metrics) if len(self.metrics) else None


def html_page(parts: Sequence[ReportPart], runs: Runs, growth: go.Figure | None) -> str:
    """Return the whole page.

    Args:
        parts: in order; those without a measured number are folded at the end.
        runs: behind the numbers.
        growth: of the number of classes, or None.
    """
    return render(
        "report.html.j2",
        package="mintad.report",
        subtitle=_subtitle(runs),
        parts=parts,
        growth=growth,
        skipped=_skipped(runs),
        runs=_listed(runs),
    )


def write_files(folder: Path, parts: Sequence[ReportPart]) -> None:
    """Write ``table_04.csv`` and ``table_04.tex`` of every table, ``paired_tests.csv`` and ``every_metric.csv``."""
    for part in parts:
        name = f"table_{part.table.number:02d}"
        _write(folder / f"{name}.csv", part.values.to_csv(index=False))
        _write(folder / f"{name}.tex", latex(part.table))
    for name, tables in (
        ("paired_tests", [part.pairs for part in parts]),
        ("every_metric", [part.metrics for part in parts]),
    ):
        filled = [table for table in tables if len(table)] or tables[:1]
        _write(folder / f"{name}.csv", pd.concat(filled).to_csv(index=False))


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="")


def _subtitle(runs: Runs) -> str:
    names = sorted({DATA.get(name, name) for name in runs.rows["data"]})
    text = f"Runs: {len(runs.configs)}, on {', '.join(names)}." if names else "No runs."
    text += f" Skipped: {len(runs.skipped)}, listed below." if runs.skipped else ""
    return f"{text} Test images only, last model of each run. Numbers called the paper's are as printed, not measured."


def _skipped(runs: Runs) -> Table | None:
    rows = list(map(list, runs.skipped.items()))
    caption = "Runs that were found and are in no number above."
    return Table(["run", "why it was skipped"], rows, caption, texts=2) if rows else None


def _listed(runs: Runs) -> Table | None:
    first = runs.rows.drop_duplicates("run")
    rows = [
        [row.run, row.method, row.setting, str(row.seed), DATA.get(row.data, row.data)] for row in first.itertuples()
    ]
    head = ["run", "variant", "setting", "seed", "data"]
    return Table(head, rows, "Variant, setting, seed and data of each.", texts=5) if rows else None


def _every_metric(metrics: pd.DataFrame) -> Table:
    names = list(dict.fromkeys(metrics["metric"]))
    rows = []
    for (method, setting), group in metrics.groupby(["method", "setting"], sort=False):
        values = {row.metric: mean_std(row.measured, row.std) for row in group.itertuples()}
        rows.append([method, setting, *(values.get(name, DASH) for name in names)])
    caption = "Mean over categories, ± standard deviation over seeds where there are several."
    return Table(["method", "setting", *map(title, names)], rows, caption, texts=2)


def _comparisons(pairs: pd.DataFrame) -> Table:
    head = ["metric", "compared", "categories", "seeds", "difference", "95 % interval", "won : lost", "p", "p, Holm"]
    rows = [
        [
            title(row.metric),
            f"{row.first} − {row.second}",
            row.categories,
            f"{row.seeds_first}" if row.same_seeds else f"{row.seeds_first} and {row.seeds_second}, different ones",
            f"{row.difference:+.3f}",
            f"{row.low:+.3f} to {row.high:+.3f}",
            f"{row.won} : {row.lost}",
            f"{row.p_value:.3g}",
            f"{row.p_holm:.3g}",
        ]
        for row in pairs.itertuples()
    ]
    caption = (
        "Paired by category, on means over seeds. p: Wilcoxon signed-rank test over categories (two-sided); Holm: "
        "adjusted for all tests with this metric here. The interval resamples categories and seeds; with 3 seeds it "
        "is somewhat too narrow. With n categories that differ, p cannot fall below 2^(1-n), here "
        f"{pairs['smallest_p'].min():.2g}."
    )
    return Table(head, rows, caption, texts=2)
