"""A sweep of real trainings: the run's folder is the training's, and its metrics come out as a table."""

from __future__ import annotations

import shutil

import nbformat
import pytest
from sweep_builders import quick_imports, write_spec
from synthetic import SMALL

from mintad.data.mini import MiniParameters, factory, make_mini
from mintad.runs.directory import Run
from mintad.sweep import collect, load_spec, sweep
from mintad.sweep.table import IMAGE, MEAN

TINY = SMALL | {"train.steps": 8, "train.log_every": 4}
PARAMETERS = """\
data: str = "mini"  # data set
root: str = ""  # its folder
categories: str = ""  # all
variant: str = "mint_ad"  # model
preset: str = "fast"  # base
overrides: str = ""  # text or mapping
seed: int = 0  # of training
device: str = "cpu"  # or cuda
out_dir: str = ""  # run directory"""
BODY = """\
from mintad.runs import experiment
given = {"data": data, "root": root, "categories": categories, "variant": variant, "preset": preset}
config = experiment.configure(**given, overrides=overrides, seed=seed, device=device)
experiment.train_setting(config, "unified", out_dir)"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINTAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", quick_imports(tmp_path / "quick"))
    cells = [nbformat.v4.new_code_cell(source) for source in (PARAMETERS, BODY)]
    cells[0].metadata["tags"] = ["parameters"]
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "tiny.ipynb")
    return tmp_path


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


def test_the_runs_folder_is_the_trainings(folder):
    wanted = MiniParameters(categories=("mesh", "capsule"), n_train=6, n_test_good=3, n_test_defect=1, size=64)
    fixed = {"data": "folder", "root": str(make_mini(folder / "set", wanted)), "overrides": TINY}
    grid = {"overrides": {"plain": {"model.class_query": False}}, "variant": ["mint_ad"]}
    spec = load_spec(write_spec(folder, fixed=fixed, grid=grid))
    ((name, done),) = sweep(spec).items()
    assert done.state == "finished", done.error

    run = Run(spec.out / name)
    assert run.finished and run.config().model.class_query is False and run.config().model.width == 16
    found = collect(spec.out)
    mean = found[(found["category"] == MEAN) & (found["metric"] == IMAGE)]
    assert mean["value"].item() == run.read("metrics")["image"]["auroc"]["mean"]
    assert mean["overrides"].item() == "plain" and mean["variant"].item() == "mint_ad"
    assert set(found["category"]) == {MEAN, *run.read("metrics")["image"]["auroc"]["per_category"]}
