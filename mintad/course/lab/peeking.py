"""Test scores during training: what nobody may choose a model by, kept to measure what choosing by it gains."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mintad.config import Config
from mintad.errors import MintadError
from mintad.lock import exclusive_lock
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.shared import shared_model_dir
from mintad.runs.train import new_model
from mintad.scoring.maps import grid_maps, image_scores
from mintad.training import train
from mintad.training.schedule import total_steps


@dataclass(frozen=True)
class ScoresByStep:
    """The test scores of one training at several of its steps."""

    steps: np.ndarray
    """(K,) optimiser steps done; 0 is the model before training, the last one the finished model."""
    scores: np.ndarray
    """(K, n) image scores of the test rows, in the order of the record table."""


def scores_by_step(config: Config, every: int = 20) -> ScoresByStep:
    """Train as `mintad.runs.shared.shared_model` does, and score the test images every `every` steps.

    They are also scored before training and at its end; the last scores are those of the finished run. The result is
    kept beside the shared model, under its name, and read from there the next time. On two CPU cores the lesson preset
    takes as long as its training (under a minute) and half a second per scoring.

    Raises:
        MintadError: another process makes the same file, or see `mintad.runs.prepare.prepare_data` and
            `mintad.training.train`.
    """
    run = shared_model_dir(config)
    file = run.with_name(f"{run.name}.scores-by-step-{every}.npz")
    file.parent.mkdir(parents=True, exist_ok=True)
    busy = MintadError(f"another process is making {file}; try again when it has finished")
    with exclusive_lock(file.with_suffix(".lock"), busy):
        if not file.exists():
            name = f"{config.model.variant} on {config.data.name}"
            print(f"training {name} once more and scoring the test images meanwhile; kept in runs/{file.name}")
            steps, scores = _train(config, prepare_data(config, progress=False), every)
            part = file.with_suffix(".part.npz")  # renamed when complete
            np.savez(part, steps=steps, scores=scores)
            part.replace(file)
    with np.load(file) as values:
        return ScoresByStep(values["steps"], values["scores"])


def _train(config: Config, prepared: PreparedData, every: int) -> tuple[list[int], list[np.ndarray]]:
    rows, model = prepared.test_rows, new_model(config, prepared)
    last = total_steps(len(prepared.train_rows), config.train)
    steps, scores = [], []

    def score(steps_done: int) -> None:
        if steps_done % every and steps_done != last:
            return
        model.eval()
        maps_nHW = grid_maps(model, prepared.features, rows, config.scoring, labels=prepared.labels_for(model, rows))
        model.train()
        steps.append(steps_done)
        scores.append(image_scores(maps_nHW, config.features.image_size, config.scoring))

    score(0)
    with tempfile.TemporaryDirectory() as folder:
        data = (prepared.features, prepared.train_rows, prepared.train_labels)
        train(model, *data, config.train, Path(folder), progress=False, after_step=score)
    return steps, scores
