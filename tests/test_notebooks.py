"""The notebooks' anatomy: what every reader may rely on, checked without running them."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from pathlib import Path

import nbformat
import pytest

from mintad.course import checks
from mintad.model import VARIANTS
from toy.models import MODELS
from toy.shapes import SHAPES

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LONGEST_CELL, LONGEST_FUNCTION, LONGEST_SETUP = 18, 10, 8
BANNED = re.compile(
    r"os\.chdir|sys\.path|subprocess|urllib|requests\.|%pip|!pip|%cd|^[!]|\.show\(|/home/|/work/|/tmp/|C:\\\\",
    re.MULTILINE,
)
DETAILS = re.compile(r"<details><summary>(?P<name>\w+)</summary>\n\n(?P<body>.*?)\n\n</details>", re.DOTALL)
EXERCISE = re.compile(r"^### Exercise (?P<number>\d) · .+ \((?P<level>★{1,3}), (?P<minutes>\d+) min\)$", re.MULTILINE)
MINUTES = {"★": (5, 10), "★★": (10, 15), "★★★": (20, 30)}
"""Stars of an exercise -> least and most minutes that it takes."""
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture
def path(request, notebook):
    return request.node.callspec.params["notebook"]


def text(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_numbers_are_consecutive():
    assert NOTEBOOKS, "no notebooks"
    numbers = [int(path.name[:2]) for path in NOTEBOOKS]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"\d\d_[a-z_]+\.ipynb", path.name) for path in NOTEBOOKS)


def test_is_stripped(notebook):
    nbformat.validate(notebook)
    for cell in code(notebook):
        assert cell.outputs == [] and cell.execution_count is None
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata["language_info"] == {"name": "python"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_opens_with_question_goals_and_time(notebook, path):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {path.name[:2]} · ")
    for part in ("**You will be able to**", "| **Time** |", "| **Prerequisites** |", "| **Paper** |"):
        assert part in first.source, part
    goals = re.findall(r"^\* ", first.source.split("**You will be able to**")[1], re.MULTILINE)
    assert 3 <= len(goals) <= 5


def test_parameters_are_typed_literals_with_comments(notebook):
    cells = code(notebook)
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == cells[:1]
    for line, node in zip(tagged[0].source.splitlines(), ast.parse(tagged[0].source).body, strict=True):
        assert isinstance(node, ast.AnnAssign), line
        ast.literal_eval(node.value)
        assert "  # " in line
    names = {node.target.id for node in ast.parse(tagged[0].source).body}
    assert {"seed", "device"} <= names


def test_setup_is_short(notebook):
    lines = [line for line in code(notebook)[1].source.splitlines() if line]
    assert len(lines) <= LONGEST_SETUP and "notebook.setup(seed=seed, device=device" in lines[-1]


def test_code_is_short_and_clean(notebook):
    for cell in code(notebook):
        assert len([line for line in cell.source.splitlines() if line]) <= LONGEST_CELL, cell.source
        assert not BANNED.search(cell.source), cell.source
        assert all(len(line) <= 120 for line in cell.source.splitlines()), cell.source
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{node.name} is too long"


def test_teaches_by_predict_run_read(notebook, path):
    if path.name.startswith("00"):
        return
    words = text(notebook)
    assert words.count("**Predict.**") >= 3 and words.count("**Read it.**") >= 3
    assert sum("assert " in cell.source for cell in code(notebook)) >= 2
    assert any("panel(" in cell.source for cell in code(notebook))


def test_closes_with_summary_and_questions(notebook):
    words = text(notebook)
    for heading in ("## Summary", "## Questionnaire", "## Next", "**References.**"):
        assert heading in words, heading
    summary = words.split("## Summary")[1].split("## ")[0]
    assert len(re.findall(r"^\* ", summary, re.MULTILINE)) == 3
    questions = words.split("## Questionnaire")[1].split("## ")[0]
    assert len(re.findall(r"^\d\. ", questions, re.MULTILINE)) >= 3


def test_each_question_is_answered_in_a_fold_below_the_questionnaire(notebook):
    asked = text(notebook).split("## Questionnaire")[1].split("## ")[0]
    questions, fold = asked.split("<details>")
    (answers,) = [match["body"] for match in DETAILS.finditer("<details>" + fold)]
    numbers = [re.findall(r"^(\d)\. \S", part, re.MULTILINE) for part in (questions, answers)]
    assert numbers[0] == numbers[1] == [str(n) for n in range(1, len(numbers[0]) + 1)]


BET = re.compile(r"^(?P<name>bet_\d+) = \.\.\.  # \S.*$")


def test_each_prediction_has_a_cell_for_the_bet_before_anything_is_shown(notebook):
    cells, bets = notebook.cells, []
    for cell, following in itertools.pairwise(cells):
        asked = [line for line in cell.source.splitlines() if line.startswith("**Predict.**")]
        if cell.cell_type == "markdown" and asked:
            assert cell.source.split("**Predict.**")[-1].count("**Read it.**") == 0 and len(asked) == 1, cell.source
            assert following.cell_type == "code" and BET.match(following.source), f"no bet below: {asked}"
            bets.append(BET.match(following.source)["name"])
    assert bets == [f"bet_{n}" for n in range(1, len(bets) + 1)]
    sources = [cell.source for cell in code(notebook)]
    for bet in bets:
        (made,) = [n for n, source in enumerate(sources) if source.startswith(f"{bet} = ...")]
        (settled,) = [n for n, source in enumerate(sources) if f"notebook.settle({bet}, " in source]
        assert settled > made, bet


def test_the_first_picture_is_seen_before_the_bet_on_it_and_its_answer_after():
    cells = nbformat.read(FOLDER / "00_start_here.ipynb", as_version=4).cells
    drawn, bet, *answers = (
        n for n, c in enumerate(cells) if re.search(r"puzzle\(|^bet_1 =|secret\[|settle\(bet_1", c.source)
    )
    assert "puzzle(" in cells[drawn].source and "secret[" not in cells[drawn].source
    assert cells[bet].source.startswith("bet_1 = ...") and len(answers) == 2


def test_ends_with_the_readers_progress(notebook, path):
    last = notebook.cells[-1].source
    assert "notebook.status(" in last and (path.name.startswith("00") or f'"{path.name[:2]}"' in last)


def test_exercises_are_graded_hinted_and_solved(notebook, path):
    if path.name.startswith("00"):
        return
    words = text(notebook)
    found = list(EXERCISE.finditer(words))
    assert words.count("### Exercise") == len(found) >= 3
    assert [int(match["number"]) for match in found] == list(range(1, len(found) + 1))
    for match in found:
        least, most = MINUTES[match["level"]]
        assert least <= int(match["minutes"]) <= most, match[0]
    folded = [match["name"] for match in DETAILS.finditer(words)]
    assert folded == ["Hint", "Solution"] * len(found) + ["Answers"]
    unsolved = [cell.source for cell in code(notebook) if re.search(r"^\w+ = None  # ", cell.source, re.MULTILINE)]
    assert len(unsolved) == len(found)


def solutions(notebook):
    """(name of the exercise, source of its printed solution, source of its cell)."""
    printed = [match["body"] for match in DETAILS.finditer(text(notebook)) if match["name"] == "Solution"]
    cells = [cell.source for cell in code(notebook) if re.search(r"^\w+ = None  # ", cell.source, re.MULTILINE)]
    for body, cell in zip(printed, cells, strict=True):
        source = re.search(r"```python\n(.*?)```", body, re.DOTALL)[1]
        yield re.match(r"(\w+) = None", cell)[1], source, cell


def test_printed_solutions_pass_their_checks(notebook, capsys, monkeypatch):
    for registry, entries in (("toy.shapes.SHAPES", SHAPES), ("toy.models.MODELS", MODELS)):
        monkeypatch.setattr(registry, dict(entries))  # notebook 02 adds a shape and a model
    for attribute in ("_entries", "_modules"):  # and notebook 10 a variant
        monkeypatch.setattr(VARIANTS, attribute, dict(getattr(VARIANTS, attribute)))
    imports = "import numpy as np\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
    cells = "\n".join(cell.source for cell in code(notebook))
    module = re.search(r"from mintad\.course\.checks import (\w+) as checks", cells)
    for name, source, cell in solutions(notebook):
        scope: dict = {"checks": importlib.import_module(f"mintad.course.checks.{module[1]}")}
        exec(imports + source, scope)  # the notebook's own text
        exec(cell.split("\n", 1)[1], scope)
        assert capsys.readouterr().out.startswith("✓"), name


def test_links_lead_somewhere(notebook, path):
    for match in LINK.finditer(text(notebook)):
        target = match["target"].split("#")[0]
        if target and not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_check_modules_say_what_they_test():
    modules = sorted(Path(checks.__file__).parent.glob("*.py"))
    for file in modules:
        if "\n@exercise(" not in file.read_text(encoding="utf-8"):
            continue
        module = importlib.import_module(f"mintad.course.checks.{file.stem}")
        names = [name.removeprefix("check_") for name in vars(module) if name.startswith("check_")]
        assert len(names) >= 3, file
        for name in names:
            assert hasattr(module, f"reference_{name}") and getattr(module, f"check_{name}").__doc__
