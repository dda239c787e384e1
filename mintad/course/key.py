"""The answer key of the course, put together from the solutions and answers that the instructor's notebooks hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mintad.course.exercises import HEADING, exercises_of, source_of
from mintad.course.points import Points, load_points
from mintad.course.release import ANSWERS, NOTEBOOKS, SETTINGS, SOLUTION_TAG, STUDENTS, find_notebooks, read_notebook
from mintad.disk import write
from mintad.errors import DataError

START = "# Answer key\n\nNot for students: `mintad course key` made it from the notebooks' solutions and answers.\n"


def write_key(
    out: str | Path, names: Sequence[str] = (), *, source: str | Path | None = None, points: str | Path | None = None
) -> Path:
    """Write the answer key as one Markdown file and return its path.

    Args:
        out: the file; not in a folder ``notebooks``, and not in a release's folders of notebooks, which are handed out.
        names, source: which notebooks, as in `mintad.course.release.release`.
        points: points file; None for the defaults.

    Raises:
        ConfigError: the points file is wrong.
        DataError: there is no such notebook, or it cannot be read, or `out` is where students would get it.
    """
    out, table = Path(out), load_points(Path(points) if points else None)
    if _handed_out(out.resolve()):
        raise DataError("a key must not lie among the notebooks for students", path=out, fix="choose another folder")
    parts = [key_of(read_notebook(path), path.stem, table) for path in find_notebooks(names, source)]
    out.parent.mkdir(parents=True, exist_ok=True)
    write(out, "\n".join([START, *filter(None, parts)]))
    return out


def _handed_out(path: Path) -> bool:
    """Whether a file lies in a folder ``notebooks``, or at any depth in what a release hands out."""
    handed_out = [folder for folder in path.parents if folder.name in (NOTEBOOKS, STUDENTS)]
    return path.parent.name == NOTEBOOKS or any((folder.parent / SETTINGS).exists() for folder in handed_out)


def key_of(notebook: dict[str, Any], name: str, points: Points) -> str:
    """Return the key of one notebook: its exercises with points, rubric and solution, then all other answers."""
    items, asked = points.notebooks.get(name, {}), {e.title: e for e in exercises_of(notebook)}
    lines, heading = [], ""
    for cell in notebook["cells"]:
        source = source_of(cell)
        if cell["cell_type"] == "code":
            if SOLUTION_TAG in cell["metadata"].get("tags", ()):
                lines += [f"### Solved in the notebook itself\n\n```python\n{source}\n```\n"]
            continue
        found = {match.start(): match["title"] for match in HEADING.finditer(source)}
        found |= {n: line.lstrip("# ") for n, line in _headings(source) if n not in found}
        for answer in ANSWERS.finditer(source):
            heading = found[max(above)] if (above := [n for n in found if n < answer.start()]) else heading
            lines.append(f"### {heading}\n")
            exercise = asked.get(heading)
            if exercise and exercise.name in items:
                item = items[exercise.name]
                lines.append(f"`{exercise.name}`, {item.points:g} points: {item.rubric}\n")
            lines.append(_inside(answer[0]) + "\n")
        heading = found[max(found)] if found else heading
    return "\n".join([f"## {name}\n", *lines]) if lines else ""


def _headings(source: str) -> list[tuple[int, str]]:
    """Return the position and text of the Markdown headings of a cell, those in code blocks left out."""
    headings, position, code = [], 0, False
    for line in source.splitlines(keepends=True):
        code ^= line.startswith("```")
        if line.startswith("#") and not code:
            headings.append((position, line.strip()))
        position += len(line)
    return headings


def _inside(details: str) -> str:
    """Return what a folded block holds, without its title."""
    return details.partition("</summary>")[2].rpartition("</details>")[0].strip()
