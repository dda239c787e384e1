"""What `mintad data check` says: counts per category, and all problems, grouped by kind."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mintad.data.problems import SEVERITIES, Problem
from mintad.data.records import GOOD
from mintad.data.tree import Row

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_EXAMPLES = 3
"""Files listed for a note; for errors and warnings all are."""


@dataclass(frozen=True)
class Report:
    """Result of a check."""

    name: str
    """Which data set it was taken for."""
    root: str
    counts: pd.DataFrame
    """A row a category: train good, test good, test anomalous, masks (files), defects ({defect: images})."""
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """No errors; there may be warnings and notes."""
        return not self.of("error")

    def of(self, severity: str) -> list[Problem]:
        """The problems of one severity."""
        return [problem for problem in self.problems if problem.severity == severity]

    def to_rich(self) -> RenderableType:
        """Tables and lists to hand to a rich console."""
        parts: list[RenderableType] = [_count_table(self)]
        for severity in SEVERITIES:
            groups: dict[str, list[Problem]] = defaultdict(list)
            for problem in self.of(severity):
                groups[problem.what].append(problem)
            parts += [_group(what, found, self.root) for what, found in groups.items()]
        numbers = [f"{len(self.of(severity))} {severity}(s)" for severity in SEVERITIES]
        parts.append(Text("\n" + ("no problems" if not self.problems else ", ".join(numbers))))
        return Group(*parts)


def count(rows: Sequence[Row]) -> pd.DataFrame:
    """Images and mask files per category, see `Report.counts`."""
    tables: dict[str, dict] = {}
    for row in rows:
        table = tables.setdefault(
            row["category"],
            {"train good": 0, "test good": 0, "test anomalous": 0, "masks": 0, "defects": Counter()},
        )
        anomalous = row["defect"] != GOOD
        table[f"{row['split']} {'anomalous' if anomalous else 'good'}"] += 1
        table["masks"] += len(row.get("masks", ()))
        table["defects"].update([row["defect"]] if anomalous else [])
    ordered = {
        name: {**tables[name], "defects": dict(sorted(tables[name]["defects"].items()))} for name in sorted(tables)
    }
    columns = ["train good", "test good", "test anomalous", "masks", "defects"]
    counts = pd.DataFrame.from_dict(ordered, orient="index", columns=columns)
    counts.index.name = "category"
    return counts


def _count_table(report: Report) -> Table:
    table = Table(title=Text(f"{report.root}, read as '{report.name}'"), show_footer=len(report.counts) > 1)
    numbers = [name for name in report.counts.columns if name != "defects"]
    table.add_column("category", "total", overflow="fold")
    for name in numbers:
        table.add_column(name, f"{report.counts[name].sum():,}", justify="right")
    table.add_column("by defect", overflow="fold")
    for category, row in report.counts.iterrows():
        defects = "\n".join(f"{defect} {number:,}" for defect, number in row["defects"].items())
        table.add_row(Text(str(category)), *(f"{row[name]:,}" for name in numbers), Text(defects))
    return table


def _group(what: str, found: Sequence[Problem], root: str) -> Text:
    severity = found[0].severity
    text = Text("\n")
    text.append(f"{severity}: ", style=_STYLES[severity])
    text.append(what if len(found) == 1 else f"{what} ({len(found)}x)", style="bold")
    cures = {problem.cure for problem in found}
    if len(cures) == 1 and found[0].cure:
        text.append(f"\n  {found[0].cure}", style="italic")
    shown = found if severity != "note" else found[:_EXAMPLES]
    for problem in shown:
        text.append(f"\n  - {_relative(problem.path, root)}")
        if len(cures) > 1 and problem.cure:
            text.append(f": {problem.cure}", style="italic")
    if len(shown) < len(found):
        text.append(f"\n  - and {len(found) - len(shown)} more")
    return text


def _relative(path: str, root: str) -> str:
    inside = os.path.join(root, "")
    return path.removeprefix(inside) or path
