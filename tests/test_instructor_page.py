"""The instructor's page: its timetables have every exercise once, with the points of the package."""

from __future__ import annotations

import re

import pytest
from grade_builders import FOLDER

from mintad.course.points import load_points

PAGE = (FOLDER / "INSTRUCTOR.md").read_text(encoding="utf-8")
POINTS = {name[:2]: [item.points for item in items.values()] for name, items in load_points().notebooks.items()}


def points_of(cell: str, notebook: str) -> list[tuple[str, int, float, float]]:
    """(notebook, exercise, points printed for the group, points of the group) for each exercise that a cell names."""
    found = []
    for name, numbers, printed in re.findall(r"(?:(\d\d): )?([\d–, ]+) \((\d+)\)", cell):
        wanted = set()
        for part in numbers.split(","):
            first, _, last = part.strip().partition("–")
            wanted |= set(range(int(first), int(last or first) + 1))
        group = sum(POINTS[name or notebook][n - 1] for n in wanted)
        found += [(name or notebook, n, float(printed), group) for n in sorted(wanted)]
    return found


MORE = re.compile(r"(\d\d(?:(?:, | and )\d\d)*) for those who want to know more \((\d+)\)")


@pytest.mark.parametrize("title", ["Twelve", "Six"])
def test_a_timetable_has_every_exercise_once_with_its_points(title):
    table = PAGE.partition(f"## {title} sessions")[2].partition("\n## ")[0]
    more = MORE.search(table)
    all_but = set(re.findall(r"\d\d", more[1])) if more else set()
    assert not more or sum(sum(POINTS[name]) for name in all_but) == float(more[2])
    seen = []
    for row in (line.split("|")[1:-1] for line in table.splitlines() if re.match(r"\| \d", line)):
        notebook = re.findall(r"\b(\d\d)\b", row[1])[-1]
        for cell in row[-2:]:
            seen += points_of(MORE.sub("", cell), notebook)
    assert all(printed == group for _, _, printed, group in seen), seen
    exercises = [(name, n) for name, items in POINTS.items() if name not in all_but for n in range(1, len(items) + 1)]
    assert sorted((name, n) for name, n, _, _ in seen) == sorted(exercises)
    assert f"{sum(map(sum, POINTS.values())):g} in all" in PAGE
