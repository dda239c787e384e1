"""Submissions as files: how they are found, what is copied, and what grades and pages hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from mintad.course.grade.feedback import write_grades
from mintad.course.grade.isolation import copy_files
from mintad.course.grade.submissions import notebooks_in, read_submissions
from mintad.course.points import Item, Points
from mintad.errors import DataError


def test_a_file_with_the_name_of_the_sandboxs_own_folder_harms_nobody(tmp_path):
    for folder in ("in", "in/deeper", "out"):
        (tmp_path / folder).mkdir()
    for file in (".tmp", "deeper/.tmp", "a.py"):
        (tmp_path / "in" / file).touch()
    copy_files(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out/.tmp").is_dir() and (tmp_path / "out/deeper/.tmp").is_file()
    assert (tmp_path / "out/a.py").is_file()


def test_notebooks_are_found_by_name_or_number(tmp_path):
    names = ["03_data_and_features", "05_class_aware_queries"]
    for file in ("03_mine.ipynb", "copy/03_data_and_features.ipynb", "05_copy.ipynb", "notes.ipynb", "99_x.ipynb"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("{}")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints/05_class_aware_queries.ipynb").write_text("{}")
    assert notebooks_in(tmp_path, names) == {names[0]: "copy/03_data_and_features.ipynb", names[1]: "05_copy.ipynb"}


def test_folders_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_submissions([tmp_path / "anna"])
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="none of these is a folder"):
        read_submissions([tmp_path / "file"])
    for group in ("a", "b"):
        (tmp_path / group / "anna").mkdir(parents=True)
    with pytest.raises(DataError, match="two folders have the name 'anna'"):
        read_submissions([tmp_path / "a/anna", tmp_path / "b/anna"])


def test_a_link_in_a_submission_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("1")
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna/link").symlink_to(tmp_path / "secret")
    before = read_submissions([tmp_path / "anna"])[0].digest
    (tmp_path / "secret").write_text("2")
    assert read_submissions([tmp_path / "anna"])[0].digest == before
    (tmp_path / "anna/new").write_text("1")
    assert read_submissions([tmp_path / "anna"])[0].digest != before


def test_grades_and_pages_hold_everything_and_run_nothing(tmp_path):
    points = Points({"03_x": {"fuse": Item("features.fuse", 2, "a <b>"), "other": Item("features.fuse", 4)}}, 0.5)
    verdicts = [
        {"notebook": "03_x", "exercise": "fuse", "state": "solved", "message": "solved"},
        {"notebook": "03_x", "exercise": "other", "state": "check only", "message": "=HYPERLINK(1) <script>x</script>"},
    ]
    grades = write_grades(tmp_path, points, {"anna": {"verdicts": verdicts}, "ben": {"verdicts": []}}, {"eve": "big"})
    assert grades.totals == {"anna": (4, 6), "ben": (0, 6), "eve": (0, 6)}
    lines = grades.table.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "student,notebook,exercise,points,out of,message" and len(lines) == 7
    assert lines[2] == "anna,03_x,other,2,4,'=HYPERLINK(1) <script>x</script>"
    assert lines[3].endswith("0,2,the notebook was not handed in") and lines[5].endswith("0,2,big")
    page = (tmp_path / "feedback/anna.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;x" in page and "<script>x" not in page and "a &lt;b&gt;" in page and len(page) < 50_000


def test_a_folder_that_is_too_large_or_cannot_be_read_costs_its_author_alone(tmp_path, monkeypatch):
    for name in ("anna", "ben", "cem"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "03_data_and_features.ipynb").write_text("{}")
    with (tmp_path / "ben/large").open("wb") as file:
        file.truncate(2**30)
    read = Path.read_bytes

    def refused(path):
        if path.parent.name == "cem":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    problems = {s.student: s.problem for s in read_submissions(tmp_path.iterdir())}
    assert problems["anna"] == "" and "more than 256 MB" in problems["ben"] and "Permission denied" in problems["cem"]
