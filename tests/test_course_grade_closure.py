"""What of a submitted notebook is run: a function with all that it needs, and nothing else."""

from __future__ import annotations

import io
import json

import pytest

from mintad.course.checks.cases import hidden
from mintad.course.grade.closure import Unusable, execute, needed
from mintad.course.grade.runner import Runner


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
