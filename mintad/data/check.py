"""The check of a data set: its layout, every image and mask, and pictures that occur twice, all problems at once."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mintad.data.dataset import Dataset
from mintad.data.duplicates import near_duplicates, repeated_pictures
from mintad.data.inspection import Inspection, inspect
from mintad.data.problems import SEVERITIES, Problem
from mintad.data.records import GOOD
from mintad.data.registry import DATASETS, recognise, require_options
from mintad.data.tree import Row, absolute
from mintad.errors import DataError, visible
from mintad.progress import track

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_EXAMPLES = 3  # files listed for a note; for errors and warnings all are


@dataclass(frozen=True)
class Report:
    """Result of a check of the folder `root`, read as the data set `name`."""

    name: str
    root: str
    counts: pd.DataFrame
    """One row per category: train good, test good, test anomalous, masks (files), defects ({defect: images})."""
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether there are no errors; there may be warnings and notes."""
        return not self.of("error")

    def of(self, severity: str) -> list[Problem]:
        """Return the problems of one severity."""
        return [problem for problem in self.problems if problem.severity == severity]

    def to_rich(self) -> RenderableType:
        """Return tables and lists to print on a rich console."""
        groups: dict[tuple[str, str], list[Problem]] = defaultdict(list)
        for problem in sorted(self.problems, key=lambda problem: SEVERITIES.index(problem.severity)):
            groups[problem.severity, problem.problem].append(problem)
        numbers = ", ".join(f"{len(self.of(severity))} {severity}(s)" for severity in SEVERITIES)
        summary = Text("\n" + (numbers if self.problems else "no problems"))
        return Group(_count_table(self), *(_group_text(group, self.root) for group in groups.values()), summary)


def check(
    root: str | Path,
    name: str | None = "auto",
    *,
    options: Mapping[str, Any] = {},
    workers: int | None = None,
    progress: bool = True,
) -> Report:
    """Check the data set in `root` without stopping at the first problem.

    Args:
        root: its folder.
        name: a name in `DATASETS`, or "auto" to recognise the layout.
        options: of the data set, see its load function.
        workers: threads that decode images; None for one per core, at most 8.
        progress: show a bar on a terminal.

    Raises:
        DataError: unknown name, or nothing can be checked.
        ConfigError: an option that the data set does not have.
    """
    folder = absolute(root)
    name = recognise(folder) if name in (None, "auto") else name
    dataset = DATASETS[name]
    if dataset.scan is None:
        raise DataError(f"data set '{name}' cannot be checked as a whole", fix="check each of its data sets")
    require_options(name, dataset.scan, options)
    rows, problems = dataset.scan(folder, **options)
    problems = [*dict.fromkeys(problems), *_compare_with_published(dataset, folder, rows)]
    images = list({row["image"]: row for row in rows}.values())  # CIFAR-10 has its images in four categories
    found: list[Inspection] = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        for inspection in track(pool.map(inspect, images), "reading images", len(images), show=progress):
            found.append(inspection)
            problems += inspection.problems
    digests = [inspection.digest for inspection in found]
    problems += repeated_pictures(images, digests)
    problems += near_duplicates(images, digests, [inspection.thumbnail for inspection in found])
    problems += _too_few(rows)
    return Report(name, str(folder), _count(rows), problems)


def _compare_with_published(dataset: Dataset, root: Path, rows: Sequence[Row]) -> Iterator[Problem]:
    published = dataset.source and dataset.source.images
    if not published or not rows:
        return
    title, categories, present = dataset.title, dataset.categories, {row["category"] for row in rows}
    for category in sorted(present - set(categories)):
        yield Problem("warning", str(root / category), f"not a category of {title}", "load it as 'folder'")
    missing = [category for category in categories if category not in present]
    splits = [row["split"] for row in rows if row["category"] in categories]
    counts = splits.count("train"), splits.count("test")
    if missing:
        problem = f"{len(missing)} of the {len(categories)} categories of {title} are not here: {', '.join(missing)}"
        yield Problem("note", str(root), problem)
    elif counts != published:
        problem = "{:,} training and {:,} test images; {} has {:,} and {:,}".format(*counts, title, *published)
        yield Problem("warning", str(root), problem, "unpack the data set again; otherwise results cannot be compared")


def _too_few(rows: Sequence[Row]) -> Iterator[Problem]:
    """List categories of which no training image can be held out."""
    trained = [row for row in rows if row["split"] == "train"]
    for category, number in sorted(Counter(row["category"] for row in trained).items()):
        if number == 1:
            image = next(row["image"] for row in trained if row["category"] == category)
            fix = f"add normal images of '{category}': none can be held out for the threshold"
            yield Problem("warning", image, "a single training image", fix)


def _count(rows: Sequence[Row]) -> pd.DataFrame:
    """Count images and mask files per category, see `Report.counts`."""
    table = pd.DataFrame(rows, columns=["category", "split", "defect", "masks"])
    kinds = table["split"] + table["defect"].map(lambda defect: " good" if defect == GOOD else " anomalous")
    columns = ["train good", "test good", "test anomalous"]
    counts = pd.crosstab(table["category"], kinds).reindex(columns=columns, fill_value=0)
    masks = table["masks"].map(lambda paths: len(paths) if isinstance(paths, tuple) else 0)
    masks = masks.where(table["defect"] != GOOD, 0)  # those of normal images are blank
    counts["masks"] = masks.groupby(table["category"]).sum()
    defects = {name: Counter(part["defect"]) for name, part in table[table["defect"] != GOOD].groupby("category")}
    counts["defects"] = [dict(sorted(defects.get(name, {}).items())) for name in counts.index]
    return counts


def _count_table(report: Report) -> Table:
    table = Table(title=Text(f"{visible(report.root)}, read as '{report.name}'"), show_footer=len(report.counts) > 1)
    table.add_column("category", "total", overflow="fold")
    for name in report.counts.columns[:-1]:
        table.add_column(name, f"{report.counts[name].sum():,}", justify="right")
    table.add_column("by defect", overflow="fold")
    for category, *numbers, defects in report.counts.itertuples():
        shown = "\n".join(f"{visible(defect)} {number:,}" for defect, number in defects.items())
        table.add_row(Text(visible(str(category))), *(f"{number:,}" for number in numbers), Text(shown))
    return table


def _group_text(group: Sequence[Problem], root: str) -> Text:
    """Return the text of one kind of problem: what it is, how to fix it, and the files that have it."""
    severity, problem, fixes = group[0].severity, group[0].problem, {problem.fix for problem in group}
    text = Text.assemble("\n", (f"{severity}: ", _STYLES[severity]))
    text.append(problem if len(group) == 1 else f"{problem} ({len(group)}x)", style="bold")
    if len(fixes) == 1 and group[0].fix:
        text.append(f"\n  {visible(group[0].fix)}", style="italic")
    shown = group if severity != "note" else group[:_EXAMPLES]
    for problem in shown:
        text.append(f"\n  - {visible(problem.path.removeprefix(os.path.join(root, '')) or problem.path)}")
        if len(fixes) > 1 and problem.fix:
            text.append(f": {visible(problem.fix)}", style="italic")
    if len(shown) < len(group):
        text.append(f"\n  - and {len(group) - len(shown)} more")
    return text
