"""From verdicts to points: one CSV for the instructor, one page for each student."""

from __future__ import annotations

import csv
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mintad.course.grade.verdict import FULL, PARTIAL
from mintad.course.points import Points
from mintad.disk import write
from mintad.runs.page.render import Table, render

COLUMNS = ["student", "notebook", "exercise", "points", "out of", "message"]
FORMULA = ("=", "+", "-", "@")  # with which a spreadsheet takes a text for a formula
Grades = namedtuple("Grades", ["table", "rows", "totals"])
"""The CSV's path; its rows as `Row`; student -> (points, out of)."""


@dataclass(frozen=True)
class Row:
    """What a student gets for one exercise."""

    student: str
    notebook: str
    exercise: str
    points: float
    out_of: float
    message: str
    rubric: str


def write_grades(
    out: Path,
    points: Points,
    results: dict[str, dict[str, Any]],
    problems: dict[str, str],
    notes: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> Grades:
    """Write grades.csv and feedback/STUDENT.html; everything that counts has a row for every student.

    Args:
        out: folder.
        points: what counts.
        results: student -> what `engine.judge_submission` has recorded.
        problems: student -> why the submission could not be graded.
        notes: (student, notebook) -> what is added to the messages.
    """
    rows = [row for student in sorted({*results, *problems})
            for row in _rows(student, points, results.get(student), problems.get(student, ""), notes)]  # fmt: skip
    with (out / "grades.csv").open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            texts = [f"'{text}" if text.startswith(FORMULA) else text for text in (row.student, row.message)]
            writer.writerow([texts[0], row.notebook, row.exercise, f"{row.points:g}", f"{row.out_of:g}", texts[1]])
    totals, pages = {}, out / "feedback"
    pages.mkdir(exist_ok=True)
    for student in sorted({*results, *problems}):
        own = [row for row in rows if row.student == student]
        totals[student] = sum(row.points for row in own), sum(row.out_of for row in own)
        write(pages / f"{student}.html", page(student, own).encode(errors="replace"))
    return Grades(out / "grades.csv", rows, totals)


def page(student: str, rows: list[Row]) -> str:
    """Return a student's page; all texts are escaped."""
    head = ["exercise", "points", "what was found", "what counts"]
    tables = []
    for notebook in dict.fromkeys(row.notebook for row in rows):
        own = [row for row in rows if row.notebook == notebook]
        cells = [[row.exercise, f"{row.points:g} of {row.out_of:g}", row.message, row.rubric] for row in own]
        title = notebook.replace("_", " ")
        caption = f"{sum(row.points for row in own):g} of {sum(row.out_of for row in own):g} points"
        tables.append((title, Table(head, cells, caption, texts=4)))
    total = f"{sum(row.points for row in rows):g} of {sum(row.out_of for row in rows):g} points"
    return render("feedback.html.j2", package="mintad.course.grade", student=student, total=total, tables=tables)


def _rows(
    student: str,
    points: Points,
    result: dict[str, Any] | None,
    problem: str,
    notes: Mapping[tuple[str, str], str],
) -> list[Row]:
    verdicts = {(v["notebook"], v["exercise"]): v for v in (result or {}).get("verdicts", ())}
    missing = {"state": "", "message": problem or "the notebook was not handed in"}
    rows = []
    for notebook, items in points.notebooks.items():
        for exercise, item in items.items():
            verdict = verdicts.get((notebook, exercise), missing)
            share = {FULL: 1.0, PARTIAL: points.partial}.get(verdict["state"], 0.0)
            message = "; ".join(filter(None, [verdict["message"], notes.get((student, notebook))]))
            earned = share * item.points
            rows.append(Row(student, notebook, exercise, earned, item.points, message, item.rubric))
    return rows
