"""The answer key: every solution with its points, and nothing of it in a release."""

from __future__ import annotations

import json

import pytest
from grade_builders import FOLDER, solutions
from typer.testing import CliRunner

from mintad.cli import app
from mintad.course.exercises import exercises_of
from mintad.course.key import key_of, write_key
from mintad.course.points import load_points
from mintad.course.release import release
from mintad.errors import DataError

PATHS = sorted(FOLDER.glob("*.ipynb"))


def test_the_key_has_every_solution_with_its_points_and_a_release_has_none(tmp_path):
    key = write_key(tmp_path / "key.md", source=FOLDER).read_text(encoding="utf-8")
    points = load_points()
    release(tmp_path / "class", source=FOLDER)
    handed_out = [path.read_text(encoding="utf-8") for path in (tmp_path / "class/notebooks").iterdir()]
    pages = [path.name for path in (tmp_path / "class").rglob("*.md")]
    assert pages == ["SYMBOLS.md"], "neither key nor instructor's page is handed out"
    for path in PATHS:
        _, _, part = key.partition(f"## {path.stem}\n")
        for name, code in solutions(path).items():
            item = points.notebooks[path.stem][name]
            where = part.index(f"`{name}`, {item.points:g} points: {item.rubric}")
            assert part.index(code.strip()) > where, f"the solution of {name} stands below its rubric"
            assert not any(json.dumps(code.strip())[1:-1] in text for text in handed_out)


def test_answers_to_questions_stand_under_their_heading():
    details = "<details><summary>{}</summary>\n\n{}\n\n</details>"
    cells = [
        "## 1 · A part\n\nText.\n\n" + details.format("Hint", "no answer"),
        "## Questionnaire\n\n1. Why?\n\n" + details.format("Answers", "1. Because.") + "\n2. How?\n",
        details.format("Answer to 2", "So."),
    ]
    notebook = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": text} for text in cells]}
    text = key_of(notebook, "03_x", load_points())
    assert text == "## 03_x\n\n### Questionnaire\n\n1. Because.\n\n### Questionnaire\n\nSo.\n"
    assert key_of({"cells": []}, "03_x", load_points()) == ""


def test_every_exercise_has_a_solution_in_the_key():
    for path in PATHS:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert set(solutions(path)) == {exercise.name for exercise in exercises_of(notebook)}


def test_a_key_does_not_go_where_students_get_their_notebooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "class.csv").write_text("student\nanna\n", encoding="utf-8")
    release(tmp_path / "rel", ["07"], source=FOLDER, students=tmp_path / "class.csv")
    inside = ("notebooks/key.md", "rel/notebooks/sub/key.md", "rel/students/anna/key.md", "rel/students/key.md")
    for place in (*inside, "new/notebooks/key.md"):
        for path in (tmp_path / place, place):
            with pytest.raises(DataError, match="must not lie"):
                write_key(path, ["07"], source=FOLDER)
            assert not (tmp_path / place).exists()
    assert write_key("rel/key.md", ["07"], source=FOLDER).exists(), "beside the points file, which is the instructor's"
    assert write_key("students/notebooks/mine/key.md", ["07"], source=FOLDER).exists(), "no release is here"
    done = CliRunner().invoke(app, ["course", "key", str(tmp_path / "key.md"), "07", "--source", str(FOLDER)])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "key.md").read_text(encoding="utf-8")
    assert "## 07_inr_query" in text and "## 03" not in text
