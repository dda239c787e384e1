"""A sweep of real trainings with notebook 10: the run's folder is the training's."""

from __future__ import annotations

import shutil

import nbformat
from sweep_builders import quick_imports, write_spec
from synthetic import SMALL

from mintad.data.mini import MiniParameters, factory, make_mini
from mintad.runs.directory import Run
from mintad.runs.files import EXECUTED
from mintad.sweep import load_spec, sweep
from mintad.sweep.spec import NOTEBOOK

TINY = SMALL | {"train.steps": 8, "train.log_every": 4}


def test_two_runs_that_start_together_may_draw_the_same_set(tmp_path, monkeypatch):
    """The other one is done when ours has drawn its last image."""
    wanted = MiniParameters(categories=("mesh",), n_train=1, n_test_good=1, n_test_defect=1, size=64)
    other, root = make_mini(tmp_path / "other", wanted), tmp_path / "set"

    def track(work, *_, **__):
        yield from work
        shutil.copytree(other, root)

    monkeypatch.setattr(factory, "track", track)
    assert make_mini(root, wanted) == root and (root / "mini.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "set"]


def test_the_runs_folder_is_the_trainings(tmp_path, monkeypatch):
    monkeypatch.setenv("MINTAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PYTHONPATH", quick_imports(tmp_path / "quick"))
    parameters = MiniParameters(categories=("mesh", "capsule"), n_train=6, n_test_good=3, n_test_defect=1, size=64)
    root = make_mini(tmp_path / "set", parameters)
    fixed = {"preset": "fast", "data": "folder", "root": str(root), "device": "cpu", "overrides": TINY}
    grid = {"overrides": {"plain": {"model.class_query": False}}, "variant": ["mint_ad"]}
    spec = load_spec(write_spec(tmp_path, notebook=str(NOTEBOOK), fixed=fixed, grid=grid))
    ((name, status),) = sweep(spec).items()
    assert status.state == "finished", status.error

    run = Run(spec.out / name)
    assert run.finished and run.config().model.class_query is False and run.config().model.width == 16
    cells = nbformat.read(run.path / EXECUTED, as_version=4).cells
    printed = "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))
    assert "1 model(s)" in printed and printed.count("✓") >= 4
    assert not (tmp_path / "runs").exists(), "everything of the run lies in its folder"
