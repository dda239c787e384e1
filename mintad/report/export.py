"""The tables as one HTML page that opens offline, as CSV and as LaTeX (booktabs)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from mintad.report.layout import RenderedTable
from mintad.runs.page.markup import SORT, STYLE, escape, interactive, table, tag

_STYLE = "td,th{white-space:pre}tbody th,td{vertical-align:top}"
"""Over the results page's: cells of two lines."""
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--", "×": r"$\times$",
    "✓": r"$\checkmark$", "→": r"$\rightarrow$", "−": "$-$", "⁶": "$^6$", "⁹": "$^9$", "<": "$<$", ">": "$>$",
}  # fmt: skip


def html_page(
    sheets: Sequence[RenderedTable],
    tests: Mapping[int, pd.DataFrame],
    figures: Mapping[int, go.Figure],
    *,
    growth: go.Figure | None,
    head: str,
    runs: Sequence[Sequence[object]],
    skipped: Mapping[str, str],
) -> str:
    """The whole page.

    Args:
        sheets: in order; those without a measured number are folded at the end.
        tests: table -> paired comparisons, as `mintad.report.pairs.pairs` gives.
        figures: table -> dot plot.
        growth: of the number of classes, or None.
        head: what the page is about, one line.
        runs: run, variant, setting, seed, data of each run.
        skipped: run -> why it was left out.
    """
    parts = [tag("h1", "The paper's tables, measured") + tag("p", escape(head), class_="note")]
    parts += [_section(one, tests.get(one.number), figures.get(one.number)) for one in sheets if one.measured]
    if growth is not None:
        parts.append(tag("section", tag("h2", "Growing number of classes") + interactive(growth)))
    rest = [one for one in sheets if not one.measured]
    if rest:
        folded = "".join(_folded(one) for one in rest)
        parts.append(tag("section", tag("h2", "Tables for which nothing was run") + folded))
    if skipped:
        caption = "Runs that were found and are in no number above."
        listed = table(["run", "why it was skipped"], list(map(list, skipped.items())), caption, texts=2)
        parts.append(tag("section", tag("h2", "Skipped") + listed))
    if runs:
        listed = table(["run", "variant", "setting", "seed", "data"], runs, "Runs behind the numbers.", texts=5)
        parts.append(tag("section", tag("details", tag("summary", f"{len(runs)} runs") + listed)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mintad: the paper\'s tables</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}{_STYLE}</style>'
        f"<script>{get_plotlyjs()}</script></head><body><main>{''.join(parts)}</main>"
        f"<script>{SORT}</script></body></html>"
    )


def _section(sheet: RenderedTable, tests: pd.DataFrame | None, figure: go.Figure | None) -> str:
    parts = [tag("h2", escape(sheet.title)), _shown(sheet)]
    parts.append(interactive(figure) if figure is not None else "")
    if tests is not None and len(tests):
        parts.append(_tests(tests))
    parts.append(_missing(sheet))
    return tag("section", "".join(parts))


def _folded(sheet: RenderedTable) -> str:
    return tag("details", tag("summary", escape(sheet.title)) + _shown(sheet) + _missing(sheet))


def _shown(sheet: RenderedTable) -> str:
    """The notes stand above the table, not in its caption: a wide table is scrolled, they must not be."""
    return tag("p", escape(" ".join(sheet.notes)), class_="note") + table(
        sheet.head, sheet.rows, sheet.caption, foot=sheet.foot, texts=sheet.texts
    )


def _missing(sheet: RenderedTable) -> str:
    if not sheet.missing:
        return ""
    listed = table(["method", "setting", "why there is no measured number"], sheet.missing, "Not measured.", texts=3)
    summary = f"{len(sheet.missing)} methods of the paper without a measured number"
    return tag("details", tag("summary", summary) + listed)


def _tests(tests: pd.DataFrame) -> str:
    head = ["metric", "compared", "categories", "seeds", "difference", "95 % interval", "won : lost", "p", "p, Holm"]
    rows = [
        [
            row.metric,
            f"{row.one} − {row.other}",
            row.categories,
            f"{row.seeds_one}" if row.same_seeds else f"{row.seeds_one} and {row.seeds_other}, other ones",
            f"{row.difference:+.3f}",
            f"{row.low:+.3f} to {row.high:+.3f}",
            f"{row.won} : {row.lost}",
            f"{row.p_value:.3g}",
            f"{row.p_holm:.3g}",
        ]
        for row in tests.itertuples()
    ]
    caption = (
        "Paired by category, on means over seeds. p: Wilcoxon signed-rank test over categories (two-sided); Holm: "
        "adjusted for all tests with this metric here. The interval draws categories and seeds anew; with 3 seeds it "
        "is somewhat too narrow. With n categories that differ, p cannot fall below 2^(1-n), here "
        f"{tests['smallest_p'].min():.2g}."
    )
    return table(head, rows, caption, texts=2)


def latex(sheet: RenderedTable) -> str:
    """A table environment for \\usepackage{booktabs} (and amssymb for check marks); notes stand below it."""
    columns = "l" * sheet.texts + "c" * (len(sheet.head) - sheet.texts)
    body = [r"\toprule", _line(sheet.head), r"\midrule", *map(_line, sheet.rows)]
    body += [r"\midrule", *map(_line, sheet.foot)] if sheet.foot else []
    notes = [*sheet.notes, *(f"{method} ({setting}): {why}." for method, setting, why in sheet.missing)]
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{to_latex(sheet.title)}}}",
        rf"\label{{tab:mintad-{sheet.number}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\smallskip\footnotesize " + to_latex(" ".join(notes))] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(cell: str) -> str:
    lines = [to_latex(line) for line in cell.split("\n")]
    return lines[0] if len(lines) == 1 else r"\shortstack{" + r"\\".join(lines) + "}"


def to_latex(text: str) -> str:
    """Text with everything escaped that LaTeX would read as a command; a minus before a number becomes one."""
    escaped = "".join(_LATEX.get(letter, letter) for letter in str(text))
    return re.sub(r"(?<![\w.)}])([-+])(?=\d)", r"$\1$", escaped)


def write_files(
    folder: Path, sheets: Sequence[RenderedTable], cells: Mapping[int, pd.DataFrame], tests: pd.DataFrame
) -> None:
    """``table_04.csv`` and ``table_04.tex`` of every table, and ``paired_tests.csv``."""
    for one in sheets:
        name = f"table_{one.number:02d}"
        (folder / f"{name}.csv").write_text(cells[one.number].to_csv(index=False), encoding="utf-8", newline="")
        (folder / f"{name}.tex").write_text(latex(one), encoding="utf-8", newline="")
    (folder / "paired_tests.csv").write_text(tests.to_csv(index=False), encoding="utf-8", newline="")
