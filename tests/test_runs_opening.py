"""Whose a run directory is: which one a training may enter, continue or overwrite, and which it leaves alone."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from synthetic import small

from mintad.disk import sealed
from mintad.errors import MintadError, TrainingError
from mintad.runs.changes import record_training_images
from mintad.runs.evaluate import evaluate_run
from mintad.runs.files import CATEGORIES
from mintad.runs.opening import open_run
from mintad.runs.train import train_run

pytestmark = pytest.mark.usefixtures("cache")


def test_a_finished_run_is_left_alone_and_another_configuration_refused(finished, products):
    stamp = finished.page.stat().st_mtime_ns
    assert train_run(small(products), finished.path, progress=False).path == finished.path
    assert finished.page.stat().st_mtime_ns == stamp
    with pytest.raises(TrainingError, match=r"another configuration \(train.seed: 0 there, 5 now\)"):
        train_run(small(products, **{"train.seed": 5}), finished.path, progress=False)


def test_foreign_folder_is_not_overwritten(products, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(TrainingError, match="is not a run directory"):
            train_run(small(products), tmp_path, overwrite=overwrite, progress=False)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("content", ['{"name": "my site"}', "{}", "no JSON"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_a_config_of_another_program_is_not_touched(products, tmp_path, content, overwrite):
    for name, text in {"config.json": content, "package.json": "mine"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/mine.bin").write_text("precious")
    with pytest.raises(TrainingError, match="is not a run directory"):
        train_run(small(products), tmp_path, overwrite=overwrite, progress=False)
    assert (tmp_path / "config.json").read_text() == content and (tmp_path / "checkpoints/mine.bin").exists()


def test_overwrite_removes_a_run_and_only_a_run(products, tmp_path):
    out = tmp_path / "run"
    train_run(small(products, **{"train.steps": 2}), out, progress=False)
    (out / "notes.md").write_text("mine")
    run = train_run(small(products, **{"train.steps": 1}), out, overwrite=True, progress=False)
    assert run.config().train.steps == 1 and (out / "notes.md").read_text() == "mine"
    foreign = tmp_path / "weights"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"architectures": ["Bert"]}')
    with pytest.raises(TrainingError, match="is not a run directory"):
        train_run(small(products), foreign, overwrite=True, progress=False)
    assert (foreign / "config.json").exists()


def test_a_run_directory_belongs_to_one_process_at_a_time(finished, copied, tmp_path):
    with open_run(copied.path, finished.config()):
        with pytest.raises(TrainingError, match="another process is working in .*copy; wait"):
            train_run(finished.config(), copied.path, progress=False)
        with pytest.raises(TrainingError, match="another process"):
            train_run(finished.config(), copied.path, overwrite=True, progress=False)
        with pytest.raises(TrainingError, match="another process"):
            evaluate_run(copied.path, progress=False)
    assert copied.finished
    die = "import os, sys, fcntl; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", die, copied.path / ".lock"]).returncode == -9
    with open_run(copied.path, finished.config()) as run:  # what a dead process held is free
        assert run.finished


def test_an_unfinished_training_is_not_evaluated(copied):
    state = copied.checkpoint().path / "state.json"
    state.write_text(json.dumps(sealed(json.loads(state.read_text()) | {"steps": 99})))
    with pytest.raises(TrainingError, match=f"of 99 steps are trained; mintad train --out {copied.path}"):
        evaluate_run(copied.path, progress=False)


def test_a_unified_training_does_not_enter_a_separate_one(finished, tmp_path):
    with open_run(tmp_path / "run", finished.config()) as run:
        (run.path / CATEGORIES).mkdir()
    with pytest.raises(TrainingError, match="holds one model per category"):
        train_run(finished.config(), run.path, progress=False)
    for refused in (run.results, run.checkpoint):
        with pytest.raises(MintadError, match="notebook 10, setting 'separate'"):
            refused()


@pytest.mark.parametrize("change", [{"features.backbone": "resnet81"}, {"features.weights": "/etc/passwd"}])
def test_a_refused_configuration_leaves_no_directory(products, tmp_path, change):
    with pytest.raises(MintadError):
        train_run(small(products, **change), tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()
    with pytest.raises(MintadError):
        train_run(small(products, **change), tmp_path / "run", progress=False)
    assert (tmp_path / "run").exists(), "a folder of the user's stays"


def test_a_directory_in_which_nothing_has_begun_takes_another_configuration(products, tmp_path):
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path, small(products)) as run:
        record_training_images(run, pd.DataFrame({"image": ["a"], "category": ["b"], "role": ["train"], "hash": [""]}))
        raise KeyboardInterrupt
    config = small(products, **{"train.steps": 1, "train.seed": 5})
    assert train_run(config, tmp_path, progress=False).config().train.seed == 5
