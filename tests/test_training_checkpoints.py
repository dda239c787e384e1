"""Checkpoints: damaged, foreign and older ones, links in their place, and what a kill or a failing disk leaves."""

import dataclasses
import errno
import itertools
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from synthetic import MODEL, TRAIN, fresh_model, two_categories
from training_builders import run, stop_at, weights

from mintad.errors import MintadError, TrainingError
from mintad.training import latest_checkpoint, train


def test_resuming_with_another_length_or_model_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(TrainingError, match="run of 14 steps, this one has 20"):
        run(tmp_path, dataclasses.replace(TRAIN, steps=20))
    with pytest.raises(TrainingError, match="does not fit the model"):
        run(tmp_path, model_config=dataclasses.replace(MODEL, ffn_dim=64))


def cut(file):
    file.write_bytes(file.read_bytes()[:100])


def flip(file, place=-1, bit=3):
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def rewrite(change):
    def damage(file):
        save_file({name: change(name, tensor) for name, tensor in load_file(file).items()}, file)

    return damage


def rename(file):
    file.parent.rename(file.parent.with_name("step-00000007"))


def scalars(name, tensor):
    return torch.zeros(1)


def late(name, tensor):
    return torch.tensor(1e6) if name.endswith(".step") else tensor


STATE, WEIGHTS, OPTIMIZER = "state.json", "model.safetensors", "optimizer.safetensors"
DAMAGE = {
    "weights cut": (WEIGHTS, cut),
    "weights gone": (WEIGHTS, os.unlink),
    "bit in the weights": (WEIGHTS, flip),
    "bit in the weights' header": (WEIGHTS, lambda file: flip(file, 40)),
    "weights in float16": (WEIGHTS, rewrite(lambda name, tensor: tensor.half())),
    "optimizer cut": (OPTIMIZER, cut),
    "optimizer gone": (OPTIMIZER, os.unlink),
    "bit in the optimizer": (OPTIMIZER, flip),
    "optimizer without tensors": (OPTIMIZER, lambda file: save_file({}, file)),
    "optimizer of another shape": (OPTIMIZER, rewrite(scalars)),
    "optimizer of a later step": (OPTIMIZER, rewrite(late)),
    "state cut": (STATE, cut),
    "state gone": (STATE, os.unlink),
    "state of another kind": (STATE, lambda file: file.write_text("[1]")),
    "state that is binary": (STATE, lambda file: file.write_bytes(b"\xff\xfe")),
    "state that is too deep": (STATE, lambda file: file.write_text("[" * 100_000)),
    "digit in the state": (STATE, lambda file: file.write_text(file.read_text().replace('"step": 6', '"step": 5'))),
    "bit in a digest": (STATE, lambda file: flip(file, -8)),
    "digest's name": (STATE, lambda file: file.write_text(file.read_text().replace('"digest"', '"digesu"'))),
    "folder renamed": (STATE, rename),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_checkpoint_is_refused_by_the_name_of_its_file(tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path, 7)
    file, damage = DAMAGE[name]
    damage(latest_checkpoint(tmp_path / "checkpoints").path / file)
    with pytest.raises(TrainingError, match="delete .*step-0000000[67]") as caught:
        run(tmp_path)
    assert Path(caught.value.path).name == file


def test_an_older_sound_checkpoint_is_taken_instead_of_a_damaged_one(tmp_path, caplog):
    run(tmp_path / "straight")
    folder = tmp_path / "run/checkpoints"
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path / "run", 4)
    older = shutil.copytree(folder / "step-00000003", tmp_path / "older")
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path / "run", 4)
    shutil.copytree(older, folder / "step-00000003")
    flip(folder / "step-00000006" / WEIGHTS)
    with caplog.at_level(logging.INFO):
        run(tmp_path / "run")
    assert f"step-00000006/{WEIGHTS}: is damaged" in caplog.text and "resuming from" in caplog.text
    assert "step-00000003" in caplog.text
    expected, got = weights(tmp_path / "straight"), weights(tmp_path / "run")
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert [path.name for path in folder.iterdir()] == ["step-00000014"]


def test_what_a_kill_left_beside_the_newest_checkpoint_goes_on_resuming(tmp_path):
    run(tmp_path)
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "step-00000014", folder / "step-00000012")
    (folder / ".step-00000014.123").mkdir()
    run(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["step-00000014"]


def test_what_a_kill_left_before_the_first_checkpoint_goes_before_the_training(tmp_path):
    (tmp_path / "checkpoints/.step-00000003.123").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path, 0)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    features, labels = two_categories()

    def train_as(**identity):
        rows = np.arange(len(features))
        train(fresh_model(), features, rows, labels, TRAIN, tmp_path, progress=False, identity=identity)

    train_as(seed=3, classes=["a", "b"])
    train_as(seed=3, classes=["a", "b"], added_later=1)
    for other in ({"seed": 4, "classes": ["a", "b"]}, {"seed": 3, "classes": ["b", "a"]}):
        with pytest.raises(TrainingError, match="belongs to another run"):
            train_as(**other)


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MintadError, match="checkpoints: is a link"):
        run(tmp_path)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("healthy", [0, 9, 16])  # calls of fsync before the disk fails; a checkpoint takes seven
def test_errors_that_the_disk_reports_stop_the_training_and_cost_no_checkpoint(tmp_path, monkeypatch, healthy):
    calls, fsync = itertools.count(), os.fsync

    def breaking(descriptor):
        if next(calls) >= healthy:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", breaking)
    with pytest.raises(OSError, match="Input/output"):
        run(tmp_path / "run")
    monkeypatch.setattr(os, "fsync", fsync)
    assert not list(tmp_path.rglob(".*"))  # half a checkpoint would take the space that the next one needs
    kept = latest_checkpoint(tmp_path / "run/checkpoints")
    assert (kept.step if kept else 0) == 3 * (healthy // 7)
    resumed, straight = run(tmp_path / "run")[0], run(tmp_path / "straight")[0]
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), straight.parameters(), strict=True))
