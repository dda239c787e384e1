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


def test_help_and_misspelt_options_need_no_heavy_library():
    """With -X importtime Python lists every module that it imports on standard error."""
    root = Path(toy.__file__).resolve().parents[1]
    for arguments, code, text in (("--help",), 0, "figures"), (("run", "--sead", "3"), 2, "--sead"):
        command = [sys.executable, "-X", "importtime", "-m", "toy", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root)
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert done.returncode == code and text in done.stdout + done.stderr
        assert "toy.settings" in imported and not imported & {"numpy", "torch", "pandas", "sklearn", "plotly"}


def test_command_line_prints_the_contract(run_toy, tmp_path):
    options = ["--seeds", "2", "--steps", "20", "--models", ",".join(MODELS), "--out", str(tmp_path)]
    code, out, _ = run_toy("run", "--shape", "moons", "--json", *options)
    printed = json.loads(out)
    assert code == 0 and printed["shape"] == "moons"
    assert list(printed["models"]) == MODELS
    for measures in printed["models"].values():
        assert list(measures) == [
            "projection_index",
            "interclass_accepted",
            "area_ratio",
            "auroc_uniform",
            "auroc_interclass",
        ]
        assert all(set(values) == {"mean", "low", "high"} for values in measures.values())
    assert (tmp_path / "figures.html").exists() and (tmp_path / "measures.csv").exists()


def test_one_class_has_no_inter_class_measures(run_toy):
    printed = json.loads(
        run_toy("run", "--shape", "blob", "--models", "dae", "--seeds", "2", "--steps", "5", "--json")[1]
    )
    assert printed["models"]["dae"]["auroc_interclass"] == {"mean": None, "low": None, "high": None}


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
    assert all(name in run_toy("list")[1] for name in (*SHAPES, *MODELS))
    code, out, _ = run_toy("grid", "--vary", "classes=2,3", "--models", "dae", "--seeds", "1", "--steps", "5", "--json")
    rows = json.loads(out)["rows"]
    assert code == 0 and {row["classes"] for row in rows} == {2, 3}
