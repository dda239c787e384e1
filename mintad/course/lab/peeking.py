"""Test scores while training goes on: what one must not choose by, kept to show what choosing by it is worth."""

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
    """A training that was scored on the test images again and again."""

    steps: np.ndarray
    """(K,) optimiser steps done; 0 is the model before training, the last one the finished model."""
    scores: np.ndarray
    """(K, n) image scores of the test rows, in the order of the record table."""


def scores_by_step(config: Config, every: int = 20) -> ScoresByStep:
    """Train as `mintad.course.notebook.lesson` does, and score the test images before it and after every `every` steps.

    The last scores are those of the finished run. Kept beside the lesson's run and read from there the next time; on
    two CPU cores the lesson preset takes as long as its training (half a minute) and half a second a time.

    Args:
        config: the whole configuration.
        every: steps between scorings.

    Raises:
        MintadError: another process is at it, and as `mintad.runs.prepare.prepare` and `mintad.training.train`.
    """
    run = shared_model_dir(config)
    kept = run.parent / f"{run.name}.watched-{every}.npz"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(
        kept.with_suffix(".lock"), MintadError(f"{kept} is being made by another process; try again later")
    ):
        if not kept.exists():
            print(f"training {config.model.variant} on {config.data.name} once more, watched; kept in runs/{kept.name}")
            found = _train(config, prepare_data(config, progress=False), every)
            temporary = kept.with_suffix(".part.npz")
            np.savez(temporary, steps=found.steps, scores=found.scores)
            temporary.replace(kept)
    with np.load(kept) as values:
        return ScoresByStep(values["steps"], values["scores"])


def _train(config: Config, prepared: PreparedData, every: int) -> ScoresByStep:
    rows = prepared.test_rows
    model = new_model(config, prepared)
    last = total_steps(len(prepared.train_rows), config.train)
    steps, scores = [], []

    def look(done: int) -> None:
        if done % every and done != last:
            return
        model.eval()
        maps_nHW = grid_maps(model, prepared.features, rows, config.scoring, labels=prepared.labels_for(model, rows))
        model.train()
        steps.append(done)
        scores.append(image_scores(maps_nHW, config.features.image_size, config.scoring))

    look(0)
    with tempfile.TemporaryDirectory() as folder:
        data = (prepared.features, prepared.train_rows, prepared.train_labels)
        train(model, *data, config.train, Path(folder), progress=False, after_step=look)
    return ScoresByStep(np.array(steps), np.stack(scores))
