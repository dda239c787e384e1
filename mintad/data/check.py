"""The check of a data set: its layout, every image and mask, and pictures that occur twice, all problems at once."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mintad.data.dataset import Dataset
from mintad.data.inspection import Inspection, inspect
from mintad.data.problems import SEVERITIES, Problem
from mintad.data.records import GOOD
from mintad.data.registry import DATASETS
from mintad.data.tree import Row, absolute
from mintad.errors import DataError
from mintad.progress import track

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_EXAMPLES = 3
"""Files listed for a note; for errors and warnings all are."""


@dataclass(frozen=True)
class Report:
    """Result of a check."""

    name: str
    """The data set it was read as."""
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
        parts: list[RenderableType] = [_count_table(self)]
        for severity in SEVERITIES:
            groups: dict[str, list[Problem]] = defaultdict(list)
            for problem in self.of(severity):
                groups[problem.problem].append(problem)
            parts += [_group_text(group, self.root) for group in groups.values()]
        numbers = [f"{len(self.of(severity))} {severity}(s)" for severity in SEVERITIES]
        parts.append(Text("\n" + ("no problems" if not self.problems else ", ".join(numbers))))
        return Group(*parts)


def check(root: str | Path, name: str | None = "auto", *, workers: int | None = None, progress: bool = True) -> Report:
    """Check a data set without stopping at the first problem.

    Args:
        root: its folder.
        name: a name in `DATASETS`, or "auto" to recognise the layout.
        workers: threads that decode images; None for one per core, at most 8.
        progress: show a bar on a terminal.

    Returns:
        Counts and problems; `Report.ok` is False if loading or reading would fail somewhere.

    Raises:
        DataError: unknown name, or a data set of which nothing can be checked.
    """
    folder = absolute(root)
    if name in (None, "auto"):
        name = recognise(folder)
    dataset = DATASETS[name]
    if dataset.scan is None:
        raise DataError(f"data set '{name}' cannot be checked as a whole", fix="check each of its data sets")
    rows, problems = dataset.scan(folder)
    problems = [*problems, *_compare_with_published(dataset, folder, rows)]
    images = list({row["image"]: row for row in rows}.values())  # CIFAR-10 has its images in four categories
    digests: list[bytes | None] = []
    for inspection in _inspect_all(images, workers, progress):
        digests.append(inspection.digest)
        problems += inspection.problems
    problems += _repeated_pictures(images, digests)
    return Report(name, str(folder), _count(rows), problems)


def recognise(root: Path) -> str:
    """Return the name of the data set that a folder looks like; "folder" if it looks like none."""
    return next((name for name, dataset in DATASETS.items() if dataset.looks_like(root)), "folder")


def _compare_with_published(dataset: Dataset, root: Path, rows: Sequence[Row]) -> Iterator[Problem]:
    if dataset.published is None or not rows:
        return
    present = {row["category"] for row in rows}
    for category in sorted(present - set(dataset.categories)):
        yield Problem("warning", str(root / category), f"not a category of {dataset.title}", "load it as 'folder'")
    missing = [category for category in dataset.categories if category not in present]
    if missing:
        problem = f"{len(missing)} of the {len(dataset.categories)} categories of {dataset.title} are not here"
        yield Problem("note", str(root), f"{problem}: {', '.join(missing)}")
        return
    splits = [row["split"] for row in rows if row["category"] in dataset.categories]
    counts = splits.count("train"), splits.count("test")
    if counts != dataset.published:
        problem = "{:,} training and {:,} test images; ".format(*counts)
        problem += "{} has {:,} and {:,}".format(dataset.title, *dataset.published)
        yield Problem("warning", str(root), problem, "unpack the data set again; otherwise results cannot be compared")


def _inspect_all(rows: Sequence[Row], workers: int | None, progress: bool) -> Iterator[Inspection]:
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        inspections = pool.map(lambda row: inspect(row["image"], row.get("masks", ())), rows)
        yield from track(inspections, "reading images", len(rows), show=progress)


def _repeated_pictures(rows: Sequence[Row], digests: Iterable[bytes | None]) -> Iterator[Problem]:
    """List pictures in two files: a leak from training to test, contradicting labels, or a mere repetition."""
    groups: dict[bytes, list[Row]] = defaultdict(list)
    for row, digest in zip(rows, digests, strict=True):
        if digest is not None:
            groups[digest].append(row)
    for group in groups.values():
        train = [row for row in group if row["split"] == "train"]
        test = [row for row in group if row["split"] == "test"]
        for row in test if train else ():
            fix = f"remove one of the two; the other is {train[0]['image']}"
            yield Problem("warning", row["image"], "test image that is also a training image", fix)
        for row in test:
            others = [
                other for other in test if other["category"] == row["category"] and other["label"] != row["label"]
            ]
            if row["label"] == 1 and others:
                fix = f"remove one of the two; as normal image it is {others[0]['image']}"
                yield Problem("warning", row["image"], "picture that is also labelled normal", fix)
        for part in (train, [row for row in test if not row["label"]], [row for row in test if row["label"]]):
            for row in part[1:]:
                problem = f"picture that occurs twice in {row['split']}"
                yield Problem("note", row["image"], problem, f"the other is {part[0]['image']}")


def _count(rows: Sequence[Row]) -> pd.DataFrame:
    """Count images and mask files per category, see `Report.counts`."""
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


def _group_text(group: Sequence[Problem], root: str) -> Text:
    """Return the text of one kind of problem: what it is, how to fix it, and the files that have it."""
    severity, problem = group[0].severity, group[0].problem
    text = Text("\n")
    text.append(f"{severity}: ", style=_STYLES[severity])
    text.append(problem if len(group) == 1 else f"{problem} ({len(group)}x)", style="bold")
    fixes = {problem.fix for problem in group}
    if len(fixes) == 1 and group[0].fix:
        text.append(f"\n  {group[0].fix}", style="italic")
    shown = group if severity != "note" else group[:_EXAMPLES]
    for problem in shown:
        text.append(f"\n  - {_relative(problem.path, root)}")
        if len(fixes) > 1 and problem.fix:
            text.append(f": {problem.fix}", style="italic")
    if len(shown) < len(group):
        text.append(f"\n  - and {len(group) - len(shown)} more")
    return text


def _relative(path: str, root: str) -> str:
    inside = os.path.join(root, "")
    return path.removeprefix(inside) or path
