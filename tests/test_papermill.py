"""The instructor's path: notebook 10 through papermill, from another working directory, with other parameters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from sweep_builders import quick_imports
from synthetic import SMALL

from mintad.data.mini import MiniParameters, make_mini
from mintad.runs.directory import Run

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "10_unified_training.ipynb"
TINY = SMALL | {"train.steps": 8, "train.log_every": 4}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working directory with the data in it, and the environment of a kernel that leaves the user's folders alone."""
    folder = tmp_path_factory.mktemp("elsewhere")
    parameters = MiniParameters(categories=("mesh", "capsule"), n_train=8, n_test_good=3, n_test_defect=1, size=64)
    make_mini(folder / "parts", parameters)
    quick = quick_imports(folder / "quick")
    variables = {
        "MINTAD_RUNS": str(folder / "runs"),
        "MINTAD_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": quick,
    }
    return folder, {**os.environ, **variables}


def papermill(place, output: Path, **parameters) -> subprocess.CompletedProcess:
    folder, environment = place
    output.parent.mkdir(parents=True, exist_ok=True)
    options = [part for name, value in parameters.items() for part in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", str(NOTEBOOK), str(output), "--no-progress-bar", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def printed(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_results_and_executed_notebook_meet_in_the_run_directory(place):
    """One model per category; with the series, the notebook is run with one model for all."""
    out = place[0] / "runs" / "separate-run"
    given = {"preset": "fast", "data": "folder", "root": "parts", "setting": "separate", "seed": 1, "out_dir": out.name}
    done = papermill(place, out / "notebook.ipynb", **given, overrides=json.dumps(TINY))
    assert done.returncode == 0, done.stderr[-2000:]
    run = Run(out)
    config = run.config()
    assert run.finished and (config.train.seed, config.train.steps) == (1, 8)
    assert Path(config.data.root) == place[0] / "parts", "a relative root is found from the working directory"
    text = printed(out / "notebook.ipynb")
    assert f"{out.name}: 2 model(s), 16 test images" in text and text.count("✓") >= 4
    assert [path.name for path in (place[0] / "runs").iterdir() if path.is_dir()] == [out.name]


def test_a_misspelt_parameter_is_refused_before_anything_is_trained(place):
    out = place[0] / "refused.ipynb"
    done = papermill(place, out, sed=1, out_dir="refused")
    assert done.returncode != 0
    assert "'sed'" in done.stderr and "'seed'" in done.stderr
    assert not (place[0] / "runs" / "refused").exists()
