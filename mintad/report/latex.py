"""The tables as LaTeX (booktabs)."""

from __future__ import annotations

import re

from mintad.report.layout import RenderedTable

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--", "×": r"$\times$",
    "✓": r"$\checkmark$", "→": r"$\rightarrow$", "−": "$-$", "⁶": "$^6$", "⁹": "$^9$", "<": "$<$", ">": "$>$",
}  # fmt: skip
_TABLE = r"""\begin{table}
\centering\small
\caption{%s}
\label{tab:mintad-%d}
\begin{tabular}{%s}
\toprule
%s
\bottomrule
\end{tabular}%s
\end{table}
"""


def latex(table: RenderedTable) -> str:
    r"""Return a table environment for \usepackage{booktabs} (and amssymb for check marks); notes stand below it."""
    columns = "l" * table.texts + "c" * (len(table.head) - table.texts)
    body = [_line(table.head), r"\midrule", *map(_line, table.rows)]
    body += [r"\midrule", *map(_line, table.foot)] if table.foot else []
    notes = " ".join([*table.notes, *(f"{method} ({setting}): {why}." for method, setting, why in table.missing)])
    below = "\n\\par\\smallskip\\footnotesize " + to_latex(notes) if notes else ""
    return _TABLE % (to_latex(table.title), table.number, columns, "\n".join(body), below)


def to_latex(text: str) -> str:
    """Escape everything that LaTeX would read as a command; a minus before a number becomes a mathematical one."""
    escaped = "".join(_LATEX.get(letter, letter) for letter in text)
    return re.sub(r"(?<![\w.)}])([-+])(?=\d)", r"$\1$", escaped)


def _line(cells: list[str]) -> str:
    texts = [r"\\".join(map(to_latex, cell.split("\n"))) for cell in cells]
    return " & ".join(rf"\shortstack{{{text}}}" if r"\\" in text else text for text in texts) + r" \\"
