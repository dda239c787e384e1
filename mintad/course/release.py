"""Student notebooks: without solutions and answers, with the exercises' checks and nbgrader's metadata.

What a release hides are the solutions and answers that stand in the notebooks. It cannot hide the package: a student
can import it, so the reference functions behind the checks and the published repository stay readable. What counts is
therefore decided by `mintad course grade`, which runs without the reference functions and draws hidden cases by seed.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import re
from collections import namedtuple
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from mintad.course.exercises import UNSOLVED, Exercise, exercises_of, source_of
from mintad.course.points import FILE, Points, load_points, points_text
from mintad.course.students import FILE as STUDENTS_FILE
from mintad.course.students import read_students, with_own_data, write_students
from mintad.disk import BESIDE_PACKAGE, write
from mintad.errors import ConfigError, DataError

log = logging.getLogger(__name__)
ANSWERS = re.compile(r"\n*<details><summary>(Solution|Answer)[^<]*</summary>.*?</details>", re.DOTALL)
SOLUTION_TAG = "solution"  # of cells that are left out, because they solve an exercise of another notebook
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
RUNS_ON = "raises-exception"  # Jupyter's tag: if the cell fails, "Run all" goes on
SCHEMA = 3
NOTEBOOKS, STUDENTS = "notebooks", "students"
SETTINGS = "nbgrader_config.py"  # of every release, for the instructor
SYMBOLS = "SYMBOLS.md"  # the page beside the notebooks that they link to
Released = namedtuple("Released", ["notebooks", "points"])
"""What `release` has written: the notebooks' paths, and the points file's."""

NBGRADER = '''"""nbgrader's settings: here, `nbgrader generate_assignment notebooks` makes the assignment."""

c = get_config()  # noqa: F821 - nbgrader defines it
c.CourseDirectory.course_id = "mintad"
c.CourseDirectory.source_directory = "."
# All of nbgrader's steps but ClearSolutions: there is no solution left, and "NAME = None" must stay.
steps = "IncludeHeaderFooter LockCells ClearOutput CheckCellMetadata ComputeChecksums SaveCells CheckCellMetadata"
c.GenerateAssignment.preprocessors = [f"nbgrader.preprocessors.{name}" for name in steps.split()]
'''


def release(
    out: str | Path,
    names: Sequence[str] = (),
    *,
    source: str | Path | None = None,
    points: str | Path | None = None,
    students: str | Path | None = None,
) -> Released:
    """Write OUT/notebooks for the students, and beside it OUT/points.yaml and nbgrader_config.py for the instructor.

    Links lead to what is in the release, such as the page of symbols; links out of it become plain text.
    With `students`, each gets notebooks on pictures of their own, in OUT/students/NAME. A points file that is there is
    kept and used, so that it can be edited before the notebooks are released again.

    Args:
        out: folder.
        names: beginnings of notebook names ("03", "07_inr"); all if empty.
        source: folder of the instructor's notebooks; by default ./notebooks, else the one beside the package.
        points: points file, instead of OUT/points.yaml and the defaults.
        students: CSV, see `read_students`; their numbers are written to OUT/students.csv, for the grader.

    Raises:
        ConfigError: the points file is wrong, or an exercise is in it with another check.
        DataError: there is no such notebook, or it or the students' file cannot be read.
    """
    out, paths = Path(out), find_notebooks(names, source)
    if out.resolve() / NOTEBOOKS == paths[0].parent.resolve():
        fix = "choose another folder for the release"
        raise DataError("the release would overwrite the notebooks that it is made from", path=out, fix=fix)
    here = out / FILE
    given = Path(points) if points else here if here.exists() else None
    table = load_points(given)
    for path in paths:
        if path.stem not in table.notebooks and exercises_of(read_notebook(path)):
            text = "%s has no exercise of %s, so they are released with 0 points; remove the file to have the defaults"
            log.warning(text, given, path.name)
    numbers = read_students(students) if students else {}
    notebooks = {path.name: student_notebook(read_notebook(path), path.stem, table) for path in paths}
    symbols = paths[0].with_name(SYMBOLS)
    page = symbols.read_text(encoding="utf-8") if symbols.is_file() else None
    _write(out / NOTEBOOKS, notebooks, page)
    for student, number in numbers.items():
        _write(out / STUDENTS / student, {name: with_own_data(n, number) for name, n in notebooks.items()}, page)
    if numbers:
        write_students(out / STUDENTS_FILE, numbers)
    if not given:
        write(here, points_text([path.stem for path in paths]))
    write(out / SETTINGS, NBGRADER)
    return Released([out / NOTEBOOKS / path.name for path in paths], given or here)


def student_notebook(notebook: dict[str, Any], name: str, points: Points) -> dict[str, Any]:
    """Return a notebook as students get it.

    Args:
        notebook: the instructor's, as JSON.
        name: the notebook's, without suffix; it names its entry among the points.
        points: an exercise that is not in them is released with 0 points.

    Raises:
        ConfigError: the points name another check for an exercise.
    """
    items = points.notebooks.get(name, {})
    asked = {exercise.cell: exercise for exercise in exercises_of(notebook)}
    for exercise in asked.values():
        if exercise.name in items and items[exercise.name].check != exercise.check:
            wrong = items[exercise.name].check
            raise ConfigError(f"{name}.{exercise.name}: the check is {exercise.check}, not {wrong}", path=FILE)
    cells = []
    for n, cell in enumerate(copy.deepcopy(notebook["cells"])):
        if SOLUTION_TAG in cell["metadata"].get("tags", ()):
            continue
        cell["source"] = source_of(cell)
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        else:
            cell["source"] = ANSWERS.sub("", cell["source"])
        worth = items[asked[n].name].points if n in asked and asked[n].name in items else 0
        cells += _split(cell, asked[n], worth) if n in asked else [cell]
    return {**notebook, "cells": cells}


def _split(cell: dict[str, Any], exercise: Exercise, points: float) -> list[dict[str, Any]]:
    """Return the cell that the student fills, and the locked one that checks the student's own function."""
    name, check = exercise.name, copy.deepcopy(cell)
    asked = UNSOLVED.search(cell["source"])
    rest = (cell["source"][: asked.start()] + cell["source"][asked.end() :]).strip("\n")
    cell["source"] = asked[0]
    check["source"] = re.sub(rf"(\.check_\w+\(){name} or \w+\.reference_\w+", rf"\1{name}", rest)
    check["id"] = f"{cell['id'][:58]}-check"
    check["metadata"]["tags"] = [*check["metadata"].get("tags", ()), RUNS_ON]
    _mark(cell, name, grade=False)
    _mark(check, f"{name}-check", grade=True, points=points)
    return [cell, check]


def _mark(cell: dict[str, Any], grade_id: str, *, grade: bool, points: float = 0.0) -> None:
    """Add nbgrader's metadata: a locked cell of tests (grade) or an open cell for the solution."""
    kind = cell["cell_type"]
    marks = {"schema_version": SCHEMA, "grade_id": grade_id, "cell_type": kind, "task": False}
    marks |= {"grade": grade, "locked": grade, "solution": not grade} | ({"points": points} if grade else {})
    hashed = [cell["source"], kind, str(grade), str(not grade), str(grade), grade_id]  # as nbgrader computes it
    hashed += [str(float(points))] if grade else []
    digest = hashlib.md5("".join(hashed).encode(), usedforsecurity=False)
    cell["metadata"]["nbgrader"] = marks | {"checksum": digest.hexdigest()}


def _write(folder: Path, notebooks: dict[str, dict[str, Any]], symbols: str | None) -> None:
    """Write notebooks and the page of symbols into a folder; links to what is not in it become plain text."""
    folder.mkdir(parents=True, exist_ok=True)
    there = {*notebooks, *(path.name for path in folder.glob("*.ipynb")), *([SYMBOLS] if symbols else [])}
    for name, notebook in notebooks.items():
        cells = [
            cell | {"source": _linked(cell["source"], there)} if cell["cell_type"] == "markdown" else cell
            for cell in notebook["cells"]
        ]
        write(folder / name, json.dumps({**notebook, "cells": cells}, indent=1, ensure_ascii=False) + "\n")
    if symbols:
        write(folder / SYMBOLS, _linked(symbols, there))


def _linked(text: str, there: Collection[str]) -> str:
    """Return Markdown whose relative links all lead to one of the files `there`; of the others the text stays."""

    def kept(link: re.Match[str]) -> str:
        file = link["target"].partition("#")[0]
        elsewhere = not file or "://" in file or file.startswith("mailto:")
        return link[0] if elsewhere or file in there else link["text"]

    return LINK.sub(kept, text)


def find_notebooks(names: Sequence[str], source: str | Path | None) -> list[Path]:
    """Return the instructor's notebooks; arguments and errors as in `release`."""
    beside = BESIDE_PACKAGE / NOTEBOOKS
    folder = Path(source or (NOTEBOOKS if Path(NOTEBOOKS).is_dir() else beside))
    every = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not every:
        raise DataError("no notebook of the series is here", path=folder, fix="name the folder with --source")
    for name in names:
        if not any(path.name.startswith(name) for path in every):
            raise DataError(f"no notebook begins with '{name}'", path=folder)
    return [path for path in every if not names or path.name.startswith(tuple(names))]


def read_notebook(path: Path) -> dict[str, Any]:
    """Read a notebook as JSON; raise DataError where the file is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"this is not a notebook: {error}", path=path) from error
