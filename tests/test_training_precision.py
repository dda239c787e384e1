"""Devices, precision, and trainings that cannot go on: no images, or values that are not finite."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from synthetic import MODEL, TRAIN, ArrayFeatures, fresh_model, two_categories
from training_builders import run

from mintad.errors import ConfigError, TrainingError
from mintad.runs.options import resolve_config
from mintad.training import latest_checkpoint, train
from mintad.training.device import make_accelerator, pick_device


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    features, labels = two_categories()

    class Spoiled(ArrayFeatures):
        calls = 0

        def gather(self, indices):
            Spoiled.calls += 1
            return super().gather(indices) * (float("nan") if Spoiled.calls > 7 else 1.0)

    config = dataclasses.replace(TRAIN, precision="bf16")
    with pytest.raises(TrainingError, match=r"not finite at step \d+.*step-00000006") as caught:
        run(tmp_path, config, features=Spoiled(features.array.numpy()), labels=labels)
    advice = re.findall(r"--set (\S+)", str(caught.value))  # can be followed: existing keys, allowed values
    changed = resolve_config(settings=advice)
    assert changed.train.lr < TRAIN.lr and changed.train.precision == "no"
    assert changed.model.prior.min_log_variance > MODEL.prior.min_log_variance
    assert "--overwrite" in str(caught.value) and "another --out" in str(caught.value)
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint.step == 6
    assert all(torch.isfinite(tensor).all() for tensor in load_file(checkpoint.weights).values())


def test_no_images_and_bad_precision_are_refused(tmp_path):
    features, labels = two_categories()
    with pytest.raises(TrainingError, match="no training images"):
        train(fresh_model(), features, np.array([], dtype=int), labels[:0], TRAIN, tmp_path)
    with pytest.raises(TrainingError, match="fp16 needs a GPU"):
        make_accelerator(dataclasses.replace(TRAIN, precision="fp16"))


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = fresh_model()
    with torch.no_grad():
        model.query_position.fill_(float("inf"))  # a sine of it is NaN
    features, labels = two_categories()
    config = dataclasses.replace(TRAIN, log_every=100, checkpoint_every=1)
    with pytest.raises(TrainingError, match="not finite at step 1.*no checkpoint yet"):
        train(model, features, np.arange(len(features)), labels, config, tmp_path, progress=False)
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_devices_are_picked_by_name():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="unknown device 'gpu'"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="no CUDA device"):
            pick_device("cuda")


def test_bf16_on_the_cpu_trains(tmp_path):
    _, history = run(tmp_path, dataclasses.replace(TRAIN, precision="bf16", steps=4))
    assert np.isfinite(history["loss"]).all()
