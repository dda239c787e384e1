"""What students get: exercises and checks, no solution, and metadata that nbgrader takes."""

from __future__ import annotations

import ast
import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from grade_builders import FOLDER, solutions
from typer.testing import CliRunner

from mintad.cli import app
from mintad.config import preset
from mintad.course.checks import CheckFailed
from mintad.course.exercises import check_calls, exercises_of, source_of
from mintad.course.points import load_points, points_text
from mintad.course.release import release
from mintad.course.students import foreign_number, read_students
from mintad.errors import ConfigError, DataError

PATHS = sorted(FOLDER.glob("*.ipynb"))
NAMES = {exercise.name for path in PATHS for exercise in exercises_of(json.loads(path.read_text(encoding="utf-8")))}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return release(tmp_path_factory.mktemp("release"), source=FOLDER)


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def pair(request, released):
    """The instructor's notebook and the student's."""
    student = next(path for path in released.notebooks if path.name == request.param.name)
    return request.param, nbformat.read(student, as_version=4)


CLASSES = ("new_model", "own_variant")


def marked(notebook, kind):
    return [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get(kind)]


def test_every_exercise_of_every_notebook_has_points():
    points = load_points()
    for path in PATHS:
        exercises = exercises_of(json.loads(path.read_text(encoding="utf-8")))
        assert {e.name: e.check for e in exercises} == {
            name: item.check for name, item in points.notebooks.get(path.stem, {}).items()
        }, path.stem
    assert set(points.notebooks) <= {path.stem for path in PATHS}
    assert all(item.points > 0 and item.rubric for items in points.notebooks.values() for item in items.values())


def test_no_solution_is_left(pair):
    original, student = pair
    text = "\n".join(cell.source for cell in student.cells)
    assert "<summary>Solution" not in text and "<summary>Answer" not in text
    assert "Questionnaire" in text and not any(answer in text for answer in answers(original))
    assert text.count("<summary>Hint") == source_text(original).count("<summary>Hint")
    for code in solutions(original).values():
        assert code.strip() not in text
    for cell in student.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
            defined = {node.name for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.FunctionDef)}
            assert not defined & NAMES, cell.source


def test_no_other_cell_computes_what_an_exercise_asks_for(pair):
    original, student = pair
    for name, code in solutions(original).items():
        for cell in student.cells:
            if cell.cell_type == "code":
                assert not telling(code) & telling(cell.source), f"{name} is solved in this cell:\n{cell.source}"


class _Bare(ast.NodeTransformer):
    """Forget what a solution may call otherwise: variables, modules, and keywords of arguments."""

    def visit_Name(self, node):
        return ast.Name("_")

    def visit_Attribute(self, node):
        return ast.Name(node.attr) if _dotted(node) else self.generic_visit(node)

    def visit_Call(self, node):
        values = [self.visit(each) for each in (*node.args, *(word.value for word in node.keywords))]
        return ast.Call(node.func if isinstance(node.func, ast.Name) else self.visit(node.func), values, [])


def _dotted(node):
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _dotted(node.value))


def telling(code):
    """The expressions of code that give something away: of three operations, or of a call on another call."""
    operation, found = ast.Call | ast.BinOp | ast.Compare | ast.Subscript, set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, operation):
            chained = isinstance(node, ast.Call) and isinstance(getattr(node.func, "value", None), ast.Call)
            if chained or sum(isinstance(part, operation) for part in ast.walk(node)) >= 3:
                found.add(ast.unparse(_Bare().visit(copy.deepcopy(node))))
    return found


@pytest.mark.parametrize(
    "copied",
    [
        "far = torch.cdist(part, bank).amin(1)",
        "def f(a, b):\n    return [torch.cdist(x, b).amin(dim=1) for x in a]",
    ],
)
def test_a_copy_under_other_names_is_recognised(copied):
    (solution,) = [code for name, code in solutions(FOLDER / "03_data_and_features.ipynb").items() if "near" in name]
    assert telling(solution) & telling(copied)
    assert not telling(solution) & telling("checks.reference_nearest_score(part, bank).mean(dim=1)")


def answers(path):
    """The lines of the folded answers to a questionnaire."""
    (fold,) = re.findall(r"<summary>Answers</summary>(.*?)</details>", source_text(path), re.DOTALL)
    lines = [line.partition(". ")[2] for line in fold.splitlines() if line]
    assert len(lines) >= 3 and all(len(line) > 20 for line in lines)
    return lines


def source_text(path):
    return "\n".join(source_of(cell) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])


def test_each_exercise_is_an_open_cell_and_a_locked_check_without_the_reference(pair):
    original, student = pair
    exercises = exercises_of(json.loads(original.read_text(encoding="utf-8")))
    points = load_points().notebooks.get(original.stem, {})
    assert [cell.source for cell in marked(student, "solution")] == [
        f"{e.name} = None  # replace by your {'class' if e.name in CLASSES else 'function'}" for e in exercises
    ]
    for exercise, cell in zip(exercises, marked(student, "grade"), strict=True):
        (called,) = check_calls(cell.source)
        assert called[0] == exercise.check.split(".")[1]
        assert "reference_" not in cell.source and f"({exercise.name})" in cell.source
        assert cell.metadata.nbgrader.points == points[exercise.name].points
        assert cell.metadata.nbgrader.locked and not cell.metadata.nbgrader.solution
        assert "raises-exception" in cell.metadata.tags  # so that "Run all" goes on
    nbformat.validate(student)
    assert len({cell.id for cell in student.cells}) == len(student.cells)


def test_a_released_check_fails_until_the_exercise_is_solved(released, capsys):
    from mintad.course.checks import features

    student = nbformat.read(next(path for path in released.notebooks if path.name.startswith("03")), as_version=4)
    cell = next(c for c in marked(student, "grade") if c.metadata.nbgrader.grade_id == "nearest_score-check")
    with pytest.raises(CheckFailed, match="not solved yet"):
        exec(cell.source, {"checks": features, "nearest_score": None})
    exec(cell.source, {"checks": features, "nearest_score": features.reference_nearest_score})
    assert "nearest_score" in capsys.readouterr().out


def test_nbgrader_takes_the_metadata(pair):
    nbgrader = pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install 'mintad[nbgrader]'")
    from nbgrader.nbgraderformat import MetadataValidator
    from nbgrader.utils import compute_checksum

    assert nbgrader.nbgraderformat.SCHEMA_VERSION == 3
    MetadataValidator().validate_nb(pair[1])
    for cell in pair[1].cells:
        if "nbgrader" in cell.metadata:
            assert cell.metadata.nbgrader.schema_version == 3
            assert cell.metadata.nbgrader.checksum == compute_checksum(cell)


def test_nbgrader_makes_an_assignment_of_a_release(tmp_path):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install 'mintad[nbgrader]'")
    release(tmp_path, ["03"], source=FOLDER)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # it calls alembic
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", "notebooks"]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"PATH": path}, check=True, capture_output=True)
    from nbgrader.api import Gradebook

    made, given = (tmp_path / f"{folder}notebooks/03_data_and_features.ipynb" for folder in ("release/", ""))
    cells = [[c.source for c in nbformat.read(file, as_version=4).cells] for file in (made, given)]
    assert cells[0] == cells[1]
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        assert gradebook.find_assignment("notebooks").max_score == 12


def test_every_link_of_a_release_leads_to_a_file_in_it(tmp_path):
    (tmp_path / "class.csv").write_text("student\nanna\n", encoding="utf-8")
    for names in (["00", "06"], ["00", "01"], []):
        release(tmp_path / "out", names, source=FOLDER, students=tmp_path / "class.csv")
        for folder in (tmp_path / "out/notebooks", tmp_path / "out/students/anna"):
            texts = {"SYMBOLS.md": (folder / "SYMBOLS.md").read_text(encoding="utf-8")}
            texts |= {path.name: source_text(path) for path in folder.glob("*.ipynb")}
            for name, text in texts.items():
                for target in re.findall(r"\]\(([^)\s#]+)", text):
                    assert target.startswith("https://") or (folder / target).is_file(), (name, target)
            assert "[the page of symbols](SYMBOLS.md)" in texts["00_start_here.ipynb"]
            assert "](01_identical_shortcut.ipynb)" in texts["00_start_here.ipynb"] or names == ["00", "06"]
            assert "`data/README.md`" in texts["00_start_here.ipynb"], "the text of a link stays"


def test_an_edited_points_file_is_kept_and_used(tmp_path, caplog):
    first = release(tmp_path, ["03"], source=FOLDER)
    assert [path.name for path in first.notebooks] == ["03_data_and_features.ipynb"]
    text = first.points.read_text(encoding="utf-8")
    assert list(load_points(first.points).notebooks) == ["03_data_and_features"] and text.startswith("#")
    first.points.write_text(re.sub(r"(fuse:\n.*\n\s+points:) 2", r"\1 7.5", text), encoding="utf-8")
    again = release(tmp_path, ["03"], source=FOLDER)
    cell = marked(nbformat.read(again.notebooks[0], as_version=4), "grade")[0]
    assert cell.metadata.nbgrader.points == 7.5
    assert load_points(again.points).notebooks["03_data_and_features"]["fuse"].points == 7.5
    assert not caplog.records
    release(tmp_path, ["05"], source=FOLDER)
    assert "no exercise of 05_class_aware_queries.ipynb" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("points: 2", "points: -1", "fuse.points is -1"),
        ("points: 2", "points: many", "fuse.points is 'many'"),
        ("points: 2", "point: 2", "unknown key 'point'.*points"),
        ("check: features.fuse", "check: features.fused", "no check 'features.fused'.*features.fuse"),
        ("check: features.fuse", "check: features.mahalanobis", "the check is features.fuse"),
        ("partial: 0", "partial: 50", "a share of the points"),
        ("notebooks:", "notebooks: 3\nrest:", "unknown key 'rest'|notebooks must hold"),
        ("notebooks:", "notebooks: [", "cannot be read"),
    ],
)
def test_a_wrong_points_file_is_refused_by_name(tmp_path, old, new, problem):
    file = tmp_path / "points.yaml"
    file.write_text(points_text(["03_data_and_features"]).replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=problem):
        release(tmp_path / "out", ["03"], source=FOLDER, points=file)
    assert not (tmp_path / "out").exists()


def test_release_refuses_what_it_cannot_do(tmp_path):
    with pytest.raises(DataError, match="begins with '99'"):
        release(tmp_path, ["99"], source=FOLDER)
    with pytest.raises(DataError, match="--source"):
        release(tmp_path, source=tmp_path)
    with pytest.raises(DataError, match="overwrite"):
        release(FOLDER.parent, source=FOLDER)


def test_the_command_releases(tmp_path):
    done = CliRunner().invoke(app, ["course", "release", str(tmp_path), "07", "--source", str(FOLDER)])
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.rglob("*.ipynb")] == ["07_inr_query.ipynb"]
    assert (tmp_path / "nbgrader_config.py").exists() and (tmp_path / "points.yaml").exists()
    assert "students" not in done.output
    (tmp_path / "class.csv").write_text("student\nanna\n", encoding="utf-8")
    command = ["course", "release", str(tmp_path), "07", "--source", str(FOLDER), "--students", f"{tmp_path}/class.csv"]
    assert f"--students {tmp_path / 'students.csv'}" in CliRunner().invoke(app, command).output


def test_each_student_gets_pictures_of_their_own(tmp_path):
    file = tmp_path / "class.csv"
    file.write_text("student,number\nanna,17\nben,4\n", encoding="utf-8")
    release(tmp_path / "out", ["01", "03"], source=FOLDER, students=file)
    assert read_students(tmp_path / "out/students.csv") == {"anna": 17, "ben": 4}
    seeds = {}
    for student in ("anna", "ben"):
        notebook = nbformat.read(tmp_path / f"out/students/{student}/03_data_and_features.ipynb", as_version=4)
        nbformat.validate(notebook)
        cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        scope = {}
        exec(cell.source, scope)
        seeds[student] = preset(scope["preset"]).data.options["seed"]
    assert seeds == {"anna": 17, "ben": 4}
    anna, ben = (tmp_path / f"out/students/{name}" for name in ("anna", "ben"))
    assert (anna / "01_identical_shortcut.ipynb").read_bytes() == (ben / "01_identical_shortcut.ipynb").read_bytes()
    assert foreign_number(ben / "03_data_and_features.ipynb", 17) == 4
    assert foreign_number(ben / "03_data_and_features.ipynb", 4) is None
    assert foreign_number(tmp_path / "out/notebooks/03_data_and_features.ipynb", 17) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name\nanna\n", "no column 'student'"),
        ("student\n", "no row"),
        ("student\n../anna\n", "row 1: '../anna' cannot be"),
        ("student\nanna\nanna\n", "row 2: the name 'anna'"),
        ("student,number\nanna,3\nben,3\n", "the number 3 comes twice"),
        ("student,number\nanna,-3\n", "not '-3'"),
        (f"student,number\nanna,{'1' * 5000}\n", "at most 9 digits"),
    ],
)
def test_a_wrong_students_file_is_refused(tmp_path, text, problem):
    (tmp_path / "class.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem):
        read_students(tmp_path / "class.csv")


def test_only_presets_on_drawn_pictures_take_a_seed():
    assert preset("lesson@17").data.options == {**preset("lesson").data.options, "seed": 17}
    assert preset("lesson@17").override(**{"data.options.seed": 3}) == preset("lesson@3")
    for name in ("paper@1", "lesson@", "lesson@-1", "lesson@x", "lessons@1"):
        with pytest.raises(ConfigError, match="preset"):
            preset(name)
