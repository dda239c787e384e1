"""The instructor's path: notebook 10 through papermill, from another working directory, with other parameters."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import papermill
import pytest
from sweep_builders import quick_imports
from synthetic import SMALL

from mintad.data.mini import MiniParameters, make_mini
from mintad.runs.directory import Run

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "10_unified_training.ipynb"
TINY = SMALL | {"train.steps": 8, "train.log_every": 4}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with data in it; the kernels that start leave the user's folders alone."""
    parameters = MiniParameters(categories=("mesh", "capsule"), n_train=8, n_test_good=3, n_test_defect=1, size=64)
    make_mini(tmp_path / "parts", parameters)
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MINTAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", quick_imports(tmp_path / "quick"))
    return tmp_path


def execute(folder: Path, output: Path, **parameters) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(str(NOTEBOOK), str(output), parameters, cwd=str(folder), progress_bar=False)


def printed(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_results_and_executed_notebook_meet_in_the_run_directory(folder):
    """One model per category; with the series, the notebook is run with one model for all."""
    out = folder / "runs" / "separate-run"
    given = {"preset": "fast", "data": "folder", "root": "parts", "setting": "separate", "seed": 1, "out_dir": out.name}
    execute(folder, out / "notebook.ipynb", **given, overrides=json.dumps(TINY))
    run = Run(out)
    config = run.config()
    assert run.finished and (config.train.seed, config.train.steps) == (1, 8)
    assert Path(config.data.root) == folder / "parts", "a relative root is found from the working directory"
    text = printed(out / "notebook.ipynb")
    assert f"{out.name}: 2 model(s), 16 test images" in text and text.count("✓") >= 4
    assert [path.name for path in (folder / "runs").iterdir() if path.is_dir()] == [out.name]


def test_a_misspelt_parameter_is_refused_before_anything_is_trained(folder):
    with pytest.raises(papermill.PapermillExecutionError, match="'sed'.*'seed'"):
        execute(folder, folder / "refused.ipynb", sed=1, out_dir="refused")
    assert not (folder / "runs").exists()
