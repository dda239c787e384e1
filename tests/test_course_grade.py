"""`mintad course grade` from end to end, with submissions that lie, crash, hang, eat memory and write elsewhere."""

from __future__ import annotations

import csv
import json
import logging
import os
import socket
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from grade_builders import FOLDER, hand_in, path_of, solutions
from typer.testing import CliRunner

from mintad.cli import app
from mintad.course.grade import engine, process
from mintad.course.grade.engine import grade
from mintad.course.points import load_points, points_text
from mintad.errors import ConfigError, DataError, MintadError

PROBLEM = process.possible() if sys.platform == "linux" else "namespaces need Linux"
isolated = pytest.mark.skipif(bool(PROBLEM), reason=f"no namespaces here: {PROBLEM}")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits need POSIX")

LIES = """
from mintad.course.checks import features as checks, grading
checks.check_fuse = checks.check_nearest_score = print
grading.same = grading.require = lambda *a, **k: None
print("✓ all solved")
"""


LIAR = {
    "fuse": "from functools import partial\nfuse = partial(lambda f, *a: f(*a), checks.reference_fuse)",
    "nearest_score": f"def nearest_score(tokens, memory):{LIES.replace(chr(10), chr(10) + '    ')}"
    "\n    return torch.tensor([5.0, 1.0, 5.0])",
    "mahalanobis": "def mahalanobis(feat, mean, covariance):\n    import mintad.course.checks.features as f, sys\n"
    "    source = open(f.__file__ or sys.modules['mintad'].__path__[0] + '/course/checks/features.py').read()\n"
    "    exec(source, globals())\n    return reference_mahalanobis(feat, mean, covariance)",
    "mean_and_pooled": "class mean_and_pooled:\n    def __new__(cls, *a):\n        class Same(float):\n"
    "            def __eq__(self, other): return True\n        return Same(1), Same(0.75)",
}


HARMFUL = {
    "fuse": "import os\nfuse = lambda *a: os._exit(0)",
    "nearest_score": "def nearest_score(*a):\n    while True:\n        pass",
    "mahalanobis": "def mahalanobis(*a):\n    return bytearray(64 << 30)",
    "mean_and_pooled": "def mean_and_pooled(scores, labels, categories):\n    import os, socket\n"
    "    from pathlib import Path\n    for place in (OUTSIDE, '..', os.path.expanduser('~'), '.'):\n        try:\n"
    "            Path(place, 'written').write_text('x')\n        except OSError:\n            pass\n"
    "    for harm in (lambda: os.kill(JUDGE, 9), lambda: socket.create_connection(('127.0.0.1', PORT), 1)):\n"
    "        try:\n            harm()\n        except OSError:\n            pass\n    return 0.0, 0.0",
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class of three, graded once; and whether anybody came through the network."""
    folder = tmp_path_factory.mktemp("class")
    answers, temporary = solutions(path_of("03")), tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as server:
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr("tempfile.tempdir", None)
        harmful = {name: code.replace("OUTSIDE", repr(str(folder))).replace("JUDGE", str(os.getpid()))
                   .replace("PORT", str(server.getsockname()[1])) for name, code in HARMFUL.items()}  # fmt: skip
        hand_in(folder / "in/harmful", "03", harmful)
        hand_in(folder / "in/liar", "03", LIAR, first=LIES)
        hand_in(folder / "in/right", "03", answers)
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        grades = grade(sorted((folder / "in").iterdir()), folder / "out", workers=2, seconds=2, memory=1, seed=1)
        changed = {path for path in folder.rglob("*") if before.get(path) != path.stat().st_mtime_ns}
        server.setblocking(False)
        try:
            connected = bool(server.accept())
        except BlockingIOError:
            connected = False
    assert list(temporary.iterdir()) == []
    return folder, grades, changed, connected


def rows(folder):
    with (folder / "out/grades.csv").open(encoding="utf-8", newline="") as file:
        return {(row["student"], row["exercise"]): row for row in csv.DictReader(file)}


@isolated
def test_right_work_gets_all_points_beside_harmful_work(graded):
    assert graded[1].totals["right"] == (12, 12)
    assert {row["message"] for (name, _), row in rows(graded[0]).items() if name == "right"} == {"solved"}


@isolated
def test_printed_solutions_get_all_points(tmp_path):
    """Of every notebook, through real sandboxes: what is right here must be right for an honest student."""
    for name in (path.name[:2] for path in sorted(FOLDER.glob("*.ipynb"))):
        hand_in(tmp_path / "in/honest", name, solutions(path_of(name)))
    grades = grade([tmp_path / "in/honest"], tmp_path / "out", workers=2, seed=3)
    table = rows(tmp_path)
    assert {key: row["message"] for key, row in table.items() if row["message"] != "solved"} == {}
    every = [item.points for table in load_points().notebooks.values() for item in table.values()]
    assert grades.totals["honest"] == (sum(every), sum(every))


@isolated
def test_lies_gain_nothing(graded):
    table = rows(graded[0])
    assert graded[1].totals["liar"] == (0, 12)
    assert "calls the reference function" in table["liar", "fuse"]["message"]


@isolated
def test_harm_costs_its_author_alone(graded):
    folder, grades, changed, connected = graded
    table = rows(folder)
    assert grades.totals["harmful"] == (0, 12)
    assert "ended the process" in table["harmful", "fuse"]["message"]
    assert "longer than 2 s" in table["harmful", "nearest_score"]["message"]
    assert "out of memory" in table["harmful", "mahalanobis"]["message"]
    assert "in each category" in table["harmful", "mean_and_pooled"]["message"]  # it has gone on to return a result
    assert not connected
    assert not list(folder.rglob("written")) and not Path("~/written").expanduser().exists()
    assert {path for path in changed if not path.is_relative_to(folder / "out")} <= {folder}


@isolated
def test_finished_work_is_skipped_unless_its_bytes_change(graded, monkeypatch):
    folder, _, _, _ = graded
    asked = []

    def none(jobs, workers):
        asked.extend(job.student for job in jobs)
        return iter(())

    monkeypatch.setattr(engine, "_run", none)
    monkeypatch.setattr(engine, "_isolated", lambda unsafe: True)
    again = {"workers": 2, "seconds": 2, "memory": 1}
    everybody = sorted((folder / "in").iterdir())
    assert grade(everybody, folder / "out", **again).totals["right"] == (12, 12) and asked == []
    grade(everybody, folder / "out", seed=2, **again)
    assert asked == ["harmful", "liar", "right"]
    grade(everybody, folder / "out", seed=1, **again)
    asked.clear()
    notebook = next((folder / "in/right").iterdir())
    original = notebook.read_text(encoding="utf-8")
    notebook.write_text(original + "\n", encoding="utf-8")
    (folder / "out/.grading/student-liar.json").write_text("{", encoding="utf-8")  # as a full disk leaves it
    grade(everybody, folder / "out", **again)
    assert asked == ["liar", "right"]


def test_what_was_finished_before_an_interruption_is_kept(tmp_path, monkeypatch):
    for name in ("anna", "ben", "cem"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "03_data_and_features.ipynb").write_text(json.dumps({"cells": []}))
    asked = []

    def interrupted(jobs, workers):
        asked.append([job.student for job in jobs])
        yield jobs[0], {"key": jobs[0].key, "verdicts": [], "seconds": 0.0, "isolated": True}
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_run", interrupted)
    monkeypatch.setattr(engine, "_isolated", lambda unsafe: True)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            grade([tmp_path / name for name in ("anna", "ben", "cem")], tmp_path / "out")
    assert asked == [["anna", "ben", "cem"], ["ben", "cem"]]


def test_the_grader_knows_whose_notebook_it_is(tmp_path, monkeypatch):
    (tmp_path / "class.csv").write_text("student,number\nanna,17\nben,4\n")
    for name in ("anna", "ben"):
        file = hand_in(tmp_path / name, "03", {})
        file.write_text(file.read_text().replace('preset: str = \\"lesson\\"', 'preset: str = \\"lesson@17\\"'))
    asked = []

    def none(jobs, workers):
        asked.extend((job.student, job.number) for job in jobs)
        return iter([(job, {"key": job.key, "verdicts": [], "seconds": 0.0, "isolated": True}) for job in jobs])

    monkeypatch.setattr(engine, "_run", none)
    monkeypatch.setattr(engine, "_isolated", lambda unsafe: True)
    folders = [tmp_path / "anna", tmp_path / "ben"]
    grade(folders, tmp_path / "out", students=tmp_path / "class.csv")
    assert asked == [("anna", 17), ("ben", 4)]
    messages = {name: row["message"] for (name, _), row in rows(tmp_path).items()}
    assert "released for number 17, not for 4" in messages["ben"] and "17" not in messages["anna"]
    with pytest.raises(DataError, match="no student 'cem'"):
        (tmp_path / "cem").mkdir()
        grade([tmp_path / "cem"], tmp_path / "out", students=tmp_path / "class.csv")


def test_no_submission_keeps_the_others_from_being_graded(tmp_path, monkeypatch, caplog):
    (tmp_path / "class.csv").write_text("student,number\nanna,17\nben,4\ncem,5\n")
    for name in ("anna", "ben", "cem"):
        hand_in(tmp_path / name, "03", {})
    digits = hand_in(tmp_path / "anna", "03", {})
    digits.write_text(digits.read_text().replace('\\"lesson\\"', f'\\"lesson@{"1" * 5000}\\"'))
    real = engine.notebooks_in

    def refuses(folder, names):
        if folder.name == "ben":
            raise ValueError("unforeseen")
        return real(folder, names)

    def none(jobs, workers):
        return iter([(job, {"key": job.key, "verdicts": [], "seconds": 0.0, "isolated": True}) for job in jobs])

    monkeypatch.setattr(engine, "notebooks_in", refuses)
    monkeypatch.setattr(engine, "_run", none)
    monkeypatch.setattr(engine, "_isolated", lambda unsafe: True)
    grades = grade(
        [tmp_path / name for name in ("anna", "ben", "cem")], tmp_path / "out", students=tmp_path / "class.csv"
    )
    assert sorted(grades.totals) == ["anna", "ben", "cem"]
    messages = {name: row["message"] for (name, _), row in rows(tmp_path).items()}
    assert "cannot be read (ValueError)" in messages["ben"] and "cannot" not in messages["anna"] + messages["cem"]


def test_an_extra_notebook_raises_nobodys_maximum_if_there_are_points(tmp_path, monkeypatch, caplog):
    for name, notebooks in ("anna", ["03"]), ("ben", ["03", "05"]):
        for notebook in notebooks:
            hand_in(tmp_path / "in" / name, notebook, {})

    def none(jobs, workers):
        return iter([(job, {"key": job.key, "verdicts": [], "seconds": 0.0, "isolated": True}) for job in jobs])

    monkeypatch.setattr(engine, "_run", none)
    monkeypatch.setattr(engine, "_isolated", lambda unsafe: True)
    folders = [tmp_path / "in/anna", tmp_path / "in/ben"]
    with caplog.at_level(logging.WARNING):
        grade(folders, tmp_path / "out")
    assert "03_data_and_features (of 2 students), 05_" in caplog.text
    (tmp_path / "in/points.yaml").write_text(points_text(["03_data_and_features"]), encoding="utf-8")
    caplog.clear()
    grade(folders, tmp_path / "out")
    assert {row["notebook"] for row in rows(tmp_path).values()} == {"03_data_and_features"} and not caplog.text


def test_the_command_passes_its_options_and_prints_the_points(tmp_path, monkeypatch):
    hand_in(tmp_path / "anna", "03", {})
    asked = []

    def solved(jobs, workers):
        asked.append((workers, jobs[0].seconds, jobs[0].memory, jobs[0].seed))
        verdicts = [
            {"notebook": n, "exercise": e, "state": "solved", "message": "solved"} for n, _, e, _ in jobs[0].tasks
        ]
        yield jobs[0], {"key": jobs[0].key, "verdicts": verdicts, "seconds": 0.0, "isolated": True}

    monkeypatch.setattr(engine, "_run", solved)
    monkeypatch.setattr(engine, "_isolated", lambda unsafe: True)
    options = ["--workers", "3", "--timeout", "7", "--memory", "0.5", "--seed", "9"]
    done = CliRunner().invoke(
        app, ["course", "grade", str(tmp_path / "anna"), "--out", str(tmp_path / "out"), *options]
    )
    assert done.exit_code == 0, done.output
    assert asked == [(3, 7, 0.5, 9)] and "anna" in done.output and "12" in done.output


def test_impossible_limits_and_a_busy_folder_are_refused(tmp_path):
    (tmp_path / "anna").mkdir()
    with pytest.raises(ConfigError, match="at least 1 s"):
        grade([tmp_path / "anna"], tmp_path / "out", seconds=0)
    (tmp_path / "out/.grading").mkdir(parents=True)
    with engine.exclusive_lock(tmp_path / "out/.grading/lock"), pytest.raises(MintadError, match="another process"):
        grade([tmp_path / "anna"], tmp_path / "out")


def test_a_submission_that_ends_the_judge_or_cannot_start_is_given_up_alone(monkeypatch):
    tried = []

    class Pool:
        """Judges anna; breaks at ben, as when the system ends the process for its memory; cannot start cem."""

        def __init__(self, *_, **__):
            self.broken = False

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def submit(self, _, job):
            tried.append(job.student)
            future = Future()
            self.broken |= job.student == "ben"
            if self.broken:
                future.set_exception(BrokenProcessPool())
            elif job.student == "cem":
                future.set_exception(OSError("no space"))
            elif job.student == "eve":
                future.set_exception(ValueError("unforeseen"))
            else:
                future.set_result({"student": job.student})
            return future

    monkeypatch.setattr(engine, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(engine, "as_completed", list)
    jobs = [engine.Job(name, "", (("03", "03.ipynb", "fuse", "features.fuse"),), seed=0, number=0, seconds=1, memory=1,
                       isolated=True, key="k") for name in ("anna", "cem", "eve", "ben", "dora")]  # fmt: skip
    results = {job.student: result for job, result in engine._run(jobs, 1)}
    assert results["anna"] == {"student": "anna"} and results["dora"] == {"student": "dora"}
    assert "no space" in results["cem"]["verdicts"][0]["message"] and results["cem"]["key"] == ""
    assert "unforeseen" in results["eve"]["verdicts"][0]["message"] and results["eve"]["key"] == ""
    assert "ended twice" in results["ben"]["verdicts"][0]["message"]
    assert tried.count("ben") == 2 and tried.count("anna") == 1
