"""Links in a run directory, and what killed processes and failing disks leave there."""

import contextlib
import dataclasses
import errno
import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import small

from mintad.disk import UNFINISHED, published
from mintad.errors import MintadError
from mintad.runs.evaluate import evaluate_run
from mintad.runs.files import PAGE, RESULT_FILES
from mintad.runs.made import COLUMNS
from mintad.runs.opening import open_run
from mintad.runs.predict_files import predict_files
from mintad.runs.save import RunResults, save_results
from mintad.runs.train import train_run

pytestmark = pytest.mark.usefixtures("cache")


def test_what_a_killed_export_left_does_not_lock_a_run_out(finished, products, tmp_path):
    with open_run(tmp_path / "run", small(products)):
        (tmp_path / f"run/{UNFINISHED}abc").mkdir()
        (tmp_path / f"run/{UNFINISHED}abc/model.onnx").touch()
    with open_run(tmp_path / "run", small(products)):
        assert not list((tmp_path / "run").glob(f"{UNFINISHED}*"))


def test_a_crash_while_results_are_written_costs_no_finished_work(copied, finished, monkeypatch):
    @contextlib.contextmanager
    def write_half(path, **options):
        with published(path, **options) as file:
            if path == copied.path / "maps.npy":
                file.write(b"\x93NUMPY")
                raise KeyboardInterrupt
            yield file

    monkeypatch.setattr("mintad.runs.save.published", write_half)
    for work in (
        lambda: train_run(finished.config(), copied.path, baseline_names=("patchcore",), progress=False),
        lambda: evaluate_run(copied.path, progress=False),
    ):
        with pytest.raises(KeyboardInterrupt):
            work()
        pd.testing.assert_frame_equal(copied.results(), finished.results())
        assert np.array_equal(np.load(copied.path / "maps.npy"), np.load(finished.path / "maps.npy"))
    assert not list(copied.path.glob(f"{UNFINISHED}*"))


WRITTEN = (
    *("config.json", "versions.json", "classes.json", "images.csv", "seconds.json", "history.csv", "threshold.json"),
    *("photographs.json", "products.safetensors"),
    *("scores.csv", "maps.npy", "results.html", "results.csv", "sharp_prior.safetensors"),
)


def test_no_command_writes_through_a_link_in_a_run_directory(copied, finished, products, tmp_path):
    """A run directory may come from somebody else; its files are replaced where they lie, whatever they are there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in WRITTEN:
        (outside / name).write_bytes((copied.path / name).read_bytes())
        (copied.path / name).unlink()
        (copied.path / name).symlink_to(outside / name)
    before = {file.name: file.read_bytes() for file in outside.iterdir()}
    evaluate_run(copied.path, progress=False)
    train_run(finished.config(), copied.path, baseline_names=("patchcore",), progress=False)
    predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)
    train_run(finished.config().override(**{"train.steps": 1}), copied.path, overwrite=True, progress=False)
    assert {file.name: file.read_bytes() for file in outside.iterdir()} == before
    assert not [file for file in copied.path.rglob("*") if file.is_symlink()]


@pytest.mark.parametrize("name", [".lock", "log.txt", "checkpoints"])
def test_a_link_where_something_is_appended_is_refused(copied, finished, tmp_path, name):
    victim = tmp_path / "victim"
    (copied.path / name).rename(victim)
    (copied.path / name).symlink_to(victim)
    copied.discard_results()
    stamp = victim.stat().st_mtime_ns
    with pytest.raises(MintadError, match=f"{name}: is a link"):
        train_run(finished.config(), copied.path, progress=False)
    assert victim.stat().st_mtime_ns == stamp


def test_what_killed_processes_left_is_removed_and_does_not_count(finished, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / f"{UNFINISHED}abc").write_text("half")
    with open_run(tmp_path / "run", finished.config()) as run:
        assert {file.name for file in run.path.iterdir()} == {"config.json", ".lock"}
    (tmp_path / "run/.notes.tmp").write_text("mine")
    with open_run(tmp_path / "run", finished.config()) as run:
        assert (run.path / ".notes.tmp").exists()


@pytest.mark.parametrize("call", range(0, 8, 2))
def test_results_that_could_not_take_their_names_cost_no_baseline(copied, monkeypatch, call):
    expected = copied.results()
    calls, replace = itertools.count(), os.replace

    def failing(*names):
        if Path(names[0]).parent == copied.path and next(calls) >= call:
            raise OSError(errno.EIO, "Input/output error")
        replace(*names)

    found = RunResults.of(copied)
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(os, "replace", failing)
        save_results(copied, found)
    train_run(copied.config(), copied.path, progress=False)
    assert copied.baselines() == ["padim"] and copied.results().equals(expected)
    assert not (copied.path / "results_before.csv").exists()


def test_results_that_are_read_and_written_again_lose_nothing(copied):
    """Made defects and a region of interest are results, too, which only some runs have."""
    region, line = np.zeros((64, 64), dtype=bool), ("mesh", "000.png", 0.5, False, "swap", 0.75, True)
    made = pd.DataFrame([line], columns=list(COLUMNS))
    region[8:40, 16:48] = True
    save_results(copied, dataclasses.replace(RunResults.of(copied), region=region, made=made))
    assert copied.region and copied.made_defects().equals(made)
    names = [name for name in RESULT_FILES if name != PAGE]  # whose figures have new names each time
    before = [(copied.path / name).read_bytes() for name in names]
    save_results(copied, RunResults.of(copied))
    assert [(copied.path / name).read_bytes() for name in names] == before
