"""A sweep of trainings without a notebook: the run's folder is the training's."""

from __future__ import annotations

import shutil

import pytest
from sweep_builders import write_spec
from synthetic import SMALL

from mintad.data.mini import MiniParameters, factory, make_mini
from mintad.errors import ConfigError
from mintad.runs.directory import Run
from mintad.sweep import load_spec, plan, sweep
from mintad.sweep.engine import jobs_of
from mintad.sweep.spec import NOTEBOOK

TINY = SMALL | {"train.steps": 8, "train.log_every": 4}


def test_two_runs_that_start_together_may_draw_the_same_set(tmp_path, monkeypatch):
    """The other one is done when ours has drawn its last image."""
    parameters = MiniParameters(categories=("mesh",), n_train=1, n_test_good=1, n_test_defect=1, size=64)
    other, root = make_mini(tmp_path / "other", parameters), tmp_path / "set"

    def track(work, *_, **__):
        yield from work
        shutil.copytree(other, root)

    monkeypatch.setattr(factory, "track", track)
    assert make_mini(root, parameters) == root and (root / "mini.json").exists()
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"other", "set"}


def test_the_runs_folder_is_the_trainings(tmp_path, monkeypatch):
    monkeypatch.setenv("MINTAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path / "runs"))
    parameters = MiniParameters(categories=("mesh", "capsule"), n_train=6, n_test_good=3, n_test_defect=1, size=64)
    root = make_mini(tmp_path / "set", parameters)
    fixed = {"preset": "fast", "data": "folder", "root": str(root), "device": "cpu", "overrides": TINY}
    grid = {"overrides": {"plain": {"model.class_query": False}}, "variant": ["mint_ad"]}
    spec = load_spec(write_spec(tmp_path, notebook="none", fixed=fixed, grid=grid))
    ((name, status),) = sweep(spec).items()
    assert status.state == "finished", status.error

    run = Run(spec.out / name)
    assert run.finished and run.config().model.class_query is False and run.config().model.width == 16
    assert not (tmp_path / "runs").exists(), "everything of the run lies in its folder"
    assert sweep(spec)[name] == status, "a finished run is not run again"


def test_a_sweep_without_a_notebook_plans_what_notebook_10_would(tmp_path):
    grid = {"seed": [0, 1], "variant": ["uniad", "mint_ad"]}
    by_notebook, plain = (
        plan(load_spec(write_spec(tmp_path, notebook=notebook, fixed={"setting": "separate"}, grid=grid)))
        for notebook in (str(NOTEBOOK), "none")
    )
    assert [run.name for run in plain] == [run.name for run in by_notebook]
    with pytest.raises(ConfigError, match="'varriant'.*'variant'"):
        plan(load_spec(write_spec(tmp_path, notebook="none", fixed={"varriant": "uniad"})))
    with pytest.raises(ConfigError, match="'unaid'.*'uniad'"):
        plan(load_spec(write_spec(tmp_path, notebook="none", fixed={"variant": "unaid"})))


def test_a_sweep_without_a_notebook_is_of_other_code_where_a_plug_in_is(tmp_path, monkeypatch):
    (tmp_path / "sweep_plugin.py").write_text("RATE = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    spec = load_spec(write_spec(tmp_path, notebook="none", fixed={"seed": 0}))
    (before,) = jobs_of(spec, plan(spec))
    monkeypatch.setenv("MINTAD_PLUGINS", "sweep_plugin")
    (after,) = jobs_of(spec, plan(spec))
    assert before.notebook_sha256 != after.notebook_sha256
