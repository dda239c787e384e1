"""Grading's parts, each alone: what is run of a notebook, what may come out of a sandbox, the hidden cases."""

from __future__ import annotations

import importlib
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mintad.course.checks import CheckFailed
from mintad.course.checks.cases import Student, hidden
from mintad.course.grade import open_exercises
from mintad.course.grade.closure import Unusable, execute, needed
from mintad.course.grade.feedback import write_grades
from mintad.course.grade.isolation import copy_files
from mintad.course.grade.judge import hidden_cases, judge
from mintad.course.grade.runner import Runner
from mintad.course.grade.submissions import notebooks_in, read_submissions
from mintad.course.grade.verdict import FULL, NONE, PARTIAL
from mintad.course.grade.wire import Malformed, decode, encode
from mintad.course.points import Item, Points, load_points
from mintad.errors import DataError

CHECKS = sorted(item.check for items in load_points().notebooks.values() for item in items.values())


@pytest.fixture
def notebook(tmp_path):
    def write(*cells):
        path = tmp_path / "03.ipynb"
        path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": source} for source in cells]}))
        return path

    return write


def test_only_what_the_function_needs_is_run(notebook):
    path = notebook(
        "import math\nimport this_is_not_installed",
        "raise SystemExit('a training')",
        "half = 0.5\nscores = 1 / 0",
        "def helper(x):\n    return math.floor(x * half)",
        "fuse = None",
        "def fuse(x):\n    scores = helper(x)\n    return scores\n\nchecks.check_fuse(fuse)\nraise SystemExit",
    )
    assert execute(needed(path, "fuse", "fuse"), "fuse")(7) == 3


def test_cells_below_the_check_do_not_count_if_the_function_stands_above(notebook):
    path = notebook("fuse = lambda: 1", "checks.check_fuse(fuse)", "fuse = 1 / 0")
    assert execute(needed(path, "fuse", "fuse"), "fuse")() == 1
    below = notebook("fuse = None", "checks.check_fuse(fuse)", "def fuse():\n    return 2")
    assert execute(needed(below, "fuse", "fuse"), "fuse")() == 2


def test_the_last_definition_of_a_name_counts(notebook):
    path = notebook(
        "auroc = 1 / 0", "def auroc(x):\n    return x and auroc(0)", "from math import floor as auroc\nf = auroc"
    )
    assert execute(needed(path, "f", "f"), "f")(1.5) == 1
    path = notebook("x = 1\nx = x + 1\nx += 1", "f = lambda: x", "f = None")
    assert execute(needed(path, "f", "f"), "f")() == 3


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        (["import numpy as np", "model = 1 / 0", "np.save('x', model)", "f = lambda: np.sqrt(9)"], 3),
        (["import numpy as np", "np.cache[0] = 1 / 0\nnp.cache = 1 / 0", "def f():\n    return np.sqrt(9)"], 3),
        (["from math import *", "def f():\n    return floor(pi)"], 3),
        (["try:\n    from math import *\nexcept ImportError:\n    pass", "def f():\n    return floor(pi)"], 3),
        (["def f():\n    return f.cache[0] + f.more.k\nf.cache = {}", "f.cache[0] = 1\nf.more = f\nf.more.k = 2"], 3),
        (["class A:\n    k = 1 / 3", "a = A()\na.k = []\na.k.append(3)", "def f():\n    return a.k[0]"], 3),
        (["def f():\n    return 1", "f_old = f", "def f():\n    return f_old() + 2"], 3),
        (["def f():\n    return 1", "f_old = f", "f = lambda: f_old() + 2"], 3),
        (["k = 3\ndef g():\n    return k", "table = g()", "k = 1 / 0", "def f():\n    return table"], 3),
        (["k = 3\nfirst = [k]", "k = 1 / 0", "def f():\n    return first[0]"], 3),
        (["w = [3]\nt = [w[0] for _ in w]", "w = 1 / 0", "def f():\n    return t[0]"], 3),
        (["w = {1: 3}", "t = min([1], key=lambda v: w[v])", "def f():\n    return 3 * t"], 3),
        (["k = 3\nk: int", "def f():\n    return k"], 3),
        (["def twice(g):\n    return lambda: 2 + g()", "def f():\n    return 1", "f = twice(f)"], 3),
        (["def f():\n    return 1", "@(lambda g, f=f: lambda: f() + g())\ndef f():\n    return 2"], 3),
    ],
)
def test_a_closure_holds_all_that_its_function_needs_and_no_training(notebook, cells, right):
    path = notebook(*cells)
    assert execute(needed(path, "f", "f"), "f")() == right


def test_magics_and_state_are_understood(notebook):
    path = notebook(
        "%matplotlib inline\ntable = []", "table.append(3)\n!ls", "def f():\n    return table[0]\n%time f()"
    )
    assert execute(needed(path, "f", "f"), "f")() == 3


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("f = None  # replace by your function", "not solved"),
        ("g = 1", "not solved"),
        ("def f(x)\n    return x", "cannot be read.*line 1"),
        ("def f(x):\nreturn x", "cannot be read"),
        ("f = " + "(" * 5000, "cannot be read"),
        ("f = 3", "f is a int, not a function"),
    ],
)
def test_a_notebook_without_the_function_says_why(notebook, source, problem):
    with pytest.raises(Unusable, match=problem):
        execute(needed(notebook("x = 1", source), "f", "f"), "f")


@pytest.mark.parametrize("text", ["", "[]", '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}', "[" * 100_000, "\0"])
def test_a_file_that_is_no_notebook_is_said_to_be_unreadable(tmp_path, text):
    (tmp_path / "03.ipynb").write_text(text)
    with pytest.raises(Unusable, match="cannot be read"):
        needed(tmp_path / "03.ipynb", "f", "f")


@pytest.mark.parametrize(
    ("check", "line"),
    [
        ("scoring.auroc", "from mintad.scoring.ranking import auroc as g"),
        ("scoring.auroc", "from mintad.scoring import auroc as g"),
        ("scoring.auroc", "from sklearn.metrics._ranking import roc_auc_score as g"),
        ("scoring.auroc", "from sklearn.metrics import roc_curve as g"),
        ("scoring.auroc", "from sklearn.metrics import auc as g"),
        ("scoring.auroc", "from sklearn.metrics import RocCurveDisplay\ng = RocCurveDisplay.from_predictions"),
        ("scoring.average_precision", "from sklearn.metrics import precision_recall_curve as g"),
        ("scoring.average_precision", "from mintad.scoring.ranking import average_precision as g"),
        ("tokens.silhouette", "from sklearn.metrics.cluster import silhouette_score as g"),
        ("transformer.masked_attention", "from torch._C._nn import scaled_dot_product_attention as g"),
    ],
)
def test_a_withheld_function_refuses_wherever_it_is_imported_from(notebook, check, line):
    path, runner = (
        notebook(f"{line}\ndef f(*a):\n    return g(*a)", "h = lambda: 1"),
        Runner(io.BytesIO(), io.BytesIO()),
    )
    runner.do_load(str(path), "f", "f", hidden(check).withheld)
    with pytest.raises(PermissionError, match="write what"):
        runner.do_call(())
    runner.do_load(str(path), "h", "h", ())
    with pytest.raises(TypeError):  # another exercise has it again; it only wants its arguments
        runner.do_load(str(path), "f", "f", ())
        runner.do_call(())


def sent(value):
    return decode(io.BytesIO(encode({"value": value})).read)["value"]


@pytest.mark.parametrize("value", [None, True, 3, -2.5, "ä", (1, [2.0, (None, "x")]), {"a": (1, 2)}, float("inf"), []])
def test_plain_values_come_out_as_they_are(value):
    assert sent(value) == value and type(sent(value)) is type(value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "uint8", "float16"])
def test_arrays_and_tensors_keep_bits_type_and_shape(dtype):
    array = (np.arange(24).reshape(2, 3, 4) % 3).astype(dtype)
    for value in (array, array[:, ::2], array[:0], array[0, 0, 0]):
        assert np.array_equal(sent(value), value) and sent(value).dtype == value.dtype
    tensor = torch.from_numpy(array).transpose(0, 1)
    assert torch.equal(sent(tensor), tensor) and sent(tensor).dtype == tensor.dtype
    assert sent(torch.ones(2, requires_grad=True)).requires_grad


def test_what_cannot_be_sent_keeps_the_name_of_its_type_alone():
    assert type(sent(object)).__name__ == "type" and type(sent({1}.__iter__())).__name__ == "set_iterator"
    assert type(sent(np.array([object()]))).__name__ == "ndarray"
    with pytest.raises(ValueError, match="MB"):
        encode({"value": np.zeros(10**8)})


@pytest.mark.parametrize(
    "packed",
    [
        [],
        {"unknown": 1},
        {"number": "1"},
        {"array": {"dtype": "O", "shape": [1], "at": 0, "size": 8}},
        {"array": {"dtype": "<f8", "shape": [10**9, 10**9], "at": 0, "size": 8}},
        {"array": {"dtype": "<f8", "shape": [-1], "at": 0, "size": 8}},
        {"array": {"dtype": "<f8", "shape": [1], "at": -8, "size": 8}},
        {"array": {"dtype": "V4000000000", "shape": [], "at": 0, "size": 0}},
        {"tuple": [{"list": [{"tuple": [{"list": [{"tuple": [{"list": [{"list": [{"list": [[]]}]}]}]}]}]}]}]},
        {"tensor": {"dtype": "<f8"}},
    ],
)
def test_a_forged_message_is_refused(packed):
    text, data = json.dumps({"value": packed}).encode(), bytes(8)
    stream = io.BytesIO(len(text).to_bytes(4, "little") + len(data).to_bytes(4, "little") + text + data)
    with pytest.raises(Malformed):
        decode(stream.read)


def test_a_message_costs_the_judge_little_memory():
    text = ('{"value": {"list": [' + ",".join(["[]"] * 2_000_000) + "]}}").encode()
    with pytest.raises(Malformed, match="too long"):
        decode(io.BytesIO(len(text).to_bytes(4, "little") + bytes(4) + text).read)
    with pytest.raises(ValueError, match="outside arrays"):
        encode({"value": [0.5] * 10**6})
    text = json.dumps({"value": {"dict": {"k" * 10**5: "v" * 10**5}}}).encode()
    received = decode(io.BytesIO(len(text).to_bytes(4, "little") + bytes(4) + text).read)["value"]
    assert [(len(key), len(value)) for key, value in received.items()] == [(2000, 2000)]


def test_a_file_with_the_name_of_the_sandboxs_own_folder_harms_nobody(tmp_path):
    for folder in ("in", "in/deeper", "out"):
        (tmp_path / folder).mkdir()
    for file in (".tmp", "deeper/.tmp", "a.py"):
        (tmp_path / "in" / file).touch()
    copy_files(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out/.tmp").is_dir() and (tmp_path / "out/deeper/.tmp").is_file()
    assert (tmp_path / "out/a.py").is_file()


def judged_here(check, function, seed):
    student = Student(function, lambda path, *a: getattr(open_exercises, path.rpartition(".")[2])(function, *a))
    hidden_cases(check, student, np.random.default_rng(seed))


@pytest.mark.parametrize("check", CHECKS)
def test_hidden_cases_pass_right_answers_and_no_wrong_or_typed_in_one(check):
    module, name = check.split(".")
    reference = getattr(importlib.import_module(f"mintad.course.checks.{module}"), f"reference_{name}")
    right = importlib.import_module(f"right.{module}").RIGHT[check]
    for function in right if check == "interference.new_shape" else [reference, *right]:
        judged_here(check, function, 1)
    by_the_check_alone = {"jitter": 1, "feature_jitter": 1, "pick_query": 1, "with_class_token": 1}
    # wrong where a rounding error decides, which is never drawn; of another type, which only the check asks for
    by_the_check_alone |= {"conformal_threshold": 1, "mean_std": 1, "neighbour_mask": 1}
    wrong = importlib.import_module(f"wrong.{module}").WRONG[check]
    passing = 0
    for function in wrong:
        try:
            judged_here(check, function, 1)
        except Exception:
            continue
        passing += 1
    assert passing <= by_the_check_alone.get(name, 0)
    if hidden(check).draw:  # an answer that is right for one case of one seed
        typed = reference(*hidden(check).draw(np.random.default_rng(3)))
        with pytest.raises(CheckFailed):
            judged_here(check, lambda *_: typed, 4)


class Label(torch.nn.Module):
    """A network that is right, however small."""

    def __init__(self, classes, settings):
        super().__init__()
        self.gate = torch.nn.Parameter(torch.randn(classes, 2))

    def forward(self, x, label):
        return x * (label @ self.gate)


@pytest.mark.parametrize("classes", [3, 4, 5])
def test_a_right_network_gets_its_points_with_any_number_of_classes(monkeypatch, classes):
    """The case draws about 200 points, which are not always a multiple of the classes."""
    module = importlib.import_module("mintad.course.checks.cases.interference")
    monkeypatch.setattr(module, "whole", lambda rng, low, high: classes if (low, high) == (3, 5) else low)
    assert judge(Here(Label), "02.ipynb", "new_model", "interference.new_model", seed=0).state == FULL


def test_a_network_is_trained_by_the_judge_so_that_the_sandbox_cannot_say_it_is_right(monkeypatch):
    task = ("02.ipynb", "new_model", "interference.new_model")
    assert judge(Here(Label), *task, seed=0).state == FULL
    forged = {"weights": [torch.zeros(2, 3)], "direct": True}
    monkeypatch.setattr(open_exercises, "networks", lambda *_: forged)
    answers = {
        "anything": lambda points, w: torch.rand_like(points) + 0 * w.sum(),
        "the points": lambda points, w: points + 0 * w.sum(),
        "a constant": lambda points, w: torch.rand(points.shape),
        "a text": lambda points, w: "solved",
    }
    for answer in answers.values():
        monkeypatch.setattr(
            open_exercises, "outputs", lambda f, k, d, points, label, w, answer=answer: answer(points, w)
        )
        assert judge(Here(Label), *task, seed=0).state == NONE


class Here:
    """A sandbox that is none."""

    seconds = 1.0

    def __init__(self, function):
        self.function = function

    def allow(self):
        pass

    close = allow

    def load(self, *_):
        return self.function

    def apply(self, path, *arguments):
        return getattr(open_exercises, path.rpartition(".")[2])(self.function, *arguments)


def test_answers_typed_in_for_the_notebooks_check_fail_the_hidden_cases():
    typed = {(1, 1, 5, 3): 15, (1, 2, 5, 3): 30, (15, 4, 196, 256): 3_010_560}
    task = ("05.ipynb", "pool_parameters", "queries.pool_parameters")
    verdict = judge(Here(lambda *sizes: typed.get(sizes, 0)), *task, seed=0)
    assert verdict.state == PARTIAL and "a hidden case (" in verdict.message
    assert judge(Here(lambda a, b, c, d: a * b * c * d), *task, seed=0).state == FULL
    assert judge(Here(lambda *sizes: 15), *task, seed=0).state == NONE


def test_a_result_that_cannot_be_judged_in_time_costs_its_author_alone(monkeypatch):
    monkeypatch.setattr("mintad.course.grade.judge.OWN_SECONDS", 0.2 - 8 * Here.seconds)

    class Slow(float):
        def __float__(self):
            time.sleep(30)

    verdict = judge(Here(lambda *_: Slow()), "05.ipynb", "pool_parameters", "queries.pool_parameters", seed=0)
    assert verdict.state == NONE and "gave up" in verdict.message


def test_a_message_is_one_printable_line():
    def fails(*_):
        raise ValueError("a\nb\x1b[31m" + "c" * 1000)

    message = judge(Here(fails), "05.ipynb", "pull", "queries.pull", seed=0).message
    assert message.isprintable() and len(message) == 400 and "a b[31mc" in message


def test_the_same_seed_draws_the_same_cases():
    draw = hidden("features.nearest_score").draw
    first, again, other = (draw(np.random.default_rng(seed))[0] for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first[:1, :1], other[:1, :1])


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
