"""Students of a class and their numbers, from which each may get pictures of `mini` of their own."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

from mintad.course.exercises import source_of
from mintad.disk import read_text
from mintad.errors import DataError

FILE = "students.csv"
PARAMETER = re.compile(r'^(preset: str = "\w+)"', re.MULTILINE)
MOST_DIGITS = 9
RELEASED = re.compile(rb'preset: str = \\?"\w+@(\d{1,%d})\\?"' % MOST_DIGITS)  # as it stands in the file of a notebook


def read_students(path: str | Path) -> dict[str, int]:
    """Return student -> number from a CSV with the column `student` and, if there is one, `number`; else 1, 2, 3, …

    Raises:
        DataError: the file cannot be read, a name cannot name a folder, or a name or a number comes twice.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline="")))
    except csv.Error as error:
        raise DataError(f"cannot be read: {error}", path=path) from error
    if not rows or "student" not in rows[0]:
        raise DataError("there is no column 'student', or no row", path=path)
    numbers: dict[str, int] = {}
    for n, row in enumerate(rows, 1):
        name, number = (row["student"] or "").strip(), (row.get("number") or str(n)).strip()
        if not name or name.startswith(".") or any(letter in name for letter in "/\\:\0"):
            raise DataError(f"row {n}: '{name}' cannot be the name of a student's folder", path=path)
        if not number.isdecimal() or len(number) > MOST_DIGITS:
            wrong = f"not '{number[:20]}'"
            raise DataError(f"row {n}: the number must be a whole number of at most 9 digits, {wrong}", path=path)
        if name in numbers or int(number) in numbers.values():
            raise DataError(f"row {n}: the name '{name}' or the number {number} comes twice", path=path)
        numbers[name] = int(number)
    return numbers


def write_students(path: Path, numbers: dict[str, int]) -> None:
    """Write what `read_students` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("student", "number"), *numbers.items()])


def with_own_data(notebook: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a notebook whose parameter `preset` has the student's number, "lesson@17"; others stay as they are."""
    cells = []
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", ()):
            cell = {**cell, "source": PARAMETER.sub(rf'\1@{number}"', source_of(cell))}
        cells.append(cell)
    return {**notebook, "cells": cells}


def foreign_number(path: Path, number: int) -> int | None:
    """Return the number that was released with a notebook, if it is another student's."""
    found = {int(text) for text in RELEASED.findall(path.read_bytes())}
    return None if not found or number in found else min(found)
