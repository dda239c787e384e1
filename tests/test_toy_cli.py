"""The toy's command line: what it prints, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import toy
from toy.__main__ import main

SHAPES, MODELS = list(toy.SHAPES), list(toy.MODELS)  # as imported: a notebook's exercise registers more


@pytest.fixture
def run_toy(monkeypatch, capsys):
    """Exit code, output and errors of ``python -m toy ARGUMENTS``, in this process."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["toy", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return run


def test_it_is_a_module_of_its_own():
    root = Path(toy.__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-m", "toy", "list"], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0 and "moons" in done.stdout and done.stderr == ""


def test_command_line_prints_the_contract(run_toy, tmp_path):
    options = ["--seeds", "2", "--steps", "20", "--models", ",".join(MODELS), "--out", str(tmp_path)]
    code, out, _ = run_toy("run", "--shape", "moons", "--json", *options)
    found = json.loads(out)
    assert code == 0 and found["shape"] == "moons"
    assert list(found["models"]) == MODELS
    for measures in found["models"].values():
        assert list(measures) == [
            "projection_index",
            "interclass_accepted",
            "area_ratio",
            "auroc_uniform",
            "auroc_interclass",
        ]
        assert all(set(one) == {"mean", "low", "high"} for one in measures.values())
    assert (tmp_path / "figures.html").exists() and (tmp_path / "measures.csv").exists()


def test_one_class_has_no_inter_class_measures(run_toy):
    found = json.loads(
        run_toy("run", "--shape", "blob", "--models", "dae", "--seeds", "2", "--steps", "5", "--json")[1]
    )
    assert found["models"]["dae"]["auroc_interclass"] == {"mean": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--shape", "moonz"), "Did you mean 'moons'"),
        (("run", "--sigma", "-1"), "sigma must be 0 or more"),
        (("run", "--shape", "blobs", "--classes", "1"), "2 to 8"),
        (("run", "--tpr", "1.5"), "between 0 and 1"),
        (("run", "--models", "ae,nope"), "unknown model 'nope'"),
        (("grid", "--vary", "width"), "NAME=VALUE"),
        (("grid", "--vary", "widht=3"), "Did you mean 'width'"),
        (("grid", "--vary", "width=x"), "no number"),
        (("grid", "--vary", "width=nan"), "whole number"),
        (("grid", "--vary", "classes=2.5"), "2 to 8"),
        (("run", "--models", "dae", "--seeds", "1", "--steps", "2", "--out", "pyproject.toml"), "pyproject.toml"),
    ],
)
def test_mistakes_end_with_code_2_and_one_line(run_toy, arguments, message):
    code, out, err = run_toy(*arguments)
    assert code == 2 and out == "" and message in err and len(err.strip().splitlines()) == 1


def test_list_and_grid(run_toy):
    assert set(json.loads(run_toy("list", "--json")[1])["shapes"]) == set(SHAPES)
    code, out, _ = run_toy("grid", "--vary", "classes=2,3", "--models", "dae", "--seeds", "1", "--steps", "5", "--json")
    rows = json.loads(out)["rows"]
    assert code == 0 and {row["classes"] for row in rows} == {2, 3}
